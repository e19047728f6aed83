import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from meninx.detect.calibration import (
    CONTEXT_MM,
    Calibration,
    Calibrator,
    StudyCalibrator,
    answer_of,
    averaged_over_depth,
    sigmoid,
    slice_logits,
)


def depths(cells, spacing):
    return np.arange(len(cells)) * spacing


def test_a_slice_is_as_suspicious_as_its_eight_hottest_cells():
    cells = np.zeros((2, 4, 5), np.float32)
    cells[1, :, 0], cells[1, 2, 1:4], cells[1, 3, 4] = 3, 6, 10
    np.testing.assert_allclose(slice_logits(cells), [0, 5])
    # A map of fewer cells counts whole.
    np.testing.assert_allclose(slice_logits(cells[:, :1, :2]), [0, 1.5])


def test_a_lesion_needs_depth_not_one_slice():
    lonely, deep = np.zeros((20, 2, 2), np.float32), np.zeros((20, 2, 2), np.float32)
    lonely[7] = 8
    deep[5:10] = 8
    assert 2 < averaged_over_depth(lonely, depths(lonely, 5.0)).max() < 4
    assert averaged_over_depth(deep, depths(deep, 5.0)).max() > 7
    assert averaged_over_depth(lonely, None).max() == 8


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_logit_is_too_far_for_a_probability(dtype):
    near = np.linspace(-30, 30, 61, dtype=dtype)
    np.testing.assert_allclose(sigmoid(near), 1 / (1 + np.exp(-near)), rtol=4e-6)
    far = np.array([[-np.inf, -1e30, -800], [800, 1e30, np.inf]], dtype)
    np.testing.assert_array_equal(sigmoid(far), [[0, 0, 0], [1, 1, 1]])
    assert sigmoid(far).dtype == dtype
    assert Calibrator(temperature=1e-3).probability(-30) == 0


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=30), st.floats(0.5, 20))
def test_means_lie_within_their_slices_and_ignore_their_direction(logits, spacing):
    values = np.array(logits, np.float32)[:, None, None]
    found = averaged_over_depth(values, depths(values, spacing))
    assert (found >= values.min() - 1e-4).all()
    assert (found <= values.max() + 1e-4).all()
    turned = averaged_over_depth(values[::-1], depths(values, spacing))[::-1]
    np.testing.assert_allclose(turned, found, atol=1e-4)


def test_temperature_and_operating_points():
    calibrator = Calibrator(2.0, balanced=0.6, sensitive=0.3, specific=0.8)
    assert calibrator.probability(0) == 0.5
    assert calibrator.probability(2) == pytest.approx(1 / (1 + np.exp(-1)))
    assert calibrator.probability(-1e9) >= 0
    assert calibrator.decide(0.5, "sensitive") == "tumor"
    assert calibrator.decide(0.5, "balanced") == "no_tumor"
    assert calibrator.decide(0.7, "balanced") == "tumor"
    assert calibrator.decide(0.7, "specific") == "no_tumor"


def test_p_values_count_those_that_look_no_more_like_it():
    calibrator = Calibrator(tumor_logits=(-1.0, 1.0, 2.0), tumor_free_logits=(-4.0, -3.0, 0.0, 1.0))
    assert calibrator.p_values(1.0) == {"tumor": 3 / 4, "no_tumor": 2 / 5}
    assert calibrator.p_values(-9.0) == {"tumor": 1 / 4, "no_tumor": 1.0}
    assert calibrator.p_values(9.0) == {"tumor": 1.0, "no_tumor": 1 / 5}
    assert Calibrator().p_values(0.0) == {}


def test_what_leaves_both_answers_open_is_referred():
    assert answer_of({"tumor": 0.3, "no_tumor": 0.02}, 0.95) == "tumor"
    assert answer_of({"tumor": 0.02, "no_tumor": 0.3}, 0.95) == "no_tumor"
    assert answer_of({"tumor": 0.06, "no_tumor": 0.3}, 0.95) == "refer"
    # Far from all that was held out: the likelier one, since to name both would help nobody.
    assert answer_of({"tumor": 0.01, "no_tumor": 0.02}, 0.95) == "no_tumor"


