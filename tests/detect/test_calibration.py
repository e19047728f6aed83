from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from meninx._detect.answer_words import scale_in_figures
from meninx._detect.calibration import Calibration, StudyCalibrator
from meninx._detect.calibrator import OPERATING_POINTS, Calibrator, sigmoid
from meninx._detect.decision import Borders, decision_from_p_values
from meninx._detect.findings import Findings
from meninx._detect.loading import load_detector
from meninx._detect.pooling import CONTEXT_MM, averaged_over_depth, slice_logits


def depths(cells, spacing):
    return np.arange(len(cells)) * spacing


def test_a_slice_is_as_suspicious_as_its_eight_hottest_cells():
    cells = np.zeros((2, 4, 5), np.float32)
    cells[1, :, 0], cells[1, 2, 1:4], cells[1, 3, 4] = 3, 6, 10
    np.testing.assert_allclose(slice_logits(cells), [0, 5])
    # All cells of a smaller map count.
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
    calibrator = Calibrator(2.0, 1.0, balanced=0.6, sensitive=-1.0, specific=3.0)
    assert calibrator.probability(-2) == 0.5
    assert calibrator.probability(2) == pytest.approx(1 / (1 + np.exp(-2)))
    assert calibrator.probability(-1e9) >= 0
    answers = {
        point: [calibrator.answer(logit, point, None).decision for logit in (-2.0, 0.6, 3.0)]
        for point in OPERATING_POINTS
    }
    assert answers == {
        "balanced": ["no_tumor", "tumor", "tumor"],
        "sensitive": ["no_tumor", "tumor", "tumor"],
        "specific": ["no_tumor", "no_tumor", "tumor"],
    }


def test_another_prevalence_is_bayes_and_changes_no_answer():
    calibrator = Calibrator(0.5, -1.0, tumor_logits=(0.0, 1.0, 2.0), tumor_free_logits=(-1.0, 0.5))
    for logit in np.linspace(-3, 3, 61):
        half, rare = (calibrator.answer(logit, "balanced", 0.7, share) for share in (0.5, 0.02))
        odds = half.probability / (1 - half.probability) * 0.02 / 0.98
        assert rare.probability == pytest.approx(odds / (1 + odds))
        assert rare.decision == half.decision == rare.borders.decision(rare.probability)
        assert (rare.prevalence, half.prevalence) == (0.02, 0.5)


def random_calibrators():
    """Return calibrators of every kind: apart, overlapping, reversed, few, equal, far from 0."""
    rng = np.random.default_rng(8)
    made = []
    for spread in (0.01, 1.0, 40.0):
        for apart in (-3.0, 0.0, 2.0, 30.0):
            for sizes in ((1, 1), (19, 20), (200, 60)):
                tumor, tumor_free = (
                    tuple(np.sort(rng.normal(mean, spread, size).round(2)).tolist())
                    for mean, size in zip((apart, 0.0), sizes, strict=True)
                )
                points = rng.normal(apart / 2, spread, 3)
                made.append(
                    Calibrator(rng.uniform(0.1, 3), rng.normal(), 1.0, *points, tumor, tumor_free)
                )
    return made


def shipped_calibrators():
    calibration = load_detector().card.calibration
    return [
        calibration.picture,
        calibration.volume,
        *calibration.by_sequence.values(),
        calibration.study.calibrator,
    ]


@pytest.mark.parametrize("coverage", [None, 0.8, 0.95])
@pytest.mark.parametrize(
    ("calibrators", "count"), [(shipped_calibrators, 2000), (random_calibrators, 600)]
)
def test_no_answer_lies_on_the_wrong_side_of_its_borders(calibrators, count, coverage):
    """Held-out logits, their neighbors and others, as numbers and as a reader sees them."""
    rng = np.random.default_rng(5)
    for calibrator in calibrators():
        held_out = np.array(calibrator.tumor_logits + calibrator.tumor_free_logits)
        around = rng.choice(held_out, 300) + rng.normal(0, 1e-7, 300)
        wide = rng.uniform(held_out.min() - 5, held_out.max() + 5, count)
        logits = np.concatenate([held_out, around, wide])[:count]
        limits = calibrator.limits("balanced", coverage)
        near = np.array([*limits, *np.nextafter(limits, -np.inf)])
        for logit in (*logits.tolist(), *near[np.isfinite(near)].tolist()):
            answer = calibrator.answer(logit, "balanced", coverage)
            assert answer.borders.no_tumor_below <= answer.borders.tumor_from
            assert answer.borders.decision(answer.probability) == answer.decision
            probability, borders = scale_in_figures(Findings("s", "scored", **answer._asdict()))
            assert Borders(*map(float, borders)).decision(float(probability)) == answer.decision
            if coverage is not None:
                called = logit >= calibrator.balanced
                assert answer.decision == decision_from_p_values(answer.p_values, coverage, called)


