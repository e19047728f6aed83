"""Forty identifiers are planted wherever they can be; none may come out again, in any encoding."""

import json
import stat

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from typer.testing import CliRunner

from meninx._cli import app
from meninx._clinic.deidentification import Deidentifier, Pseudonyms, Removed, cleaned
from meninx._clinic.release import Faces, release
from meninx._errors import UnsupportedScan
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import IncompleteNote
from meninx._scan.reading import read_scans
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import dicom_slice, write_dicom
from tests.scan.dicom.test_values import put
from tests.scan.dicom_making import encoded, enhanced, save

TEXTS = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ResponsiblePerson",
    "PatientID",
    "IssuerOfPatientID",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "ReferringPhysicianAddress",
    "PerformingPhysicianName",
    "OperatorsName",
    "NameOfPhysiciansReadingStudy",
    "RequestingPhysician",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "DeviceSerialNumber",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "CountryOfResidence",
    "Occupation",
    "PatientComments",
    "AdditionalPatientHistory",
    "ImageComments",
    "StudyComments",
    "MedicalRecordLocator",
    "AdmissionID",
    "RequestedProcedureID",
    "ScheduledStudyLocation",
    "SeriesDescription",
    "StudyDescription",
    "ProtocolName",
)


def planted(dataset):
    """Plant identifiers; return them."""
    names = []

    def plant(name):
        names.append(f"Zyx{len(names):02}Qwert")
        return names[-1]

    for name in TEXTS:
        text = plant(name)
        if name in ("StudyID", "AccessionNumber", "StationName"):
            text = names[-1] = text[:12]
        if name == "SeriesDescription":
            text = f"t1 ax {text} post"
        if name == "ImageComments":
            text = f"seen by {text}"
        setattr(dataset, name, text)
    nested, deeper = Dataset(), Dataset()
    nested.StudyDescription = plant("nested")
    deeper.PersonName = plant("deeper")
    nested.PersonIdentificationCodeSequence = [deeper]
    dataset.RequestAttributesSequence = [nested]
    other = Dataset()
    other.PatientID = plant("other")
    dataset.OtherPatientIDsSequence = [other]
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", f"private {plant('private')}".encode())
    original = Dataset()
    original.PatientName = plant("original")
    changed = Dataset()
    changed.ModifiedAttributesSequence = [original]
    dataset.OriginalAttributesSequence = [changed]
    # In an attribute that the profile's table leaves alone.
    dataset.SequenceName = dataset.PatientID
    dataset.file_meta.SourceApplicationEntityTitle = plant("meta")[:16]
    dataset.PatientBirthDate = "19510307"
    return [
        *names,
        "19510307",
        str(dataset.StudyInstanceUID),
        str(dataset.SOPInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.FrameOfReferenceUID),
    ]


@pytest.fixture
def keyed(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"k" * 32)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["deidentify", *map(str, arguments)])


def test_forty_identifiers_are_gone_and_the_scan_is_the_same(tmp_path, sick, keyed):
    known = []
    for index in range(len(sick.scan)):
        dataset = dicom_slice(sick.scan, index, 7)
        known += planted(dataset)
        save(dataset, tmp_path / "Zyx00Qwert" / f"{index}.dcm")
    assert len(set(known)) > 40
    done = run(tmp_path / "Zyx00Qwert", "--output", tmp_path / "out", "--key", keyed)
    assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "out").rglob("*"))
    for path in files:
        assert not any(name in str(path.relative_to(tmp_path)) for name in known)
        if path.is_file():
            data = path.read_bytes()
            for name in set(known):
                assert name.encode() not in data, (name, path.name)
                assert name.encode("utf-16-le") not in data
    log = json.loads((tmp_path / "out" / "removed.json").read_text())
    assert {"attribute": "PatientAddress", "action": "removed", "count": 9} in log
    (scan,) = read_scans(tmp_path / "out")
    (before,) = read_scans(tmp_path / "Zyx00Qwert")
    assert np.array_equal(scan.voxels, before.voxels)
    assert np.allclose(scan.affine, before.affine)
    dataset = pydicom.dcmread(next(path for path in files if path.suffix == ".dcm"))
    assert dataset.SeriesDescription == "t1 ax post"
    assert dataset.PatientIdentityRemoved == "YES"
    assert [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence] == [
        "113100",
        "113105",
        "113107",
    ]
    assert not [element for element in dataset.iterall() if element.tag.is_private]


