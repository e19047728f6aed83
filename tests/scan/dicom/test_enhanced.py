"""Images of one place in an enhanced file are separated by their functional groups."""

import pytest
from pydicom.dataset import Dataset

from tests.scan.dicom_making import enhanced, save

SLICES = 9


def item(**values):
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return [dataset]


def acquisition_number(frame, number, point):
    del number
    frame.FrameContentSequence[0].FrameAcquisitionNumber = point + 1


def acquisition_time(frame, number, point):
    frame.FrameContentSequence[0].FrameAcquisitionDateTime = f"2024010112{point:02}{number:02}"


def dimensions(frame, number, point):
    frame.FrameContentSequence[0].DimensionIndexValues = [1, number + 1, point + 1]


def temporal_offset(frame, number, point):
    del number
    frame.TemporalPositionSequence = item(TemporalPositionTimeOffset=5.0 * point)


def trigger_delay(frame, number, point):
    del number
    frame.CardiacSynchronizationSequence = item(NominalCardiacTriggerDelayTime=100.0 * point)


def gradient(frame, number, point):
    del number
    direction = item(DiffusionGradientOrientation=[1.0 - point, float(point), 0.0])
    frame.MRDiffusionSequence = item(
        DiffusionBValue=1000.0, DiffusionGradientDirectionSequence=direction
    )


def nothing(frame, number, point):
    del frame, number, point


def saved(scan, path, change, points, pointers=()):
    dataset = enhanced(scan, [number for _ in range(points) for number in range(SLICES)])
    pixels = dataset.pixel_array.copy()
    for index, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        point, number = divmod(index, SLICES)
        pixels[index] += point
        change(frame, number, point)
    dataset.PixelData = pixels.tobytes()
    dataset.DimensionIndexSequence = [
        dimension for pointer in pointers for dimension in item(DimensionIndexPointer=pointer)
    ]
    return save(dataset, path / "enhanced.dcm")


@pytest.mark.parametrize(
    "change",
    [
        acquisition_number,
        acquisition_time,
        dimensions,
        temporal_offset,
        trigger_delay,
        gradient,
    ],
)
@pytest.mark.parametrize("points", [2, 3])
def test_images_of_one_place_are_scans_of_their_own(
    tiny_scan, tmp_path, read_all, errors, change, points
):
    scans = read_all(saved(tiny_scan, tmp_path, change, points))
    assert [len(scan) for scan in scans] == [SLICES] * points
    assert errors == []
    lowest = [float(scan.voxels.min()) for scan in scans]
    assert sorted(low - min(lowest) for low in lowest) == list(range(points))


def test_two_dimensions_beside_the_place_are_told_apart_together(
    tiny_scan, tmp_path, read_all, errors
):
    def change(frame, number, point):
        indices = [1, number + 1, point // 2 + 1, point % 2 + 1]
        frame.FrameContentSequence[0].DimensionIndexValues = indices

    # Stack, position in it, temporal position, diffusion weighting.
    pointers = (0x00209056, 0x00209057, 0x00209128, 0x00189087)
    scans = read_all(saved(tiny_scan, tmp_path, change, 4, pointers))
    assert ([len(scan) for scan in scans], errors) == ([SLICES] * 4, [])


def test_images_that_nothing_separates_are_an_error(tiny_scan, tmp_path, read_all, errors):
    assert read_all(saved(tiny_scan, tmp_path, nothing, 2)) == []
    assert len(errors) == 1


def test_a_number_for_each_frame_separates_no_images(tiny_scan, tmp_path, read_all, errors):
    def change(frame, number, point):
        frame.FrameContentSequence[0].FrameAcquisitionNumber = 1 + number + point * SLICES

    assert read_all(saved(tiny_scan, tmp_path, change, 2)) == []
    assert len(errors) == 1
