"""Names in headers whose SpecificCharacterSet is missing, unknown or wrong."""

import io

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from meninx._scan.dicom.character_set import UNKNOWN_SIGN
from meninx._scan.dicom.file import read_dataset
from meninx._scan.dicom.heading import read_heading
from meninx._scan.source import Source
from meninx._synthesis.writing import dicom_slice

GREEK, CZECH = "Ωμέγα^Ήρα", "Dvořák^Žofie"


def file_of(scan, folder, declared, name, *, implicit=False):
    """Write a file with raw bytes for character set and names, unchecked by pydicom."""
    dataset, item = dicom_slice(scan, 0, 7), Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 6"
    dataset.PatientName = item.RequestedProcedureDescription = "N" * len(name)
    dataset.RequestAttributesSequence = [item]
    out = io.BytesIO()
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(out, implicit_vr=implicit, little_endian=True)
    kind = b"" if implicit else b"CS"
    lengths = [len(text).to_bytes(4 if implicit else 2, "little") for text in (b"8" * 8, declared)]
    before = b"\x08\0\x05\0" + kind + lengths[0] + b"ISO_IR 6"
    data = out.getvalue()
    assert before in data
    data = data.replace(before, b"\x08\0\x05\0" + kind + lengths[1] + declared)
    path = folder / "x.dcm"
    path.write_bytes(data.replace(b"N" * len(name), name))
    return path


def names_in(path):
    """Return the name in the dataset, in the heading and in an item."""
    dataset = read_dataset(Source("x", path, path.stat().st_size))
    nested = dataset.RequestAttributesSequence[0].RequestedProcedureDescription
    return str(dataset.PatientName), nested, read_heading(path).patient_name, dataset


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("declared", "encoding", "name"),
    [
        (b"", "utf-8", GREEK),
        (b"ISO_IR 6", "utf-8", CZECH),
        (b"UTF-8 ", "utf-8", GREEK),
        (b"unknown ", "utf-8", CZECH),
        (b"ISO 8859-7", "iso8859-7", GREEK),
        (b"windows-1250", "cp1250", CZECH),
        (b"ANON", "ascii", "Doe^Jane"),
    ],
)
def test_a_missing_character_set_is_found(tiny_scan, tmp_path, declared, encoding, name, implicit):
    data = name.encode(encoding)
    path = file_of(tiny_scan, tmp_path, declared, data + b" " * (len(data) % 2), implicit=implicit)
    own, nested, shown, dataset = names_in(path)
    assert own == nested == name
    assert shown == name.replace("^", ", ")
    assert dataset.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize(
    ("declared", "encoding", "name"),
    [
        (b"ISO_IR 126", "iso8859-7", GREEK),
        (b"ISO_IR 192", "utf-8", CZECH),
        (b"ISO_IR 101", "iso8859-2", CZECH),
        (b"ISO IR 101", "iso8859-2", CZECH),
        (b"GB18030 ", "gb18030", "李^四"),
    ],
)
def test_a_correct_character_set_is_kept(tiny_scan, tmp_path, declared, encoding, name):
    data = name.encode(encoding)
    path = file_of(tiny_scan, tmp_path, declared, data + b" " * (len(data) % 2))
    own, nested, _, dataset = names_in(path)
    assert own == nested == name
    assert dataset.SpecificCharacterSet == declared.decode().strip()


@pytest.mark.parametrize("declared", [b"", b"ISO_IR 192", b"nonsense"])
def test_undecodable_bytes_are_marked_and_stay_different(tiny_scan, tmp_path, declared):
    found = set()
    for name in (b"M\xfcller^A ", b"M\xf6ller^A "):
        own, nested, shown, _ = names_in(file_of(tiny_scan, tmp_path, declared, name))
        assert UNKNOWN_SIGN in own
        assert UNKNOWN_SIGN in shown
        assert UNKNOWN_SIGN in nested
        found.add(own)
    assert len(found) == 2