@pytest.mark.dicom3tools
def test_what_is_written_is_still_dicom(tmp_path, sick, keyed, dciodvfy):
    import subprocess

    write_dicom(sick.scan, tmp_path / "in", 7)
    run(tmp_path / "in", "--output", tmp_path / "out", "--key", keyed)
    path = next((tmp_path / "out").rglob("*.dcm"))
    checked = subprocess.run([dciodvfy, path], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stdout + checked.stderr


def test_a_patient_keeps_a_pseudonym_and_the_days_between_two_visits(tmp_path, sick):
    cleaner = Deidentifier(Pseudonyms(b"a" * 32), Removed())
    visits = []
    for date in ("20240229", "20240310"):
        dataset = dicom_slice(sick.scan, 0, 7)
        dataset.StudyDate = dataset.SeriesDate = date
        dataset.AcquisitionDateTime = date + "101530"
        cleaner.clean(dataset)
        visits.append(dataset)
    first, second = visits
    assert first.PatientID == second.PatientID == str(first.PatientName)
    assert first.StudyDate != "20240229"
    days = np.datetime64(iso(second.StudyDate)) - np.datetime64(iso(first.StudyDate))
    assert days == np.timedelta64(10, "D")
    assert first.AcquisitionDateTime == first.StudyDate + "101530"
    assert first.StudyInstanceUID == second.StudyInstanceUID
    other = dicom_slice(sick.scan, 0, 7)
    Deidentifier(Pseudonyms(b"b" * 32), Removed()).clean(other)
    assert other.PatientID != first.PatientID
    assert other.StudyInstanceUID != first.StudyInstanceUID
    stranger = dicom_slice(sick.scan, 0, 8)
    cleaner.clean(stranger)
    assert stranger.PatientID != first.PatientID


def iso(date):
    return f"{date[:4]}-{date[4:6]}-{date[6:]}"


def test_descriptors_keep_the_words_of_a_scan():
    assert cleaned("AX T1 Post GAD Dr. Miller 3D iso") == "ax t1 post 3d iso"
    assert cleaned("SMITH_JOHN") == ""


def test_a_patient_named_like_a_code_leaves_the_codes(sick):
    dataset = dicom_slice(sick.scan, 0, 7)
    dataset.PatientName = "Head^Monochrome2"
    dataset.InstitutionName = "Original Primary"
    dataset.Manufacturer = "made for Monochrome2"
    Deidentifier(Pseudonyms(b"a" * 32), Removed()).clean(dataset)
    assert dataset.PhotometricInterpretation == "MONOCHROME2"
    assert dataset.BodyPartExamined == "HEAD"
    assert list(dataset.ImageType) == ["ORIGINAL", "PRIMARY", "OTHER"]
    assert not dataset.Manufacturer


def with_overlay(dataset, *, signed=False, high=11):
    """Draw a name into the unused bits; return the pixels and the mask of the unused bits."""
    stored = np.clip(dataset.pixel_array, 0, 2047).astype("<u2")
    if signed:
        stored[::2] = -5 & 0x0FFF
    low = high - 11
    used = 0x0FFF << low
    data = (stored << low).astype("<u2")
    data[3:9, 4:20] |= 0xFFFF ^ used
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, high, int(signed)
    dataset.PixelData = data.tobytes()
    for element, kind, value in (
        (0x0010, "US", dataset.Rows),
        (0x0011, "US", dataset.Columns),
        (0x0022, "LO", "DOE^JANE"),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 16),
        (0x0102, "US", 12 if high == 11 else 0),
        (0x1500, "LO", "of DOE"),
    ):
        dataset.add_new(0x60020000 + element, kind, value)
    return data & used, used


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("signed", "high"), [(False, 11), (True, 11), (False, 15), (False, 13)])
def test_an_overlay_in_unused_bits_and_bytes_after_the_pixels_are_removed(
    sick, packed, signed, high
):
    dataset = dicom_slice(sick.scan, 3, 7)
    shown, used = with_overlay(dataset, signed=signed, high=high)
    if packed:
        dataset = encoded(dataset, pydicom.uid.RLELossless)
        if high != 11:
            with pytest.raises(UnsupportedScan, match="unused bits below"):
                Deidentifier(Pseudonyms(b"a" * 32), Removed()).clean(dataset)
            return
    else:
        dataset.PixelData += b"DOE^JANE"
    removed = Removed()
    Deidentifier(Pseudonyms(b"a" * 32), removed).clean(dataset)
    found = np.frombuffer(dataset.PixelData, "<u2").reshape(shown.shape)
    np.testing.assert_array_equal(found & used, shown)
    unused = found & (0xFFFF ^ used)
    sign = np.where(signed & (shown >> 11 > 0), 0xF000, 0)
    np.testing.assert_array_equal(unused, sign)
    assert not [tag for tag in dataset.keys() if 0x6000 <= tag.group < 0x6100]  # noqa: SIM118
    actions = {action for name, action in removed.counts if name == "PixelData"}
    cut_off = set() if packed else {"bytes after the pixels removed"}
    assert actions == {"unused bits cleared"} | cut_off


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [pydicom.uid.JPEG2000Lossless, pydicom.uid.JPEGLSLossless])
def test_a_name_drawn_above_the_values_of_compressed_pixels_is_removed(sick, syntax, signed):
    dataset = dicom_slice(sick.scan, 3, 7)
    shown = np.clip(dataset.pixel_array, 0, 2047).astype("<u2")
    drawn = shown.copy()
    drawn[3:9, 4:20] |= 0x8000
    dataset.PixelData = drawn.tobytes()
    dataset.BitsStored, dataset.HighBit = 16, 15
    dataset = encoded(dataset, syntax)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, int(signed)
    removed = Removed()
    Deidentifier(Pseudonyms(b"a" * 32), removed).clean(dataset)
    np.testing.assert_array_equal(np.frombuffer(dataset.PixelData, "<u2"), shown.ravel())
    assert ("PixelData", "unused bits cleared") in removed.counts


