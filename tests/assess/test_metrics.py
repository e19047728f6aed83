from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from statsmodels.api import GLM, families
from statsmodels.stats.proportion import proportion_confint

from meninx._assess import metrics
from meninx._assess.figures import figures_of
from meninx._assess.intervals import (
    Figure,
    bootstrap_difference,
    bootstrap_figure,
    bootstrap_weights,
    share_interval,
    wilson,
)
from meninx._assess.metrics import Answers


@st.composite
def answers(draw, smallest=12):
    n = draw(st.integers(smallest, 80))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    tumor = rng.random(n) < draw(st.floats(0.2, 0.8))
    assume(2 < tumor.sum() < n - 2)
    digits = draw(st.sampled_from([1, 2, 9]))
    probability = np.round(np.clip(rng.normal(0.4 + 0.2 * tumor, 0.25), 0.01, 0.99), digits)
    called = probability >= draw(st.sampled_from([0.3, 0.5, 0.6]))
    return Answers(tumor, probability, called, np.arange(n))


ORACLES = {
    metrics.balanced_accuracy: lambda a: oracle.balanced_accuracy_score(a.tumor, a.called),
    metrics.sensitivity: lambda a: oracle.recall_score(a.tumor, a.called),
    metrics.specificity: lambda a: oracle.recall_score(~a.tumor, ~a.called),
    metrics.f1: lambda a: oracle.f1_score(a.tumor, a.called),
    metrics.mcc: lambda a: oracle.matthews_corrcoef(a.tumor, a.called),
    metrics.auroc_of: lambda a: oracle.roc_auc_score(a.tumor, a.probability),
    metrics.average_precision: lambda a: oracle.average_precision_score(a.tumor, a.probability),
    metrics.brier: lambda a: oracle.brier_score_loss(a.tumor, a.probability),
}


@pytest.mark.parametrize("metric", ORACLES)
@settings(max_examples=40)
@given(answers())
def test_figures_agree_with_scikit_learn(metric, given_answers):
    value = float(metric(given_answers, np.ones(len(given_answers))))
    assert value == pytest.approx(ORACLES[metric](given_answers), nan_ok=True)


@settings(max_examples=10, deadline=None)
@given(answers())
def test_shares_agree_with_scikit_learn(given_answers):
    tumor, called = given_answers.tumor, given_answers.called
    figures = figures_of(given_answers, bootstrap_weights(given_answers.cluster, 2))
    found = [figures[name].value for name in ("accuracy", "ppv", "npv")]
    expected = [
        oracle.accuracy_score(tumor, called),
        oracle.precision_score(tumor, called, zero_division=np.nan),
        oracle.precision_score(~tumor, ~called, zero_division=np.nan),
    ]
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("metric", [*ORACLES, metrics.ece, metrics.calibration_slope])
@settings(max_examples=15, deadline=None)
@given(answers())
def test_a_weight_is_a_repetition(metric, given_answers):
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, len(given_answers))
    drawn = np.repeat(np.arange(len(given_answers)), weights)
    tumor = given_answers.tumor[drawn]
    assume(2 < tumor.sum() < len(tumor) - 2)
    again = Answers(tumor, given_answers.probability[drawn], given_answers.called[drawn], drawn)
    both = metric(given_answers, np.stack([weights, weights]).astype(float))
    alone = float(metric(again, np.ones(len(again))))
    assert both == pytest.approx([alone, alone], nan_ok=True, rel=1e-5, abs=1e-9)


@settings(max_examples=30)
@given(answers())
def test_curves_agree_with_scikit_learn(given_answers):
    false, hits = metrics.roc_points(given_answers.tumor, given_answers.probability)
    expected = oracle.roc_curve(
        given_answers.tumor, given_answers.probability, drop_intermediate=False
    )
    np.testing.assert_allclose(false, expected[0])
    np.testing.assert_allclose(hits, expected[1])
    recall, precision = metrics.precision_recall_points(
        given_answers.tumor, given_answers.probability
    )
    expected = oracle.precision_recall_curve(given_answers.tumor, given_answers.probability)
    np.testing.assert_allclose(precision, expected[0][:-1][::-1])
    np.testing.assert_allclose(recall, expected[1][:-1][::-1])


@settings(max_examples=20, deadline=None)
@given(answers(smallest=40))
def test_calibration_agrees_with_statsmodels(given_answers):
    inside = np.clip(given_answers.probability, metrics.MIN_DISTANCE, 1 - metrics.MIN_DISTANCE)
    logit = np.log(inside / (1 - inside))
    ones, tumor = np.ones(len(logit)), given_answers.tumor.astype(float)
    free = GLM(tumor, np.stack([ones, logit], 1), families.Binomial()).fit()
    held = GLM(tumor, ones, families.Binomial(), offset=logit).fit()
    slope = float(metrics.calibration_slope(given_answers, ones))
    assert slope == pytest.approx(free.params[1], rel=1e-3, abs=1e-4)
    intercept = float(metrics.calibration_intercept(given_answers, ones))
    assert intercept == pytest.approx(held.params[0], rel=1e-3, abs=1e-4)


def test_calibration_error_by_hand():
    probability = np.array([0.1, 0.1, 0.9, 0.9])
    tumor = np.array([False, True, True, True])
    answered = Answers(tumor, probability, tumor, np.arange(4))
    assert float(metrics.ece(answered, np.ones(4))) == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)


