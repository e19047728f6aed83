import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFile
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from meninx._assess.cases import Case, Copies, score_cases, unseen
from meninx._assess.claim import checklist, claim_answers
from meninx._assess.data_audit import audit, write_audit
from meninx._assess.evaluation import _advantage, evaluate, evaluate_cases
from meninx._assess.evaluation_report import (
    Setting,
    referrals_in_words,
    verdict,
    write_evaluation,
)
from meninx._assess.intervals import Figure, bootstrap_weights
from meninx._assess.offline_page import render_page
from meninx._assess.shortcuts import probe_shortcuts
from meninx._data.descriptors import descriptors_of, seen_slices
from meninx._data.facts import sha256_of
from meninx._data.manifest import Manifest, Picture
from meninx._detect.calibration import Reference
from meninx._detect.findings import Findings
from meninx._detect.gate import NO_OOD_MODEL
from meninx._detect.loading import load_detector
from meninx._detect.model_card import NOT_RECORDED, SEEN_DIGITS
from meninx._errors import DataError
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.conftest import coarse_grid


@pytest.fixture(scope="module")
def detector():
    return load_detector()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eight phantoms as pictures, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    list(write_studies(make_studies(8, 300, coarse_grid), folder, "png"))
    rows = list(csv.DictReader((folder / "manifest.csv").read_text().splitlines()))
    found = [
        Picture(
            row["id"],
            folder / row["picture"],
            folder / row["mask"] if row["mask"] else None,
            row["tumor"] == "1",
            None,
            row["group"],
            int(row["fold"]),
            f"site {index % 2}",
            extra={"scanner": "AB"[index % 2]},
        )
        for index, row in enumerate(rows)
    ]
    (folder / "broken.png").write_bytes(b"nothing")
    broken = replace(found[0], id="broken", picture=folder / "broken.png", group="broken")
    return [*found, broken]


@pytest.fixture(scope="module")
def result(detector, pictures):
    return evaluate_cases(score_cases(detector, pictures), [detector.model])


def made(tumor, probability, label=None, cluster=None, types=None, **extra):
    """Return a case without a file."""
    kind = label or ("unknown" if tumor else "none")
    group = str(cluster if cluster is not None else np.random.default_rng().integers(1 << 60))
    picture = Picture(
        group + "x",
        None,
        None,
        tumor,
        kind if kind not in ("none", "unknown") else None,
        group,
        1,
        "s",
        extra=extra,
    )
    decision = "tumor" if probability >= 0.5 else "no_tumor"
    findings = Findings(
        "s",
        "scored",
        decision=decision,
        probability=probability,
        threshold=0.5,
        types=types or {},
        model={"name": "m", "sha256": "0"},
    )
    facts = {"file": {"width": probability}, "intensity": {"mean": 1.0}}
    return Case(replace_path(picture), findings, facts)


def replace_path(picture):
    from pathlib import Path

    return replace(picture, picture=Path("x.png"))


def test_cases_go_through_the_detector(result, detector, pictures):
    assert len(result.cases) == 8
    assert [case.findings.reason for case in result.unscored] == ["unreadable"]
    stored = result.as_json()
    table = stored["confusion"]
    assert sum(table.values()) == 8
    assert table["tp"] + table["fn"] == stored["tumors"] == 4
    assert stored["unscored"] == {"unreadable": 1}
    picture = detector.card.calibration.picture
    assert stored["operating_points"] == [picture.probability(picture.balanced)]
    for case in result.cases:
        assert case.is_right == (case.findings.called == case.picture.tumor)
    drawn = result.figures["sensitivity"]
    assert drawn.low < drawn.high
    assert drawn.low <= drawn.value <= drawn.high + 1e-9
    assert "hottest pixel in the tumor" in result.segmentation


def test_figures_of_the_answers_come_first_and_those_of_the_operating_point_beside():
    cases = [made(True, 0.9), made(True, 0.6), made(True, 0.4), made(False, 0.7), made(False, 0.1)]
    for number in (1, 3):  # above the operating point, and referred
        referred = replace(cases[number].findings, decision="refer")
        cases[number] = replace(cases[number], findings=referred)
    found = evaluate_cases(cases, [{"name": "m", "sha256": "0"}])
    decisions = {name: figure.value for name, figure in found.decisions.items()}
    assert decisions == pytest.approx(
        {
            "answered": 3 / 5,
            "sensitivity": 1 / 2,
            "specificity": 1.0,
            "referred": 2 / 5,
            "tumors_referred": 1 / 3,
            "tumor_free_referred": 1 / 2,
        }
    )
    assert found.figures["sensitivity"].value == pytest.approx(2 / 3)
    assert found.figures["specificity"].value == pytest.approx(1 / 2)
    assert list(found.as_json()).index("decisions") < list(found.as_json()).index("figures")