@given(st.floats(-5, 5))
def test_the_more_it_looks_like_a_tumor_the_more_plausible_one_is(logit):
    rng = np.random.default_rng(0)
    calibrator = Calibrator(
        tumor_logits=tuple(np.sort(rng.normal(1, 1, 50))),
        tumor_free_logits=tuple(np.sort(rng.normal(-1, 1, 40))),
    )
    less, more = calibrator.p_values(logit), calibrator.p_values(logit + 0.5)
    assert less["tumor"] <= more["tumor"]
    assert less["no_tumor"] >= more["no_tumor"]


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_each_class_keeps_its_answer_as_often_as_promised(coverage):
    """Over many draws of calibration and test, whatever the overlap of the classes."""
    rng = np.random.default_rng(1)
    kept = {"tumor": [], "no_tumor": []}
    for _ in range(400):
        calibrator = Calibrator(
            tumor_logits=tuple(np.sort(rng.normal(0.5, 1, 60))),
            tumor_free_logits=tuple(np.sort(rng.gumbel(-1, 1, 90))),
        )
        for logit in rng.normal(0.5, 1, 10):
            kept["tumor"].append(answer_of(calibrator.p_values(logit), coverage) != "no_tumor")
        for logit in rng.gumbel(-1, 1, 10):
            kept["no_tumor"].append(answer_of(calibrator.p_values(logit), coverage) != "tumor")
    for name, right in kept.items():
        # Four standard errors of 4,000 draws.
        assert np.mean(right) >= coverage - 0.02, name
        assert np.mean(right) <= coverage + 0.05, name


@pytest.mark.parametrize("coverage", [0.6, 0.8, 0.9, 0.95])
def test_mapie_rules_out_the_same_answers(coverage):
    """MAPIE, given one class to calibrate on, keeps that class where we do."""
    rng = np.random.default_rng(2)
    logits = {"tumor": rng.normal(1, 1, 83), "no_tumor": rng.normal(-1, 1.5, 61)}
    calibrator = Calibrator(
        tumor_logits=tuple(np.sort(logits["tumor"])),
        tumor_free_logits=tuple(np.sort(logits["no_tumor"])),
    )
    new = rng.normal(0, 2, 200)
    for label, name in enumerate(("no_tumor", "tumor")):
        mapie = SplitConformalClassifier(
            Probabilities(), confidence_level=coverage, conformity_score="lac", prefit=True
        )
        own = np.full(len(logits[name]), label)
        with pytest.warns(UserWarning, match="less labels"):  # as it is meant to be
            mapie.conformalize(logits[name][:, None], own)
        _, sets = mapie.predict_set(new[:, None])
        ours = [calibrator.p_values(logit)[name] > 1 - coverage for logit in new]
        np.testing.assert_array_equal(sets[:, label, 0], ours)


class Probabilities(ClassifierMixin, BaseEstimator):
    """Give the probabilities of logits, as a classifier that is fitted already."""

    classes_ = np.array([0, 1])

    def fit(self, logits, labels):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict_proba(self, logits):
        p = 1 / (1 + np.exp(-logits[:, 0]))
        return np.stack([1 - p, p], axis=1)

    def predict(self, logits):
        return (logits[:, 0] > 0).astype(int)


def test_pictures_and_volumes_have_calibrators_of_their_own():
    calibration = Calibration(picture=Calibrator(2.0), volume=Calibrator(3.0))
    assert calibration.of(volume=False).temperature == 2.0
    assert calibration.of(volume=True).temperature == 3.0


def test_a_sequence_with_a_scale_of_its_own_is_judged_by_it():
    calibration = Calibration(Calibrator(2.0), Calibrator(3.0), {"T2": Calibrator(4.0)})
    assert calibration.of(volume=True, sequence="T2").temperature == 4.0
    assert calibration.of(volume=True, sequence="FLAIR").temperature == 3.0
    assert calibration.of(volume=False, sequence="T2").temperature == 2.0


