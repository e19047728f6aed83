import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from meninx._cli import VERBS, app
from meninx._detect.loading import shipped_detector
from meninx._scan.nifti import write_nifti
from meninx._scoring.writers import file_stem
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_dicom, write_studies
from tests.commands import meninx
from tests.conftest import coarse_grid

RUN = CliRunner()


def new_process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "meninx", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_list_of_verbs_has_whole_sentences():
    shown = RUN.invoke(app, ["--help"], terminal_width=80).stdout.splitlines()
    verbs = [line for line in shown if line.split()[:1] and line.split()[0] in VERBS]
    assert len(verbs) == len(VERBS)
    assert all(line.endswith(".") and not line.endswith("...") for line in verbs)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    result = RUN.invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output
    assert len(result.output.splitlines()) > 6


def test_version_and_help_name_the_purpose():
    assert new_process("--version").stdout.startswith("meninx 0.")
    assert "not for diagnosis" in " ".join(new_process("--help").stdout.split())


@pytest.mark.parametrize("arguments", [["nonsense"], ["predict"], ["predict", "x", "--bogus"]])
def test_wrong_usage_is_status_2_and_no_traceback(arguments):
    result = new_process(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def studies(tmp_path_factory, sick, healthy):
    folder = tmp_path_factory.mktemp("studies")
    write_dicom(sick.scan, folder / "series", 7)
    write_nifti(healthy.scan.voxels.astype(np.int16), healthy.scan, folder / "t2.nii.gz")
    return folder


def test_json_is_one_object_a_line_and_nothing_else(studies):
    result = new_process("predict", "--json", studies)
    assert result.returncode == 0
    assert result.stderr == ""
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["scan"] for line in lines] == [
        str(studies / "t2.nii.gz"),
        str(studies / "series"),
    ]
    assert all(line["status"] == "scored" for line in lines)
    assert set(lines[1]["identity"]) == {
        "study_instance_uid",
        "series_instance_uid",
        "patient",
    }


def test_renamed_shuffled_and_zipped_is_the_same_probability(studies, tmp_path):
    files = sorted((studies / "series").iterdir())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number, index in enumerate(np.random.default_rng(1).permutation(len(files))):
            archive.write(files[index], f"{number:02}")
    result = meninx("predict", "--json", studies / "series", tmp_path / "a.zip")
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first["probability"] == pytest.approx(second["probability"], abs=1e-6)


def test_one_bad_scan_stops_nothing_and_is_status_1(studies, tmp_path):
    (tmp_path / "bad.dcm").write_bytes(b"words")
    photo = Image.new("RGB", (200, 220), "green")
    photo.paste("orange", (50, 60, 90, 150))
    photo.save(tmp_path / "photo.png")
    result = new_process("predict", "--json", tmp_path, studies / "t2.nii.gz", tmp_path / "nowhere")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    found = [
        (line["status"], line["reason"]) for line in map(json.loads, result.stdout.splitlines())
    ]
    assert found == [
        ("failed", "unreadable"),
        ("refused", "color"),
        ("scored", None),
        ("failed", "not_found"),
    ]


def test_the_table_and_the_heat_maps(studies, tmp_path):
    result = meninx("predict", studies, "--output", tmp_path / "out")
    assert result.returncode == 0
    assert "tumor" in result.stdout
    assert "not for diagnosis" in result.stdout
    assert "weights: CC BY-NC-SA 4.0." in result.stdout
    maps = sorted((tmp_path / "out").glob("*.png"))
    assert len(maps) == 2
    with Image.open(maps[0]) as picture:
        assert picture.width > picture.height
    lines = (tmp_path / "out" / "findings.jsonl").read_text().splitlines()
    assert len(lines) == 2
    meninx("predict", studies, "--output", tmp_path / "out")
    assert (tmp_path / "out" / "findings.jsonl").read_text().count("\n") == 2
    # Our own pictures are no scans.
    result = meninx("predict", "--json", tmp_path / "out")
    assert [json.loads(line)["reason"] for line in result.stdout.splitlines()] == ["derived"] * 2