def test_the_report_is_one_offline_page(result, detector, tmp_path):
    setting = Setting("here", "By hand.", claim_answers(result, [detector], "here", None))
    write_evaluation(result, {detector.model["sha256"]: detector}, setting, tmp_path, pdf=True)
    page = (tmp_path / "report.html").read_text()
    assert "For research, not for diagnosis" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("<img") >= 6
    assert page.index("Figures of the answers") < page.index("Figures of the operating point")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    # weasyprint would have Pillow read truncated pictures as if they were whole.
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert stored["figures"]["auroc"]["value"] == pytest.approx(
        result.figures["auroc"].value, abs=1e-6
    )
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 9
    for name in ("roc", "precision-recall", "confusion", "reliability", "decision-curve", "scores"):
        with Image.open(tmp_path / "plots" / f"{name}.png") as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
        assert (tmp_path / "plots" / f"{name}.svg").stat().st_size > 2000
    misses = (tmp_path / "misses.html").read_text()
    assert misses.count("<figcaption>") >= len(result.misses)


def test_what_was_seen_is_left_out_with_its_group(detector, pictures):
    chosen = [replace(picture, sha256=sha256_of(picture.picture)) for picture in pictures[:6]]
    chosen[1] = replace(chosen[1], group=chosen[0].group)
    chosen[2] = replace(chosen[2], person="P1")
    chosen[1] = replace(chosen[1], person="P1")
    detector = load_detector()
    detector.card = replace(detector.card, seen=(chosen[0].sha256[:SEEN_DIGITS],))
    selected = unseen(detector.card, Manifest(tuple(chosen), ""))
    assert [picture.id for picture in selected.pictures] == [picture.id for picture in chosen[3:]]
    assert (selected.left_out, selected.copies) == (3, Copies(3, 0, known=True))
    everything = unseen(detector.card, Manifest(tuple(chosen), ""), allow_leaks=True)
    assert (len(everything.pictures), everything.left_out) == (6, 3)
    with pytest.raises(DataError, match="the model learned from all 3 pictures"):
        unseen(detector.card, Manifest(tuple(chosen[:3]), ""))


def test_a_class_whose_files_cannot_be_read_is_an_error(detector):
    cases = [made(True, 0.9), made(True, 0.8), made(False, 0.1)]
    failed = replace(cases[2].findings, status="failed", probability=None, message="cut off")
    with pytest.raises(DataError, match=r"class tumor-free: none of its 1 cases .* cut off"):
        evaluate_cases([*cases[:2], replace(cases[2], findings=failed)], [detector.model])


def test_copies_of_what_was_seen_are_left_out_and_counted(pictures, tmp_path):
    """Saved anew, three of six pictures have other bytes; one more is of a copy's person."""
    chosen = [replace(picture, person=f"P{n}") for n, picture in enumerate(pictures[:6])]
    record = seen_slices(descriptors_of(chosen[:3]))
    for number in range(3):
        path = tmp_path / f"{number}.jpg"
        with Image.open(chosen[number].picture) as opened:
            gray = opened.convert("L")
        gray.resize((gray.width * 2, gray.height * 3)).save(path, quality=60)
        chosen[number] = replace(chosen[number], picture=path, fold=1 + number % 2)
    chosen[3] = replace(chosen[3], person="P0", fold=1)
    manifest = Manifest(tuple(chosen), "")
    detector = load_detector()
    detector.card = replace(detector.card, seen=(), seen_slices=record)
    selected = unseen(detector.card, manifest)
    assert [picture.id for picture in selected.pictures] == [picture.id for picture in chosen[4:]]
    assert (selected.left_out, selected.copies) == (4, Copies(6, 4, known=True))
    assert "4 of 6 held-out pictures are copies" in selected.copies.text
    first = [picture for picture in chosen if picture.fold == 1]
    assert unseen(detector.card, manifest, fold=1, allow_leaks=True).pictures == first
    result = evaluate(detector, manifest)
    assert len(result.cases) == 2
    assert result.as_json()["copies"] == {"held_out": 6, "found": 4, "known": True}


def test_without_a_record_of_slices_there_is_no_verdict(pictures):
    detector = load_detector()
    detector.card = replace(detector.card, seen_slices=NOT_RECORDED)
    result = evaluate(detector, Manifest(tuple(pictures[:6]), ""))
    assert result.copies == Copies(6, 0, known=False)
    assert verdict(result).startswith("No verdict. It is not recorded which slices")
    known = replace(result, copies=Copies(6, 0, known=True))
    assert "not recorded" not in verdict(known)