def test_evidence_is_0_at_the_balanced_threshold():
    calibrator = Calibrator(temperature=2.0, balanced=0.8)
    at_threshold = 2.0 * np.log(0.8 / 0.2)
    assert calibrator.evidence(at_threshold) == pytest.approx(0)
    assert calibrator.evidence(at_threshold + 2) == pytest.approx(1)
    assert np.isfinite(Calibrator(balanced=1.0).evidence(3.0))


def test_series_of_one_sequence_share_its_weight_and_absent_ones_do_not_count():
    study = StudyCalibrator({"T1": 0.25, "FLAIR": 0.75, "unknown": 0.0}, Calibrator())
    assert study.logit([("T1", 4.0), ("FLAIR", 0.0)]) == pytest.approx(1.0)
    assert study.logit([("T1", 3.0), ("T1", 5.0), ("FLAIR", 0.0)]) == pytest.approx(1.0)
    assert study.logit([("FLAIR", 2.0)]) == pytest.approx(2.0)
    assert study.logit([("FLAIR", 2.0), ("unknown", 9.0), ("T2", -9.0)]) == pytest.approx(2.0)
    # Nothing present has a weight: each sequence counts alike.
    assert study.logit([("unknown", 1.0), ("T2", 2.0), ("T2", 4.0)]) == pytest.approx(2.0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["T1", "T1c", "T2", "FLAIR", "unknown"]), st.floats(-30, 30)),
        min_size=1, max_size=9,
    ),
    st.randoms(),
)  # fmt: skip
def test_a_study_lies_amid_its_series_in_any_order(evidence, chance):
    study = StudyCalibrator(
        {"T1": 0.1, "T1c": 0.2, "T2": 0.0, "FLAIR": 0.7, "unknown": 0.1}, Calibrator()
    )
    found = study.logit(evidence)
    values = [value for _, value in evidence]
    assert min(values) - 1e-9 <= found <= max(values) + 1e-9
    shuffled = chance.sample(evidence, len(evidence))
    assert study.logit(shuffled) == pytest.approx(found, abs=1e-9)


def test_a_scale_answers_by_its_coverage_else_by_its_operating_point():
    calibrator = Calibrator(
        tumor_logits=(-1.0, 1.0, 2.0), tumor_free_logits=(-4.0, -3.0, 0.0, 1.0), sensitive=0.1
    )
    referred = calibrator.answer(0.5, "balanced", 0.9)
    assert (referred.decision, referred.coverage) == ("refer", 0.9)
    plain = calibrator.answer(-0.5, "sensitive", None)
    assert (plain.decision, plain.coverage, plain.threshold) == ("tumor", None, 0.1)
    unheard = Calibrator().answer(-0.5, "balanced", 0.9)
    assert (unheard.decision, unheard.coverage, unheard.p_values) == ("no_tumor", None, {})


def test_depth_is_measured_in_millimeters():
    """A slab of heat weighs the same, however thick the slices are that show it."""
    middles = []
    for spacing in (1.0, 2.0, 4.0):
        place = np.arange(-40, 40 + spacing, spacing)
        cells = np.zeros((len(place), 2, 3), np.float32)
        cells[np.abs(place) < CONTEXT_MM, 1, 2] = 10
        averaged = averaged_over_depth(cells, depths(cells, spacing))
        middles.append(averaged[len(place) // 2, 1, 2])
        assert not averaged[:, 0].any()
    # The bell curve holds 68 % within one standard deviation.
    np.testing.assert_allclose(middles, 6.8, atol=0.9)


def test_thick_slices_and_pictures_stay_what_they_are():
    cells = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(averaged_over_depth(cells, None), cells)
    np.testing.assert_array_equal(averaged_over_depth(cells[:1], depths(cells[:1], 1.0)), cells[:1])
    np.testing.assert_allclose(averaged_over_depth(cells, depths(cells, 30.0)), cells, atol=1e-4)