@pytest.mark.parametrize("syntax", [pydicom.uid.JPEG2000Lossless, pydicom.uid.JPEGLSLossless])
def test_compressed_pixels_without_more_bits_stay_compressed(sick, syntax):
    dataset = dicom_slice(sick.scan, 3, 7)
    shown = np.clip(dataset.pixel_array, 0, 2047).astype("<u2")
    dataset.BitsStored, dataset.HighBit, dataset.PixelData = 12, 11, shown.tobytes()
    if syntax == pydicom.uid.JPEGLSLossless:
        dataset = encoded(dataset, syntax)
    else:
        frame = imagecodecs.jpeg2k_encode(
            shown, codecformat="j2k", reversible=True, bitspersample=12
        )
        dataset.PixelData = encapsulate([frame])
        dataset.file_meta.TransferSyntaxUID = syntax
    before = dataset.PixelData
    Deidentifier(Pseudonyms(b"a" * 32), Removed()).clean(dataset)
    assert dataset.PixelData == before


def test_a_frame_that_can_t_be_decompressed_is_refused(sick):
    dataset = encoded(dicom_slice(sick.scan, 3, 7), pydicom.uid.JPEG2000Lossless)
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.PixelData = encapsulate([b"DOE^JANE" * 20])
    with pytest.raises(UnsupportedScan, match="can't be decompressed"):
        Deidentifier(Pseudonyms(b"a" * 32), Removed()).clean(dataset)