def test_explanations_are_drawn_and_never_taken_for_scans(studies, tmp_path):
    (tmp_path / "bad.dcm").write_bytes(b"words")
    result = meninx("explain", studies, tmp_path / "bad.dcm", "--output", tmp_path / "out")
    assert result.returncode == 1
    assert "bad.dcm: failed" in result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert "drop in logit when occluded" in result.stdout
    sheets = sorted((tmp_path / "out").glob("*.png"))
    assert len(sheets) == 2
    with Image.open(sheets[0]) as sheet:
        assert sheet.height > 500
    again = meninx("predict", "--json", tmp_path / "out")
    assert [json.loads(line)["reason"] for line in again.stdout.splitlines()] == ["derived"] * 2


def test_a_method_of_the_gradient_explains_too_and_wants_the_weights(studies, tmp_path):
    series = studies / "series"
    result = meninx("explain", series, "--method", "grad-cam", "--output", tmp_path / "out")
    assert result.returncode == 0
    (sheet,) = (tmp_path / "out").glob("*.png")
    meninx("explain", series, "--output", tmp_path / "cells")
    assert sheet.read_bytes() != (tmp_path / "cells" / sheet.name).read_bytes()
    shutil.copy(shipped_detector("fp32"), tmp_path / "alone.onnx")
    alone = ("--model", tmp_path / "alone.onnx", "--output", tmp_path / "none")
    result = meninx("explain", series, "--method", "grad-cam", *alone)
    assert result.returncode == 2
    assert "no weights beside" in result.stderr


def test_more_coverage_refers_more_and_none_refers_nothing(studies):
    referred = []
    for coverage in ("0", "0.5", "0.999"):
        result = meninx("predict", "--json", studies, "--coverage", coverage)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        referred.append(sum(line["decision"] == "refer" for line in lines))
        assert {line["coverage"] for line in lines} == {float(coverage) or None}
    assert referred[0] == 0
    assert referred[2] == 2  # more than any number of held-out scans can promise
    table = meninx("predict", studies, "--coverage", "0.999").stdout
    assert "scores like" in " ".join(table.split())
    assert meninx("predict", studies, "--coverage", "1").returncode == 2


def test_an_empty_path_is_wrong_usage():
    result = meninx("predict", "")
    assert result.returncode == 2
    assert "empty path" in result.stderr


def test_a_missing_model_is_one_line_and_status_2(studies):
    result = new_process("predict", studies, "--model", "nowhere.onnx")
    assert result.returncode == 2
    assert result.stderr.startswith("meninx: nowhere.onnx: the detector file can't be read")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a/b/c/scan.nii.gz", "c_scan.nii.gz"), ("../../x <y>.png", "x_y_.png"), ("", "")],
)
def test_names_of_heat_maps_are_safe(name, stem):
    found = file_stem(name)
    assert found.startswith(stem)
    assert "/" not in found
    assert ".." not in found
    assert file_stem(name) != file_stem(name + "2")


