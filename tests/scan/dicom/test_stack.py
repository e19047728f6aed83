import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from meninx._errors import GeometryError, UnreadableFile, UnsupportedScan
from meninx._scan.geometry import affine_of_stack
from meninx._scan.nifti import write_nifti
from meninx._scan.scan import Scan
from meninx._synthesis.writing import stable_uid
from tests.scan.dicom_making import encoded, enhanced, save, save_all, slices_of


def assert_same(found: Scan, expected: Scan) -> None:
    np.testing.assert_array_equal(found.voxels, expected.voxels)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)


@pytest.fixture
def series(tiny_scan):
    return slices_of(tiny_scan)


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLosslessSV1,
        JPEG2000Lossless,
        JPEGLSLossless,
        HTJ2KLossless,
    ],
    ids=lambda syntax: syntax.name,
)
def test_every_transfer_syntax_gives_the_same_scan(series, tiny_scan, tmp_path, read_all, syntax):
    if syntax.is_compressed and not syntax.is_deflated:
        series = [encoded(dataset, syntax) for dataset in series]
    for dataset in series:
        dataset.file_meta.TransferSyntaxUID = syntax
    (found,) = read_all(save_all(series, tmp_path / "series"))
    assert_same(found, tiny_scan)


def test_dicom_and_nifti_give_the_same_scan(tiny_scan, series, tmp_path, read_all):
    save_all(series, tmp_path / "dicom")
    write_nifti(tiny_scan.voxels.astype(np.int16), tiny_scan, tmp_path / "t2.nii.gz")
    (from_dicom,) = read_all(tmp_path / "dicom")
    (from_nifti,) = read_all(tmp_path / "t2.nii.gz")
    assert_same(from_dicom, from_nifti)
    assert from_dicom.sequence == from_nifti.sequence == "T2"


def test_the_order_and_numbers_of_files_do_not_matter(series, tiny_scan, tmp_path, read_all):
    for number, dataset in enumerate(np.random.default_rng(3).permutation(len(series))):
        series[dataset].InstanceNumber = 7
        save(series[dataset], tmp_path / f"{number}" / "image")
    (found,) = read_all(tmp_path)
    assert_same(found, tiny_scan)


@pytest.mark.parametrize("order", [None, [4, 0, 8, 2, 6, 1, 7, 3, 5]])
def test_enhanced_frames_in_any_order(tiny_scan, tmp_path, read_all, order):
    (found,) = read_all(save(enhanced(tiny_scan, order), tmp_path / "enhanced.dcm"))
    assert_same(found, tiny_scan)
    assert found.sequence == "T2"


def test_rescale_and_signed_pixels(series, tiny_scan, tmp_path, read_all):
    for dataset in series:
        signed = dataset.pixel_array.astype(np.int32) - 2000
        dataset.PixelRepresentation = 1
        dataset.PixelData = signed.astype(np.int16).tobytes()
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "3"
    (found,) = read_all(save_all(series, tmp_path))
    np.testing.assert_allclose(found.voxels, (tiny_scan.voxels - 2000) * 0.5 + 3)


def test_garbage_in_unused_bits_is_no_signal(series, tiny_scan, tmp_path, read_all):
    for dataset in series:
        dataset.PixelData = (dataset.pixel_array | 0xA000).astype(np.uint16).tobytes()
    (found,) = read_all(save_all(series, tmp_path))
    assert_same(found, tiny_scan)


def test_monochrome1_is_turned(series, tiny_scan, tmp_path, read_all):
    for dataset in series:
        dataset.PixelData = (4095 - dataset.pixel_array).astype(np.uint16).tobytes()
        dataset.PhotometricInterpretation = "MONOCHROME1"
    (found,) = read_all(save_all(series, tmp_path))
    assert_same(found, tiny_scan)


def test_sixteen_bits_are_kept_whole(series, tiny_scan, tmp_path, read_all):
    for dataset in series:
        deep = dataset.pixel_array.astype(np.uint32) * 16 + 7
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = deep.astype(np.uint16).tobytes()
    (found,) = read_all(save_all(series, tmp_path))
    np.testing.assert_array_equal(found.voxels, tiny_scan.voxels * 16 + 7)


def test_missing_slices_name_the_series_and_the_place(series, tmp_path, read_all, errors):
    del series[4:6]
    assert read_all(save_all(series, tmp_path / "gap")) == []
    (error,) = errors
    assert isinstance(error, GeometryError)
    assert "gap: 2 slices missing after slice 4 (gap 8.1 mm, spacing 2.7 mm)" in str(error)


def test_echoes_and_time_points_are_scans_of_their_own(tiny_scan, tmp_path, read_all):
    for part in range(4):
        series = slices_of(tiny_scan)
        for dataset in series:
            dataset.SOPInstanceUID = stable_uid(dataset.SOPInstanceUID, part)
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.EchoNumbers = part % 2 + 1
            dataset.AcquisitionNumber = part // 2 + 1
        save_all(series, tmp_path / f"{part}")
    scans = read_all(tmp_path)
    assert [scan.name.rsplit(", ")[-1] for scan in scans] == [
        f"{tmp_path} (part {part} of 4)" for part in (1, 2, 3, 4)
    ]
    for scan in scans:
        assert_same(scan, tiny_scan)