@given(st.integers(1, 200), st.floats(0, 1))
def test_wilson_agrees_with_statsmodels(count, share):
    hits = round(count * share)
    np.testing.assert_allclose(
        wilson(hits / count, count), proportion_confint(hits, count, method="wilson"), atol=1e-9
    )


def test_net_benefit_agrees_with_dcurves():
    from dcurves import dca
    from pandas import DataFrame

    rng = np.random.default_rng(3)
    tumor = rng.random(300) < 0.4
    probability = np.clip(rng.normal(0.35 + 0.3 * tumor, 0.2), 0.001, 0.999)
    thresholds = np.array([0.05, 0.2, 0.5, 0.8])
    table = dca(
        data=DataFrame({"tumor": tumor.astype(int), "model": probability}),
        outcome="tumor",
        modelnames=["model"],
        thresholds=thresholds,
    )
    expected = table[table.model == "model"].sort_values("threshold").net_benefit
    answered = Answers(tumor, probability, tumor, np.arange(300))
    np.testing.assert_allclose(metrics.net_benefit(answered, thresholds), expected, atol=1e-9)


def test_values_at_a_prevalence_by_bayes():
    positive, negative = metrics.value_at_prevalence(0.9, 0.8, 0.1)
    assert positive == pytest.approx(0.09 / (0.09 + 0.18))
    assert negative == pytest.approx(0.72 / (0.72 + 0.01))
    assert np.isnan(metrics.value_at_prevalence(0.0, 1.0, 0.1)[0])


def test_clusters_widen_a_share():
    rng = np.random.default_rng(1)
    hits = np.repeat(rng.random(30) < 0.7, 6)
    alone = share_interval(hits, np.arange(180))
    together = share_interval(hits, np.repeat(np.arange(30), 6))
    assert alone.value == together.value
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert share_interval(np.ones(60, bool), np.repeat(np.arange(10), 6)).low == pytest.approx(
        wilson(1, 10)[0]
    )


def clustered(rng, clusters, size):
    """Return answers whose clusters share most of their luck."""
    tumor = np.repeat(rng.random(clusters) < 0.5, size)
    shared = np.repeat(rng.normal(0, 0.9, clusters), size)
    score = tumor * 1.3 + shared + rng.normal(0, 0.45, clusters * size)
    probability = 1 / (1 + np.exp(-(score - 0.65)))
    return Answers(tumor, probability, probability > 0.5, np.repeat(np.arange(clusters), size))


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 4])
def test_intervals_cover_at_their_nominal_rate(size):
    rng = np.random.default_rng(7)
    truth = clustered(rng, 40_000, size)
    everyone = np.ones(len(truth))
    trials, covered = 300, {"sensitivity": 0, "auroc": 0, "brier": 0}
    true = {
        "sensitivity": float(metrics.sensitivity(truth, everyone)),
        "auroc": float(metrics.auroc_of(truth, everyone)),
        "brier": float(metrics.brier(truth, everyone)),
    }
    for _ in range(trials):
        answered = clustered(rng, 120, size)
        weights = bootstrap_weights(answered.cluster, 300)
        figures = {
            "sensitivity": share_interval(
                answered.called[answered.tumor], answered.cluster[answered.tumor]
            ),
            "auroc": bootstrap_figure(answered, metrics.auroc_of, weights),
            "brier": bootstrap_figure(answered, metrics.brier, weights),
        }
        for name, figure in figures.items():
            covered[name] += figure.low <= true[name] <= figure.high
    for name, count in covered.items():
        assert 0.915 <= count / trials <= 0.985, (name, count / trials)


def test_perfect_answers_have_an_interval():
    tumor = np.arange(40) % 2 == 0
    answered = Answers(tumor, np.where(tumor, 0.9, 0.1), tumor, np.arange(40))
    figure = bootstrap_figure(answered, metrics.auroc_of, bootstrap_weights(answered.cluster, 100))
    assert figure == Figure(1.0, wilson(1, 20)[0], 1.0)
    wrong = replace(answered, probability=1 - answered.probability)
    figure = bootstrap_figure(wrong, metrics.auroc_of, bootstrap_weights(wrong.cluster, 100))
    assert figure == Figure(0.0, 0.0, wilson(0, 20)[1])


def test_the_difference_of_equals_is_nothing():
    rng = np.random.default_rng(0)
    answered = clustered(rng, 60, 2)
    weights = bootstrap_weights(answered.cluster, 100)

    def same(part):
        return metrics.auroc_of(answered, part)

    assert bootstrap_difference(same, same, weights) == Figure(0.0, 0.0, 0.0)


def test_figures_say_what_they_can():
    assert str(Figure(0.5, 0.4, 0.6)) == "0.500 [0.400, 0.600]"
    assert str(Figure(float("nan"), 0, 1)) == "can't be computed"
    assert Figure(float("nan"), 0, 1).as_json() == {"value": None, "low": 0, "high": 1}


@pytest.mark.parametrize("tumor", [True, False])
def test_cases_of_one_class_give_only_its_own_figures(tumor):
    answered = clustered(np.random.default_rng(0), 40, 2)
    alone = replace(answered, tumor=np.full(len(answered), tumor))
    found = {
        name
        for name, figure in figures_of(alone, bootstrap_weights(alone.cluster, 50)).items()
        if np.isfinite(figure.value)
    }
    assert found == {"sensitivity" if tumor else "specificity", "accuracy", "brier", "ece"}
