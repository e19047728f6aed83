"""What each sequence is worth, and a promise that holds on people never seen."""

import numpy as np
import pytest

from lab.release.people_calibration import fit_study_calibrator, separation
from meninx._detect.calibration import StudyCalibrator
from meninx._detect.calibrator import Calibrator

CALIBRATORS = {
    "T1": Calibrator(unit=2.0, balanced=0.8),
    "T1c": Calibrator(unit=1.0, balanced=-0.8),
    "T2": Calibrator(),
    "FLAIR": Calibrator(unit=0.5),
}
# How far tumors lie above the rest, in standard deviations.
APART = {"T1": 0.0, "T1c": 2.0, "T2": 1.0, "FLAIR": 3.0}


def people(rng, count, missing=0.0):
    """Return logits of each sequence, and who has a tumor. What is hard in one is so in all."""
    tumor = np.arange(count) % 2 == 0
    studies = []
    for sick in tumor:
        person = rng.normal(0, 0.5)
        logits = {
            name: calibrator.unit * (apart * sick + person + rng.normal())
            for (name, apart), calibrator in zip(APART.items(), CALIBRATORS.values(), strict=True)
        }
        kept = {name: value for name, value in logits.items() if rng.random() >= missing}
        studies.append(kept or logits)
    return studies, tumor


def combined(found, study):
    evidence = [(name, CALIBRATORS[name].evidence(logit)) for name, logit in study.items()]
    return found.logit(evidence)


def test_separation_is_counted_in_standard_deviations():
    rng = np.random.default_rng(0)
    plain = rng.normal(0, 1, 20_000)
    assert separation(rng.normal(3, 1, 20_000), plain) == pytest.approx(3, abs=0.05)
    expected = 3 / np.sqrt((1 + 4) / 2)
    assert separation(rng.normal(3, 2, 20_000), plain) == pytest.approx(expected, abs=0.05)
    assert separation(plain - 1, plain) == 0
    assert np.isfinite(separation(np.ones(3), np.zeros(3)))


def test_the_weight_of_a_sequence_is_its_separation():
    found = fit_study_calibrator(*people(np.random.default_rng(1), 2000), CALIBRATORS)
    measured = {name: found.weights[name] for name in APART}
    assert sum(measured.values()) == pytest.approx(1)
    assert measured["T1"] < 0.03
    assert measured["T1"] < measured["T2"] < measured["T1c"] < measured["FLAIR"]
    assert measured["FLAIR"] == pytest.approx(3 / 6, abs=0.03)
    assert found.weights["unknown"] == min(measured.values())


def test_a_sequence_that_misleads_is_worth_nothing():
    studies, tumor = people(np.random.default_rng(2), 400)
    turned = [study | {"T2": -study["FLAIR"]} for study in studies]
    assert fit_study_calibrator(turned, tumor, CALIBRATORS).weights["T2"] == 0


def test_temperatures_do_not_change_what_a_sequence_is_worth():
    studies, tumor = people(np.random.default_rng(3), 400)
    other = CALIBRATORS | {"T2": Calibrator(unit=7.0, balanced=15.0)}
    longer = [study | {"T2": 7.0 * study["T2"]} for study in studies]
    first, second = (
        fit_study_calibrator(studies, tumor, CALIBRATORS),
        fit_study_calibrator(longer, tumor, other),
    )
    assert first.weights == pytest.approx(second.weights)


def test_little_to_measure_on_still_gives_a_scale():
    sick, well = {"T1": 1.0, "FLAIR": 2.0}, {"T1": -1.0}
    found = fit_study_calibrator([sick, well], np.array([True, False]), CALIBRATORS)
    assert found.weights == {"unknown": 1.0}
    assert len(found.calibrator.tumor_logits) == 1
    alone = fit_study_calibrator([sick, sick], np.array([True, True]), CALIBRATORS)
    assert alone.calibrator == Calibrator()
    # Nothing tells: all weigh alike.
    flat = [{"T1": value, "T2": value} for value in (0.0, 1.0, 2.0, 1.5)]
    same = fit_study_calibrator(flat, np.array([True, False, False, True]), CALIBRATORS)
    assert same.weights == {"T1": 0.5, "T2": 0.5, "unknown": 0.5}


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_fresh_people_keep_their_answer_as_often_as_promised(coverage, missing):
    rng = np.random.default_rng(4)
    kept = {True: [], False: []}
    for _ in range(60):
        found = fit_study_calibrator(*people(rng, 200, missing), CALIBRATORS)
        for study, sick in zip(*people(rng, 100, missing), strict=True):
            decision = found.calibrator.answer(
                combined(found, study), "balanced", coverage
            ).decision
            kept[bool(sick)].append(decision != ("no_tumor" if sick else "tumor"))
    for right in kept.values():
        # 3,000 answers by 60 calibrators of 100 people a class: four standard errors of both.
        error = np.sqrt(coverage * (1 - coverage) * (1 / 3000 + 1 / (60 * 100)))
        assert np.mean(right) >= coverage - 4 * error


def test_more_series_separate_better():
    rng = np.random.default_rng(5)
    found = fit_study_calibrator(*people(rng, 400), CALIBRATORS)
    studies, tumor = people(rng, 2000)
    whole = np.array([combined(found, study) for study in studies])
    single = np.array([study["FLAIR"] for study in studies])
    assert separation(whole[tumor], whole[~tumor]) > separation(single[tumor], single[~tumor])
    assert isinstance(found, StudyCalibrator)