def test_a_closed_pipe_is_no_error(studies):
    program, folder = shlex.quote(sys.executable), shlex.quote(str(studies))
    command = f"{program} -m meninx predict --json {folder} {folder} | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert len(result.stdout.splitlines()) == 1
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_train_then_predict_with_what_it_wrote(studies, tmp_path, short_epochs):
    list(write_studies(make_studies(10, 0, coarse_grid), tmp_path / "data", "png"))
    run = tmp_path / "run"
    arguments = ("train", tmp_path / "data", "--recipe", "smoke", "--epochs", 1, "--output", run)
    trained = meninx(*arguments)
    assert trained.returncode == 0, trained.stderr
    assert "detector:" in trained.stderr
    assert "AUROC of pictures" in trained.stderr
    assert "v_num" not in trained.stderr
    result = meninx("predict", "--json", studies / "series", "--model", run / "detector.onnx")
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line["model"]["name"] == "smoke"
    again = meninx(*arguments)
    assert again.returncode == 2
    assert "holds a run already" in again.stderr


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Twelve phantoms in class folders, one of them twice."""
    root = tmp_path_factory.mktemp("classes")
    list(write_studies(make_studies(12, 0, coarse_grid), root / "made", "png"))
    with (root / "made/manifest.csv").open() as file:
        for row in csv.DictReader(file):
            folder = root / "data" / ("yes" if row["tumor"] == "1" else "no")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "made" / row["picture"], folder)
    first = sorted((root / "data/no").iterdir())[0]
    shutil.copy(first, first.with_name("again.png"))
    return root / "data"


def test_audit_prepare_and_a_refused_split(classes, tmp_path):
    audited = meninx("audit", classes, "--output", tmp_path / "audit.html", "--json")
    assert audited.returncode == 0, audited.stderr
    found = json.loads(audited.stdout)
    (group,) = found["groups"]
    assert group["kind"] == "exact"
    assert "no/again.png" in group["files"]
    assert set(found["shortcuts"]) == {"file", "intensity", "both"}
    table = meninx("audit", classes, "--output", tmp_path / "audit.html")
    assert "byte-identical" in table.stdout
    assert found["verdict"]
    assert found["verdict"] in " ".join(table.stdout.split())
    prepared = meninx("prepare", classes, "--output", tmp_path / "m.csv")
    assert prepared.returncode == 0, prepared.stderr
    assert "13 pictures in 12 groups and 5 folds: 7 no tumor, 6 tumor" in prepared.stderr
    again = meninx("prepare", classes, "--output", tmp_path / "m.csv")
    assert (again.returncode, "--force" in again.stderr) == (2, True)
    for seed in range(5):
        random = meninx(
            "prepare", classes, "--split", "random", "--seed", seed, "--output", tmp_path / "r.csv"
        )
        if random.returncode:
            break
    assert random.returncode == 2
    assert "lies in the folds" in random.stderr
    assert "Traceback" not in random.stderr
    assert meninx("prepare", classes, "--split", "fair").returncode == 2


def test_prepare_several_collections_with_fold_rules(classes, tmp_path):
    slices = tmp_path / "slices"
    slices.mkdir()
    rows = ["picture,tumor,patient,site,slice,sequence"]
    for number, path in enumerate(sorted((classes / "no").iterdir())[:4]):
        (slices / path.name).write_bytes(path.read_bytes() + b"\0")
        rows.append(f"{path.name},0,P{number},{'AB'[number % 2]},{number},t1")
    (slices / "manifest.csv").write_text("\r\n".join(rows))
    both = ("prepare", classes, slices)
    assert "--output" in meninx(*both).stderr
    out = ("--output", tmp_path / "m.csv")
    # What was copied from one collection into the other can't be held apart.
    parted = meninx(*both, *out, "--fold", "site=A:6", "--fold", "person=P[13]:7")
    assert (parted.returncode, "lies in the folds" in parted.stderr) == (2, True)
    whole = meninx(*both, *out, "--fold", "source=*:3")
    assert whole.returncode == 0, whole.stderr
    assert "17 pictures in" in whole.stderr
    header, *lines = (tmp_path / "m.csv").read_text().splitlines()
    assert header.startswith("id,picture,mask,tumor,tumor_type,group,fold,source,person,site,")
    assert sum(line.startswith("slices/") for line in lines) == 4
    for rule, message in (("site=A", "expected COLUMN=VALUE:N"), ("site=C:2", "no picture")):
        wrong = meninx("prepare", slices, "--output", tmp_path / "w.csv", "--fold", rule)
        assert (wrong.returncode, message in wrong.stderr) == (2, True), wrong.stderr


@pytest.mark.slow
def test_train_evaluate_and_crossvalidate_from_class_folders(classes, tmp_path, short_epochs):
    seed = (Path(__file__).parents[2] / "recipes/seed.toml").read_text()
    recipe = tmp_path / "small.toml"
    recipe.write_text(seed.replace("size = 128", "size = 64"))
    run = tmp_path / "run"
    trained = meninx("train", classes, "--recipe", recipe, "--epochs", 1, "--output", run)
    assert trained.returncode == 0, trained.stderr
    assert "fold 1 was not used: meninx evaluate" in trained.stderr
    report = tmp_path / "evaluation"
    evaluated = meninx("evaluate", run / "detector.onnx", classes, "--output", report)
    assert evaluated.returncode == 0, evaluated.stderr
    with (run / "manifest.csv").open() as file:
        test_fold = [row["id"] for row in csv.DictReader(file) if row["fold"] == "1"]
    with (report / "predictions.csv").open() as file:
        assert sorted(row["id"] for row in csv.DictReader(file)) == sorted(test_fold)
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["left_out"] == 13 - len(test_fold)
    assert not metrics["leaking"]
    assert "Loss, accuracy and learning rate" in (report / "report.html").read_text()
    leaking = meninx(
        "evaluate",
        run / "detector.onnx",
        classes,
        "--allow-leaks",
        "--output",
        tmp_path / "leaking",
    )
    assert "LEAKING" in leaking.stdout
    again = meninx("evaluate", run / "detector.onnx", classes, "--output", report)
    assert (again.returncode, "holds an evaluation already" in again.stderr) == (2, True)
    folds = meninx(
        "crossvalidate", classes, "--recipe", recipe, "--epochs", 1, "--output", tmp_path / "cv"
    )
    assert folds.returncode == 0, folds.stderr
    assert json.loads((tmp_path / "cv/metrics.json").read_text())["cases"] == 13
    assert len(list((tmp_path / "cv").glob("fold-*/detector.onnx"))) == 5


@pytest.mark.slow
def test_the_demo_ends_in_a_page(tmp_path):
    result = meninx("demo", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = [
        json.loads(line) for line in (tmp_path / "demo" / "findings.jsonl").read_text().splitlines()
    ]
    answers = {
        line["scan"].removeprefix("demo/scans/"): line["decision"] or line["status"]
        for line in lines
    }
    assert [line["reason"] for line in lines if "flair" in line["scan"]] == ["not_calibrated"]
    # Of healthy phantoms it refers most (docs/evidence/volumes.json counts them).
    assert answers.pop("dicom-healthy") in ("refer", "no_tumor")
    assert answers == {
        "damaged.dcm": "failed",
        "dicom-with-tumor": "tumor",
        "nifti-flair.nii.gz": "refer",
        "photograph.jpg": "refused",
        "picture.png": "tumor",
    }
    assert "data:image/png" in (tmp_path / "demo" / "report.html").read_text()


def test_off_a_terminal_a_record_is_one_line(tmp_path, monkeypatch):
    # A program that reads a table sees neither folds nor line breaks from names of files.
    monkeypatch.setenv("COLUMNS", "60")
    names = ["x" * 200 + ".png", "two\nlines.png", "plain.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"no picture " * 40)
    done = meninx("predict", *(tmp_path / name for name in names))
    rows = done.stdout.splitlines()
    assert len(rows) == 1 + 2 * len(names) + 1, done.stdout
    for name, row, remark in zip(names, rows[1:4], rows[4:7], strict=True):
        path = str(tmp_path / name).replace("\n", r"\n")
        assert re.split(r"\s{2,}", row)[:2] == [path, "not readable"]
        assert remark.startswith(f"{path}: ") and remark.endswith("again")


def test_remarks_leave_the_table_narrow(tmp_path, studies, monkeypatch):
    monkeypatch.chdir(studies)
    done = meninx("predict", "series", "t2.nii.gz", "--spacing", "0.9,0.9,6.5")
    remarks = [line for line in done.stdout.splitlines() if line.startswith("t2.nii.gz: ")]
    assert len(remarks) == 1 and len(remarks[0]) > 100
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[:3])


def test_a_scan_that_is_given_again_has_one_row(studies, monkeypatch):
    monkeypatch.chdir(studies)
    again = ("t2.nii.gz", "./t2.nii.gz", studies / "t2.nii.gz", "series")
    done = meninx("predict", "--json", *again)
    assert [json.loads(line)["scan"] for line in done.stdout.splitlines()] == [
        "t2.nii.gz",
        "series",
    ]
    assert f"{studies / 't2.nii.gz'}: given 3 times, scored once" in done.stderr


def test_dicom_objects_are_counted(studies, tmp_path):
    done = meninx("predict", studies / "series", "--json", "--dicom-out", tmp_path / "out")
    count = len(list((tmp_path / "out").rglob("*.dcm")))
    assert count > 2
    assert f"{count} DICOM objects in {tmp_path / 'out'}" in done.stderr
