"""dcm2niix and meninx make the same volumes of the same folders; where not, it is known why."""

import shutil

import pytest

from lab.speed import reading as peer_reading

# Volumes of dcm2niix and of meninx where they differ, as docs/log/2026-11-30-dcm2niix.md explains.
KNOWN = {
    "echo-time-jitters": (2, 1),
    "three-slices-missing": (1, 0),
    "sent-twice": (2, 1),
    "localizer": (1, 0),
    "rcbv-map": (1, 0),
}


@pytest.fixture(scope="module")
def reading():
    if shutil.which("dcm2niix") is None:
        pytest.skip("dcm2niix is not installed (Debian: dcm2niix)")
    return peer_reading


@pytest.fixture(scope="module")
def compared(reading, tmp_path_factory):
    folders = reading.make_cases(tmp_path_factory.mktemp("cases"))
    return [reading.compare(folder) for folder in folders]


@pytest.mark.slow
def test_the_peer_reads_alike(compared):
    differing = {
        comparison.name: (len(comparison.theirs), len(comparison.ours))
        for comparison in compared
        if comparison.differences
    }
    assert differing == KNOWN
    alike = [comparison for comparison in compared if not comparison.differences]
    assert len(alike) == 11
    assert all(comparison.ours for comparison in alike)


@pytest.mark.slow
def test_a_difference_is_seen(reading, compared):
    (comparison,) = (comparison for comparison in compared if comparison.name == "axial")
    assert not comparison.differences
    (volume,) = comparison.ours
    moved = volume.affine.copy()
    moved[2, 3] += 0.01
    for other, word in (
        (reading.Volume(volume.shape, moved, volume.total), "affines"),
        (reading.Volume(volume.shape, volume.affine, volume.total * 1.001), "sums"),
        (reading.Volume((1, 2, 3), volume.affine, volume.total), "shapes"),
    ):
        (difference,) = reading.Comparison("a", comparison.theirs, (other,), ()).differences
        assert difference.startswith(word)
