import numpy as np
import pytest

from lab.release.linear_heads import NEVER, by_sites, certain_from, directions_of, fit_head
from lab.release.recognition_figures import (
    Answers,
    Slices,
    answers_of,
    at_threshold,
    cases_of,
    figures,
    held_out_figures,
)
from lab.release.recognition_slices import Labels

KINDS = ("0", "180", "270", "90")
# Where each turn stands in KINDS.
PLACES = [0, 3, 1, 2]


def slices_of(rows):
    columns = zip(*rows, strict=True)
    named = {
        name: np.array(column).astype(str)
        for name, column in zip(Labels._fields, columns, strict=True)
    }
    return Slices(np.zeros((len(rows), 1), dtype=np.float16), named)


def test_a_threshold_allows_only_a_share_of_errors():
    likeliest = np.array([0.82, 0.86, 0.91, 0.95, 0.97])
    wrong = np.array([False, True, False, False, False])
    assert certain_from(likeliest, wrong, 0.5) == 0.8
    assert certain_from(likeliest, wrong, 0.01) == 0.87
    assert certain_from(likeliest, ~wrong, 0.01) == NEVER


def test_both_looks_at_a_turned_picture_must_agree():
    picture = Labels("picture", "a", "p", "s")
    slices = slices_of([picture._replace(turn=turn) for turn in (0, 90, 180, 270)])
    shares = np.full((4, 4), 0.02)
    # Stored in each turn, seen as upright, 90, 180, and as 180 once more.
    for row, (turn, share) in enumerate([(0, 0.9), (1, 0.8), (2, 0.94), (2, 0.7)]):
        shares[row, PLACES[turn]] = share
    answers = answers_of("turn", slices, KINDS, shares)
    assert answers.likeliest.tolist() == ["0", "90", "180", "180"]
    # Turned back by 180 degrees, the last one lies at 90, which is not upright.
    np.testing.assert_allclose(answers.certainty, [0.9, 0.8, 0.9, 0.02])
    found = at_threshold(answers, 0.85)
    assert (found["upright"], found["upright, wrongly turned"]) == (1, 0)
    assert found["turned, turned back"] == pytest.approx(1 / 3)


def test_a_scan_has_the_mean_of_its_slices():
    scan = Labels("volume", "a", "p", "s", "T1", "axial", "on")
    slices = slices_of([scan, scan, scan._replace(scan="b"), scan._replace(kind="picture")])
    shares = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [np.nan, np.nan]])
    ((case, scans, means),) = cases_of(slices, shares)
    assert (case, len(scans)) == ("volume", 2)
    np.testing.assert_allclose(means, [[0.7, 0.3], [0.2, 0.8]])


def test_figures_count_each_kind_alike():
    truth = np.array(["T1", "T1", "T1", "T2"])
    answers = Answers(truth, np.array(list("aabc")), np.array(["T1", "T1", "T2", "T2"]), truth)
    found = figures(answers)
    assert found["balanced accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["people"] == 3
    assert found["answers"] == {"T1": {"T1": 2, "T2": 1}, "T2": {"T1": 0, "T2": 1}}


def test_sites_of_one_person_are_held_out_together():
    sites, people = np.array(list("AABCB")), np.array(list("pqrsr"))
    parts = [others.tolist() for _, others in by_sites(sites, people)]
    assert parts == [[2, 3, 4], [0, 1]]


def test_heads_are_measured_on_people_whom_they_did_not_learn_from():
    rng = np.random.default_rng(0)
    rows, features = [], []
    for person in range(12):
        for sequence in ("T1", "T2"):
            for kind, turns in (("picture", (0, 90, 180, 270)), ("volume", (0,))):
                for turn in turns:
                    skull = "on" if person % 2 else "stripped"
                    plane = ("axial", "coronal", "sagittal")[person % 3]
                    site = "AB"[person // 6]
                    rows.append(
                        Labels(kind, f"{person} {sequence}", str(person), site, sequence, plane)
                    )
                    rows[-1] = rows[-1]._replace(skull=skull, turn=turn)
                    signs = [sequence == "T1", skull == "on", person % 3 == 0, person % 3 == 1]
                    signs += [turn == 90, turn == 180, turn == 270]
                    features.append(np.array(signs) + rng.normal(0, 0.01, len(signs)))
    slices = slices_of(rows)
    learned = Slices(np.array(features, dtype=np.float16), slices.labels)
    directions = directions_of(learned.features)
    table, heads = held_out_figures(learned, directions.of(learned.features))
    for question in ("sequence", "plane", "skull", "turn"):
        for scheme in ("people held out", "sites held out"):
            assert table[question]["picture"][scheme]["balanced accuracy"] == 1
        # So few slices are fitted that nothing is certain.
        assert heads[question].certain_picture == NEVER
    assert heads["turn"].kinds == KINDS
    head = fit_head(directions.of(learned.features), learned.labels["skull"])
    plain = head.on_features(directions)
    np.testing.assert_allclose(
        plain.probabilities(learned.features.astype(np.float32)),
        head.probabilities(directions.of(learned.features)),
        atol=1e-3,
    )