def test_types_are_measured_against_all_other_cases():
    sure = {"glioma": 0.9, "meningioma": 0.1, "pituitary": 0.0}
    other = {"glioma": 0.2, "meningioma": 0.8, "pituitary": 0.0}
    cases = [made(True, 0.9, "glioma", types=sure) for _ in range(5)]
    cases += [made(True, 0.8, "meningioma", types=other) for _ in range(4)]
    cases += [made(True, 0.7, "meningioma", types=sure), made(True, 0.1, "unknown", types=other)]
    cases += [made(False, 0.2, types=sure) for _ in range(6)]
    # Of other sequences: neither a miss nor a score of 0.
    cases += [made(True, 0.9, "glioma"), made(True, 0.9, "meningioma"), made(False, 0.2)]
    result = evaluate_cases(cases, [])
    assert result.as_json()["types"]["cases_without_types"] == 3
    rows, columns, counts = result.types
    assert rows == ("no tumor", "glioma", "meningioma", "unknown type")
    assert columns == ("no tumor", "glioma", "meningioma", "pituitary")
    assert counts.tolist() == [[6, 0, 0, 0], [0, 5, 0, 0], [0, 1, 4, 0], [1, 0, 0, 0]]
    assert result.type_auroc["glioma"].value == pytest.approx(1.0)
    # Nine of ten of known type; F1 of glioma 10 / 11, of meningioma 8 / 9.
    assert result.type_figures["accuracy"].value == pytest.approx(0.9)
    assert result.type_figures["macro_f1"].value == pytest.approx((10 / 11 + 8 / 9) / 2)
    assert result.type_figures["macro_f1"].low < 0.9 < result.type_figures["macro_f1"].high


def test_types_are_scored_where_no_tumor_was_called():
    sure = {"glioma": 0.9, "meningioma": 0.1, "pituitary": 0.0}
    cases = [made(True, p, "glioma", types=sure) for p in (0.1, 0.9, 0.2)]
    cases += [made(True, 0.3, "meningioma", types=sure), made(False, 0.1, types=sure)]
    result = evaluate_cases(cases, [])
    assert result.type_figures["accuracy"].value == pytest.approx(3 / 4)
    assert result.types[2].tolist() == [[1, 0, 0, 0], [2, 1, 0, 0], [1, 0, 0, 0]]


def test_subgroups_and_leaks_are_shown():
    cases = [made(n % 2 == 0, 0.2 + 0.6 * (n % 3 > 0), site="AB"[n % 4 > 1]) for n in range(40)]
    cases += [made(True, 0.9, site="C")]
    result = evaluate_cases(cases, [], leaking=True)
    groups = result.subgroups["site"]
    assert groups["A"]["cases"] == 20
    assert groups["C"] == {"cases": 1}
    assert "leaking" in verdict(result)
    assert result.as_json()["leaking"]


def test_the_probe_finds_a_planted_shortcut_and_no_other():
    rng = np.random.default_rng(0)
    tumor = rng.random(120) < 0.5
    features = {
        "file": [{"width": 200.0 + 50 * t + rng.normal(0, 5)} for t in tumor],
        "intensity": [{"mean": rng.normal()} for _ in tumor],
    }
    file, intensity, both = probe_shortcuts(features, tumor, np.arange(120))
    assert file.auroc.value > 0.98
    assert both.auroc.value > 0.98
    assert intensity.auroc.low < 0.5 < intensity.auroc.high
    assert (file.name, intensity.name, both.name) == ("file", "intensity", "both")


def test_the_probe_reports_every_fit_and_never_waits_for_threads(monkeypatch):
    """Threads of one fit take minutes where another program holds a core."""
    threads, reported = [], []
    fit = HistGradientBoostingClassifier.fit

    def watched_fit(model, *arguments):
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "openmp"]
        threads.extend(pool["num_threads"] for pool in pools)
        return fit(model, *arguments)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", watched_fit)
    tumor = np.arange(60) % 2 == 0
    kinds = {kind: [{"value": float(n % 7)} for n in range(60)] for kind in ("file", "intensity")}
    with threadpool_limits(2):
        probe_shortcuts(
            kinds, tumor, np.arange(60), progress=lambda *amount: reported.append(amount)
        )
    assert threads
    assert set(threads) == {1}
    # Three probes of five folds.
    assert sorted(set(reported)) == [(done, 15) for done in range(16)]
    assert reported == sorted(reported)


def test_the_probe_learns_from_what_the_detector_was_fitted_on():
    def case(number):
        sick = number % 2 == 0
        case = made(sick, 0.5 + 0.4 * sick, cluster=number)
        return replace(case, facts={"file": {"width": 100.0 + (number % 7) + 3 * sick}})

    few, many = [case(n) for n in range(14)], [case(n) for n in range(14, 400)]
    alone = evaluate_cases(few, []).probes[0]
    taught = evaluate_cases(few, [], others=many).probes[0]
    assert len(taught.probability) == len(few)
    assert taught.auroc.value > alone.auroc.value


