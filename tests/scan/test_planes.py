"""Series with few slices in each of several planes are refused once, not scored slice by slice."""

import math

import pytest

from tests.scan.dicom_making import save_all, slices_of

AXIAL, CORONAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]


def turned(degrees: float) -> list[str]:
    """Return the cosines of a plane through the body axis."""
    angle = math.radians(degrees)
    return [f"{math.cos(angle):.6f}", f"{math.sin(angle):.6f}", "0", "0", "0", "-1"]


def saved(scan, folder, planes):
    slices = slices_of(scan)[: len(planes)]
    for dataset, plane in zip(slices, planes, strict=True):
        dataset.ImageOrientationPatient = plane
    return save_all(slices, folder)


@pytest.mark.parametrize(
    "planes",
    [
        [AXIAL, CORONAL, SAGITTAL],
        [AXIAL] * 3 + [CORONAL] * 3 + [SAGITTAL] * 3,
        [AXIAL, CORONAL],
        [turned(30 * number) for number in range(6)],
    ],
)
def test_few_slices_in_several_planes_are_refused_once(
    tiny_scan, tmp_path, read_all, errors, planes
):
    assert read_all(saved(tiny_scan, tmp_path, planes)) == []
    assert [error.reason for error in errors] == ["geometry"]
    assert "a localizer or a radial series" in str(errors[0])


def test_cosines_of_no_plane_are_an_error_of_their_own(tiny_scan, tmp_path, read_all, errors):
    assert read_all(saved(tiny_scan, tmp_path, [[0] * 6])) == []
    assert [error.reason for error in errors] == ["geometry"]
    assert "localizer" not in str(errors[0])


def test_a_patient_who_moved_a_little_lies_in_one_plane(tiny_scan, tmp_path, read_all, errors):
    planes = [turned(0.001 * number) for number in range(9)]
    slices = slices_of(tiny_scan)
    for number, (dataset, plane) in enumerate(zip(slices, planes, strict=True)):
        dataset.ImageOrientationPatient = plane
        dataset.ImagePositionPatient = [0, 5 * number, 0]
    (scan,) = read_all(save_all(slices, tmp_path))
    assert (len(scan), errors) == (9, [])
