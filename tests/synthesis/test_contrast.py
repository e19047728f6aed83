import math

import numpy as np
import pytest

from meninx._synthesis.contrast import (
    TIMINGS,
    TISSUES,
    Timing,
    Tissue,
    null_time,
    random_signals,
    signal,
    varied_tissues,
)


def test_spin_echo_by_hand():
    tissue = Tissue(t1=1000, t2=100, density=0.5)
    expected = 0.5 * (1 - math.exp(-0.5)) * math.exp(-0.2)
    assert signal(tissue, Timing(repetition=500, echo=20)) == pytest.approx(expected)


def test_inversion_nulls_fluid():
    tissue = TISSUES["csf"]
    at_null = Timing(9000, 110, null_time(tissue.t1, 9000))
    assert signal(tissue, at_null) == pytest.approx(0, abs=1e-12)


def test_contrast_agent_shortens_t1_by_its_relaxivity():
    tissue = Tissue(t1=1000, t2=100, density=1, uptake=1.0)
    timing = Timing(500, 0, contrast_agent=True)
    rate = 1 / 1000 + 4.3 / 1000  # per ms
    assert signal(tissue, timing) == pytest.approx(1 - math.exp(-500 * rate))


def test_tissues_are_ordered_as_readers_know_them():
    t1, t1c, t2, flair = (
        {name: signal(tissue, TIMINGS[sequence]) for name, tissue in TISSUES.items()}
        for sequence in ("T1", "T1c", "T2", "FLAIR")
    )
    assert t1["fat"] > t1["white"] > t1["gray"] > t1["csf"]
    assert t2["csf"] > t2["gray"] > t2["white"]
    assert flair["edema"] > flair["gray"] > flair["csf"]
    assert t1c["tumor_solid"] > 1.3 * t1c["white"]
    assert t1["tumor_solid"] < t1["white"]
    assert all(value["air"] == 0 for value in (t1, t1c, t2, flair))


def test_variation_is_seeded_and_small_in_healthy_tissue():
    first, again = (varied_tissues(np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert first["white"].t1 == pytest.approx(TISSUES["white"].t1, rel=0.2)


def test_random_signals_leave_air_dark_and_lesions_visible():
    for seed in range(50):
        signals = random_signals(np.random.default_rng(seed))
        assert signals["air"] == 0
        assert all(0 <= value <= 1.2 for value in signals.values())


def test_every_sequence_has_a_timing():
    assert set(TIMINGS) == {"T1", "T1c", "T2", "FLAIR"}