def test_the_probe_never_learns_from_a_copy():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(30), 4)
    tumor = np.repeat(rng.random(30) < 0.5, 4)
    features = {"file": [{"name": float(c)} for c in cluster]}
    (probe,) = probe_shortcuts(features, tumor, cluster)
    assert probe.auroc.low < 0.5 < probe.auroc.high
    assert probe_shortcuts(features, np.ones(120, bool), cluster) == []


def test_the_checklist_is_whole():
    items = checklist({1: "yes"})
    assert [item.number for item in items] == list(range(1, 45))
    assert sum(item.is_open for item in items) == 43


def test_an_audit_shows_copies_across_labels_and_splits(pictures, tmp_path):
    for split, label, numbers in (("train", "no", (0, 1, 2)), ("test", "yes", (3, 4, 0))):
        folder = tmp_path / split / label
        folder.mkdir(parents=True)
        for number in numbers:
            with Image.open(pictures[number].picture) as picture:
                picture.save(folder / f"{number}.png")
    (tmp_path / "test/yes/broken.jpg").write_bytes(b"nothing")
    result = audit(tmp_path)
    stored = result.as_json()
    files = [group["files"] for group in stored["groups"] if group["kind"] == "exact"]
    assert files == [["test/yes/0.png", "train/no/0.png"]]
    assert len(stored["across_labels"]) == len(stored["across_splits"]) == 1
    assert stored["corrupt"][0]["file"] == "test/yes/broken.jpg"
    write_audit(result, tmp_path / "audit.html", "made")
    page = (tmp_path / "audit.html").read_text()
    assert "different labels" in page
    assert "across the split" in page
    assert page.count("<figure>") == 2


def test_referrals_are_counted_by_reason_and_what_is_never_answered_is_said():
    cases = [made(True, 0.9), made(True, 0.6), made(False, 0.4), made(False, 0.1)]
    changes = (
        {},
        {"decision": "refer", "reason": "not_calibrated"},
        {"decision": "refer", "reference": Reference("pictures", 8, 30), "coverage": 0.95},
        {"decision": "refer", "warnings": (NO_OOD_MODEL,)},
    )
    cases = [
        replace(case, findings=replace(case.findings, **change))
        for case, change in zip(cases, changes, strict=True)
    ]
    found = evaluate_cases(cases, [{"name": "m", "sha256": "0"}])
    assert found.as_json()["referred"] == {"between_borders": 2, "not_calibrated": 1}
    assert referrals_in_words(found).startswith("2 between the borders")
    never, gate = found.limits
    assert "never no tumor" in never
    assert "may be scored" in gate


def test_a_probe_that_learned_nothing_is_no_rival():
    """A fit needs five cases on each side of a split: from eight it learns nothing."""
    tumor = np.arange(8) % 2 == 0
    features = {"file": [{"width": 100.0 + 50 * sick} for sick in tumor]}
    (probe,) = probe_shortcuts(features, tumor, np.arange(8))
    assert np.isnan(probe.auroc.value)
    cases = [made(bool(n % 2), 0.1 + 0.8 * (n % 2), cluster=n) for n in range(8)]
    result = evaluate_cases(cases, [])
    assert result.advantage is None
    assert verdict(result).startswith("No verdict: 4 independent groups with a tumor and 4")


def test_a_model_has_to_be_better_than_chance_where_the_probes_are_worse():
    rng = np.random.default_rng(0)
    cases = [made(bool(n % 2), rng.random(), cluster=n) for n in range(40)]
    cases = [
        replace(case, facts={"file": {"width": float(rng.random())}}, findings=case.findings)
        for case in cases
    ]
    result = evaluate_cases(cases, [])
    (probe,) = result.probes
    below = replace(probe, auroc=Figure(0.3, 0.2, 0.4))
    model = result.figures["auroc"].value
    answers = result.answers
    weights = bootstrap_weights(answers.cluster)
    worse = replace(below, probability=-answers.tumor.astype(float))
    advantage = _advantage(answers, [worse], weights)
    assert advantage.value == pytest.approx(model - 0.5)
    assert "chance (0.5)" in verdict(replace(result, probes=(worse,), advantage=advantage))
    nothing = replace(probe, auroc=Figure(np.nan, np.nan, np.nan))
    unknown = replace(result, probes=(nothing,), advantage=None)
    assert verdict(unknown).endswith("the shortcut probes learned nothing.")


def test_a_picture_without_a_heat_map_has_the_scale_of_one_with():
    """With a map there are two panels and the scale beside each other."""
    case = made(True, 0.9)
    entries = [(case, "data:a", None), (case, "data:b", "no heat map: no place stands out")]
    page = render_page("misses.html", sections=[("Missed tumors", entries)])
    both, alone = (int(width) for width in re.findall(r'width="(\d+)"', page))
    assert alone < both / 2