def test_where_neither_answer_is_plausible_both_borders_lie_at_the_operating_point():
    calibrator = Calibrator(tumor_logits=(4.0, 5.0), tumor_free_logits=(-3.0, -2.0), balanced=1.0)
    assert calibrator.limits("balanced", 0.5) == (1.0, 1.0)
    assert calibrator.answer(0.9, "balanced", 0.5).decision == "no_tumor"
    assert calibrator.answer(1.0, "balanced", 0.5).decision == "tumor"
    # A threshold beyond the other class would rule out a plausible answer.
    assert replace(calibrator, balanced=9.0).limits("balanced", 0.5) == (4.0, 4.0)
    low, high = replace(calibrator, balanced=-9.0).limits("balanced", 0.5)
    assert low == high == np.nextafter(-2.0, 0)


def test_too_few_held_out_scans_refer_everything():
    calibrator = Calibrator(tumor_logits=(1.0,), tumor_free_logits=(-1.0,))
    for logit in (-900.0, 0.0, 900.0):
        answer = calibrator.answer(logit, "balanced", 0.95)
        assert answer.decision == "refer"
        assert answer.borders == (0.0, 1.0)
        assert answer.probability < 1


def test_p_values_count_scans_that_are_at_least_as_extreme():
    calibrator = Calibrator(tumor_logits=(-1.0, 1.0, 2.0), tumor_free_logits=(-4.0, -3.0, 0.0, 1.0))
    assert calibrator.p_values(1.0) == {"tumor": 3 / 4, "no_tumor": 2 / 5}
    assert calibrator.p_values(-9.0) == {"tumor": 1 / 4, "no_tumor": 1.0}
    assert calibrator.p_values(9.0) == {"tumor": 1.0, "no_tumor": 1 / 5}
    assert Calibrator().p_values(0.0) == {}


def test_two_plausible_answers_are_referred():
    for called in (False, True):
        assert decision_from_p_values({"tumor": 0.3, "no_tumor": 0.02}, 0.95, called) == "tumor"
        assert decision_from_p_values({"tumor": 0.02, "no_tumor": 0.3}, 0.95, called) == "no_tumor"
        assert decision_from_p_values({"tumor": 0.06, "no_tumor": 0.3}, 0.95, called) == "refer"
    # Far from all held-out logits, the operating point decides.
    assert decision_from_p_values({"tumor": 0.01, "no_tumor": 0.02}, 0.95, False) == "no_tumor"
    assert decision_from_p_values({"tumor": 0.01, "no_tumor": 0.02}, 0.95, True) == "tumor"


@given(st.floats(-5, 5))
def test_plausibility_is_monotone_in_the_logit(logit):
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
    """Over many draws of calibration and test, for any overlap of the classes."""
    rng = np.random.default_rng(1)
    kept = {"tumor": [], "no_tumor": []}
    for _ in range(400):
        calibrator = Calibrator(
            tumor_logits=tuple(np.sort(rng.normal(0.5, 1, 60))),
            tumor_free_logits=tuple(np.sort(rng.gumbel(-1, 1, 90))),
        )
        for logit in rng.normal(0.5, 1, 10):
            kept["tumor"].append(
                calibrator.answer(logit, "balanced", coverage).decision != "no_tumor"
            )
        for logit in rng.gumbel(-1, 1, 10):
            kept["no_tumor"].append(
                calibrator.answer(logit, "balanced", coverage).decision != "tumor"
            )
    for name, right in kept.items():
        # Four standard errors of 4,000 draws.
        assert np.mean(right) >= coverage - 0.02, name
        assert np.mean(right) <= coverage + 0.05, name


@pytest.mark.parametrize("coverage", [0.6, 0.8, 0.9, 0.95])
def test_mapie_rules_out_the_same_answers(coverage):
    """MAPIE, calibrated on one class, includes this class for the same scans."""
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
    """A fitted classifier that returns the probabilities of logits."""

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


def test_a_sequence_with_its_own_scale_is_scored_by_it():
    calibration = Calibration(Calibrator(2.0), Calibrator(3.0), {"T2": Calibrator(4.0)})
    assert calibration.of(volume=True, sequence="T2").temperature == 4.0
    assert calibration.of(volume=True, sequence="FLAIR").temperature == 3.0
    assert calibration.of(volume=False, sequence="T2").temperature == 2.0


