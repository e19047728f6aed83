import numpy as np

from meninx._assess.referral import referral_curve
from meninx._detect.findings import Findings


def found(tumor, healthy):
    return Findings("s", "scored", p_values={"tumor": tumor, "no_tumor": healthy})


FOUND = [found(0.9, 0.01), found(0.5, 0.3), found(0.02, 0.8), found(0.04, 0.6)]
TUMOR = np.array([True, True, False, True])
CLUSTER = np.arange(4)


def test_errors_are_counted_among_what_is_answered():
    (point,) = referral_curve(FOUND, TUMOR, CLUSTER, [0.95])
    assert point.referred.value == 1 / 4
    assert point.risk.value == 1 / 3
    assert point.tumors_kept.value == 2 / 3
    assert point.tumor_free_kept.value == 1.0
    assert point.risk.low < point.risk.value < point.risk.high


def test_more_coverage_refers_more_and_keeps_more():
    points = referral_curve(FOUND, TUMOR, CLUSTER, [0.5, 0.95, 0.97, 0.995])
    referred = [point.referred.value for point in points]
    kept = [point.tumors_kept.value for point in points]
    assert referred == sorted(referred)
    assert kept == sorted(kept)
    assert kept[-1] == 1.0


def test_without_anything_to_compare_with_there_is_no_curve():
    assert (
        referral_curve([*FOUND, Findings("s", "scored")], np.array([True] * 5), np.arange(5)) == []
    )
