import numpy as np

from meninx._synthesis.outliers import SIDE, synthetic_outliers
from meninx._synthesis.simulated_scans import brainless_slices


def test_outliers_are_gray_pictures_of_every_kind_and_depend_on_the_seed_alone():
    known = [np.random.default_rng(0).uniform(0, 900, (90, 70)).astype(np.float32)]
    drawn = list(synthetic_outliers(20, known, seed=4))
    again = list(synthetic_outliers(20, known, seed=4))
    for picture, same in zip(drawn, again, strict=True):
        assert picture.shape == (SIDE, SIDE)
        assert picture.dtype == np.float32
        assert 0 <= picture.min() < picture.max() <= 255
        assert np.array_equal(picture, same)
    assert len({picture.tobytes() for picture in drawn}) == 20
    assert not np.array_equal(drawn[0], next(synthetic_outliers(1, known, seed=5)))


def test_slices_without_brain_show_something(monkeypatch):
    from meninx._synthesis import simulated_scans

    monkeypatch.setattr(simulated_scans, "BRAINLESS_HEADS", 3)
    slices = list(brainless_slices())
    assert 6 <= len(slices) <= 12
    assert all(np.ptp(image) > 0 for image in slices)