def test_a_picture_of_a_sequence_with_its_own_scale_is_scored_by_it():
    held_out = {"tumor_logits": (1.0, 2.0), "tumor_free_logits": (-1.0,)}
    calibration = Calibration(
        Calibrator(2.0, **held_out),
        Calibrator(3.0, **held_out),
        by_sequence={"T2": Calibrator(4.0, **held_out)},
        picture_by_sequence={"FLAIR": Calibrator(5.0, **held_out)},
    )
    assert calibration.of(volume=False, sequence="FLAIR").temperature == 5.0
    assert calibration.of(volume=False, sequence="T2").temperature == 2.0
    assert calibration.of(volume=True, sequence="FLAIR").temperature == 3.0
    kinds = {
        (volume, name): calibration.reference(volume=volume, sequence=name).scans
        for volume in (False, True)
        for name in ("FLAIR", "T2", "unknown")
    }
    assert kinds == {
        (False, "FLAIR"): "FLAIR pictures",
        (False, "T2"): "pictures",
        (False, "unknown"): "pictures",
        (True, "FLAIR"): "series of all kinds",
        (True, "T2"): "T2 series",
        (True, "unknown"): "series of all kinds",
    }


def test_evidence_is_0_at_the_balanced_threshold():
    calibrator = Calibrator(temperature=7.0, unit=2.0, balanced=2.8)
    assert calibrator.evidence(2.8) == 0
    assert calibrator.evidence(4.8) == pytest.approx(1)


def test_series_of_one_sequence_share_its_weight_and_absent_ones_do_not_count():
    study = StudyCalibrator({"T1": 0.25, "FLAIR": 0.75, "unknown": 0.0}, Calibrator())
    assert study.logit([("T1", 4.0), ("FLAIR", 0.0)]) == pytest.approx(1.0)
    assert study.logit([("T1", 3.0), ("T1", 5.0), ("FLAIR", 0.0)]) == pytest.approx(1.0)
    assert study.logit([("FLAIR", 2.0)]) == pytest.approx(2.0)
    assert study.logit([("FLAIR", 2.0), ("unknown", 9.0), ("T2", -9.0)]) == pytest.approx(2.0)
    # Without weights, each sequence counts equally.
    assert study.logit([("unknown", 1.0), ("T2", 2.0), ("T2", 4.0)]) == pytest.approx(2.0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["T1", "T1c", "T2", "FLAIR", "unknown"]), st.floats(-30, 30)),
        min_size=1,
        max_size=9,
    ),
    st.randoms(),
)
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
        tumor_logits=(-1.0, 1.0, 2.0), tumor_free_logits=(-4.0, -3.0, 0.0, 1.0), sensitive=-0.6
    )
    referred = calibrator.answer(0.5, "balanced", 0.9)
    assert (referred.decision, referred.coverage) == ("refer", 0.9)
    plain = calibrator.answer(-0.5, "sensitive", None)
    assert (plain.decision, plain.coverage) == ("tumor", None)
    assert plain.threshold == calibrator.probability(-0.6) == plain.borders.tumor_from
    unheard = Calibrator().answer(-0.5, "balanced", 0.9)
    assert (unheard.decision, unheard.coverage, unheard.p_values) == ("no_tumor", None, {})


def test_depth_is_measured_in_millimeters():
    """The logit of a slab does not depend on the thickness of slices."""
    middles = []
    for spacing in (1.0, 2.0, 4.0):
        place = np.arange(-40, 40 + spacing, spacing)
        cells = np.zeros((len(place), 2, 3), np.float32)
        cells[np.abs(place) < CONTEXT_MM, 1, 2] = 10
        averaged = averaged_over_depth(cells, depths(cells, spacing))
        middles.append(averaged[len(place) // 2, 1, 2])
        assert not averaged[:, 0].any()
    # 68 % of a Gaussian lie within one standard deviation.
    np.testing.assert_allclose(middles, 6.8, atol=0.9)


def test_thick_slices_and_pictures_are_not_averaged():
    cells = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(averaged_over_depth(cells, None), cells)
    np.testing.assert_array_equal(averaged_over_depth(cells[:1], depths(cells[:1], 1.0)), cells[:1])
    np.testing.assert_allclose(averaged_over_depth(cells, depths(cells, 30.0)), cells, atol=1e-4)