def test_a_slice_that_is_there_twice_counts_once(series, tiny_scan, tmp_path, read_all):
    save_all(series, tmp_path)
    data = (tmp_path / "003.dcm").read_bytes()
    (tmp_path / "copy.dcm").write_bytes(data)
    (tmp_path / "000-cut-off-copy.dcm").write_bytes(data[:-20])
    (found,) = read_all(tmp_path)
    assert_same(found, tiny_scan)


def test_slices_that_share_one_uid_are_all_read(series, tiny_scan, tmp_path, read_all):
    for dataset in series:
        dataset.SOPInstanceUID = series[0].SOPInstanceUID
    (found,) = read_all(save_all(series, tmp_path))
    assert_same(found, tiny_scan)


def test_coarse_pixels_are_still_cut_along_the_series(tmp_path, read_all):
    voxels = np.random.default_rng(0).integers(0, 4000, (7, 8, 9)).astype(np.float32)
    affine = affine_of_stack((0, 0, 0), (1, 0, 0, 0, 1, 0), (2.5, 2.4), 1.0)
    scan = Scan("overlapping", voxels, affine, "T1", slice_axis=2)
    (found,) = read_all(save_all(slices_of(scan), tmp_path))
    assert len(found) == 9
    assert found.view.slice_axis == 2


def test_two_instances_in_one_place_are_an_error(series, tmp_path, read_all, errors):
    series[3].ImagePositionPatient = series[4].ImagePositionPatient
    assert read_all(save_all(series, tmp_path)) == []
    assert "share a position" in str(errors[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"SeriesDescription": "3-plane scout"}, "localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "derived"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "mosaic"),
        ({"BodyPartExamined": "KNEE"}, "not_brain"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"},
            "not_mr",
        ),
        ({"Modality": "CT"}, "not_mr"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "color"),
    ],
)
def test_other_images_than_slices_of_a_brain_are_excluded(
    series, healthy, tmp_path, read_all, errors, change, reason
):
    for dataset in series:
        for name, value in change.items():
            setattr(dataset, name, value)
    save_all(series, tmp_path / "odd")
    save_all(slices_of(healthy.scan, seed=2), tmp_path / "good")
    (found,) = read_all(tmp_path)
    assert found.name == str(tmp_path / "good")
    (error,) = errors
    assert isinstance(error, UnsupportedScan)
    assert error.reason == reason
    assert error.place == str(tmp_path / "odd")


def test_a_file_without_preamble_is_read(series, tiny_scan, tmp_path, read_all):
    for number, dataset in enumerate(series):
        del dataset.file_meta
        dataset.preamble = None
        path = tmp_path / f"{number}.dcm"
        dataset.save_as(path, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    (found,) = read_all(tmp_path)
    assert_same(found, tiny_scan)


def test_one_slice_alone_is_a_scan(series, tiny_scan, tmp_path, read_all):
    (found,) = read_all(save(series[2], tmp_path / "one.dcm"))
    np.testing.assert_array_equal(found.voxels[:, :, 0], tiny_scan.voxels[:, :, 2])
    assert found.slice_gap_mm == pytest.approx(2.7)


def test_slices_without_positions_are_an_error(series, tmp_path, read_all, errors):
    for dataset in series:
        del dataset.ImagePositionPatient
    assert read_all(save_all(series, tmp_path)) == []
    assert "ImagePositionPatient" in str(errors[0])


def test_pixels_of_no_known_size_are_an_error(series, tmp_path, read_all, errors):
    for dataset in series:
        del dataset.PixelSpacing
    assert read_all(save_all(series, tmp_path)) == []
    assert "no PixelSpacing" in str(errors[0])


def test_several_echo_numbers_in_one_image_are_read(series, tiny_scan, tmp_path, read_all):
    for dataset in series:
        dataset.EchoNumbers = [1, 2]
    (found,) = read_all(save_all(series, tmp_path))
    assert_same(found, tiny_scan)


def test_no_patient_name_leaves_the_reader(series, tmp_path, read_all, errors):
    for dataset in series:
        dataset.PatientName = "Very^Secret"
    (scan,) = read_all(save_all(series, tmp_path))
    assert "Secret" not in f"{scan!r} {scan.identity} {vars(scan)}"
    assert set(scan.identity.as_json()) == {
        "study_instance_uid",
        "series_instance_uid",
        "patient",
    }
    assert len(scan.identity.instance_uids) == 9


@pytest.mark.parametrize(("slope", "intercept"), [("3", "0"), ("0.3", None), ("1", "-1024")])
def test_slices_made_unequal_by_a_rescaling_that_others_lack_fail(
    healthy, tmp_path, read_all, errors, slope, intercept
):
    series = slices_of(healthy.scan)
    for dataset in series[:4]:
        dataset.RescaleSlope = slope
        if intercept is not None:
            dataset.RescaleIntercept = intercept
    assert read_all(save_all(series, tmp_path)) == []
    (error,) = errors
    assert isinstance(error, UnreadableFile)
    assert "RescaleSlope and RescaleIntercept differ between slices" in str(error)


def test_slices_that_are_each_scaled_to_all_bits_are_read(healthy, tmp_path, read_all):
    series = slices_of(healthy.scan)
    for dataset in series[:-1]:
        stored = dataset.pixel_array
        slope = float(stored.max()) / 4095
        dataset.PixelData = np.rint(stored / slope).astype(np.uint16).tobytes()
        dataset.RescaleSlope = f"{slope:.8f}"
        dataset.RescaleIntercept = "0"
    (found,) = read_all(save_all(series, tmp_path))
    np.testing.assert_allclose(found.voxels, healthy.scan.voxels, atol=1)