@pytest.mark.parametrize("lost", [1, 2, 513])
def test_unused_bits_are_cleared_where_pixels_are_missing_at_the_end(sick, lost):
    dataset = dicom_slice(sick.scan, 3, 7)
    shown, _ = with_overlay(dataset)
    dataset.PixelData = dataset.PixelData[:-lost]
    Deidentifier(Pseudonyms(b"a" * 32), Removed()).clean(dataset)
    found = np.frombuffer(dataset.PixelData, "<u2")
    np.testing.assert_array_equal(found, shown.ravel()[: found.size])
    assert found.size == shown.size - -(-lost // 2)


def test_burned_in_text_and_other_kinds_are_refused(tmp_path, sick):
    cleaner = Deidentifier(Pseudonyms(b"a" * 32), Removed())
    dataset = dicom_slice(sick.scan, 0, 7)
    dataset.BurnedInAnnotation = "YES"
    with pytest.raises(UnsupportedScan, match="burned"):
        cleaner.clean(dataset)
    dataset = dicom_slice(sick.scan, 0, 7)
    dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    with pytest.raises(UnsupportedScan, match="saved screens"):
        cleaner.clean(dataset)


def test_enhanced_files_keep_their_frames(tmp_path, sick, keyed):
    dataset = enhanced(sick.scan)
    dataset.PerFrameFunctionalGroupsSequence[2].FrameContentSequence[0].FrameComments = "Zyxqwert"
    dataset.OtherPatientNames = "Zyxqwert"
    save(dataset, tmp_path / "in" / "slice.dcm")
    done = run(tmp_path / "in", "--output", tmp_path / "out", "--key", keyed)
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").rglob("*.dcm")
    assert b"Zyxqwert" not in path.read_bytes()
    (scan,) = read_scans(tmp_path / "out")
    assert np.array_equal(scan.voxels, sick.scan.voxels)


def test_faces_are_pointed_out_and_refused(tmp_path, keyed):
    grid = grid_of("sagittal", (96, 96, 64), (2.4, 2.4, 2.4))
    study = make_study("fine", 5, None, "T1", "sagittal", grid)
    write_dicom(study.scan, tmp_path / "in", 5)
    done = run(tmp_path / "in", "--output", tmp_path / "out", "--key", keyed)
    assert done.exit_code == 1
    assert "--keep-faces" in done.output
    assert not list((tmp_path / "out").rglob("*.dcm"))
    done = run(tmp_path / "in", "--output", tmp_path / "kept", "--key", keyed, "--keep-faces")
    assert done.exit_code == 0
    assert len(list((tmp_path / "kept").rglob("*.dcm"))) == 64


@pytest.mark.real_data
@pytest.mark.slow
def test_a_real_face_is_cut_off_and_the_brain_stays(tmp_path, real_data, keyed):
    from meninx._synthesis.head_template import brain_of

    (head,) = read_scans(real_data / "templates" / "colin27-t1.nii.gz")
    from dataclasses import replace

    top = head.voxels.max()
    coarse = replace(
        head,
        voxels=np.rint(head.voxels[::2, ::2, ::2] / top * 4000).astype(np.float32),
        affine=head.affine @ np.diag([2.0, 2.0, 2.0, 1.0]),
        slice_axis=2,
        sequence="T1",
    )
    write_dicom(coarse, tmp_path / "in", 3)
    done = run(tmp_path / "in", "--output", tmp_path / "out", "--key", keyed, "--deface")
    assert done.exit_code == 0, done.output
    (scan,) = read_scans(tmp_path / "out")
    brain = brain_of(coarse)
    assert np.array_equal(scan.voxels[brain], coarse.voxels[brain])
    cut = (scan.voxels == scan.voxels.min()) & (coarse.voxels > 400)
    assert cut.sum() > 5000
    # What went lies before and below the brain: LPS, y to the back, z to the head.
    places = np.argwhere(cut).mean(axis=0) - np.argwhere(brain).mean(axis=0)
    toward = coarse.affine[:3, :3] @ places
    assert toward[1] < -20 and toward[2] < -20


def test_the_secret_is_made_once_and_guarded(tmp_path, sick):
    write_dicom(sick.scan, tmp_path / "in", 7)
    key = tmp_path / "new" / "secret"
    assert run(tmp_path / "in", "--output", tmp_path / "a", "--key", key).exit_code == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert run(tmp_path / "in", "--output", tmp_path / "b", "--key", key).exit_code == 0
    names = [sorted(p.relative_to(tmp_path / x) for p in (tmp_path / x).rglob("*")) for x in "ab"]
    assert names[0] == names[1]
    again = run(tmp_path / "in", "--output", tmp_path / "a", "--key", key)
    assert "not empty" in str(again.exception)
    assert Tag("PatientName") in pydicom.dcmread(next((tmp_path / "a").rglob("*.dcm")))


def as_file(dataset, path, after=b""):
    save(dataset, path)
    path.write_bytes(path.read_bytes() + after)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_bad_file_fails_alone(tmp_path, sick, keyed, monkeypatch):
    # Zeros behind the pixels, as GE pads files, are read as an empty element (0000,0000).
    for index in range(len(sick.scan)):
        dataset = dicom_slice(sick.scan, index, 7)
        put(dataset, "PatientAge", "AS", b"Zyx Qwert ")
        put(dataset, "EchoTime", "DS", b"Zyx ")
        as_file(dataset, tmp_path / "in" / f"{index}.dcm", bytes(8 * (index % 2)))
    done = run(tmp_path / "in", "--output", tmp_path / "out", "--key", keyed, "--keep-faces")
    assert done.exit_code == 0, done.output
    written = [pydicom.dcmread(path) for path in (tmp_path / "out").rglob("*.dcm")]
    assert len(written) == len(sick.scan)
    assert all("EchoTime" not in dataset for dataset in written)

    whole = Deidentifier.clean

    def stumble(self, dataset):
        if str(dataset.filename).endswith("3.dcm"):
            raise KeyError("MUSTERMANN")
        whole(self, dataset)

    monkeypatch.setattr(Deidentifier, "clean", stumble)
    done = run(tmp_path / "in", "--output", tmp_path / "some", "--key", keyed, "--keep-faces")
    assert done.exit_code == 1
    assert f"{len(sick.scan) - 1} files written" in done.output
    assert "3.dcm" in done.output
    assert "MUSTERMANN" not in done.output


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("declared", [b"", b"none", b"ISO 8859-7"])
def test_character_sets_that_are_none_are_not_released(tmp_path, sick, keyed, declared):
    dataset = dicom_slice(sick.scan, 3, 7)
    put(dataset, "PatientName", "PN", "Ωμέγα^Ήρα  ".encode())
    put(dataset, "SpecificCharacterSet", "CS", declared)
    save(dataset, tmp_path / "in/x.dcm")
    run(tmp_path / "in", "--output", tmp_path / "out", "--key", keyed, "--keep-faces")
    (path,) = (tmp_path / "out").rglob("*.dcm")
    assert pydicom.dcmread(path).SpecificCharacterSet == "ISO_IR 192"


def test_a_part_of_a_study_is_released_as_a_part(tmp_path, sick):
    write_dicom(sick.scan, tmp_path / "in", 7)
    study = str(pydicom.dcmread(next((tmp_path / "in").iterdir())).StudyInstanceUID)
    IncompleteNote(study, (Incomplete("instances of the study", 30, 9),)).write(tmp_path / "in")
    out, errors = tmp_path / "out", []
    assert len(list(release(tmp_path / "in", out, b"k" * 32, Faces(keep=True), errors.append))) == 9
    assert not errors
    (scan,) = read_scans(out)
    assert [count.text for count in scan.incomplete] == ["9 of 30 instances of the study"]
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert study.encode() not in written
