"""The note of a folder applies to every scan in it, in folders and archives."""

import json
import zipfile

import numpy as np
import pytest

from meninx._errors import InputError
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import NOTE, IncompleteNote
from meninx._scan.nifti import write_nifti
from meninx._scan.reading import read_files, read_scans
from meninx._synthesis.writing import write_dicom

SERIES = Incomplete("instances of the study", 25, 11)


@pytest.fixture
def folder(tiny_scan, tmp_path):
    """An incomplete study in a folder and its subfolder, beside a complete study."""
    fetched = tmp_path / "in" / "fetched"
    write_dicom(tiny_scan, fetched / "series", 3)
    write_nifti(tiny_scan.voxels.astype(np.int16), tiny_scan, fetched / "t2.nii.gz")
    write_dicom(tiny_scan, tmp_path / "in" / "whole", 4)
    IncompleteNote("1.2.3", (SERIES,)).write(fetched)
    return tmp_path / "in"


def lacking(scans):
    return {scan.name.rsplit("/", 1)[-1]: scan.incomplete for scan in scans}


def test_the_note_applies_to_every_scan_of_its_folder_and_no_other(folder, tmp_path):
    expected = {"t2.nii.gz": (SERIES,), "series": (SERIES,), "whole": ()}
    assert lacking(read_scans(folder)) == expected
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder))
    assert lacking(read_scans(tmp_path / "in.zip")) == expected
    alone = folder / "fetched" / "t2.nii.gz"
    assert lacking(read_scans(alone)) == {"t2.nii.gz": (SERIES,)}
    errors = []
    assert lacking(read_files([alone])) == {"t2.nii.gz": (SERIES,)}
    assert not errors


def test_the_note_applies_to_unreadable_scans_too(folder):
    (folder / "fetched" / "broken.nii").write_bytes(b"no volume")
    for path in (folder / "fetched" / "series").iterdir():
        path.unlink()
    with pytest.raises(InputError) as raised:
        list(read_scans(folder / "fetched"))
    assert raised.value.incomplete == (SERIES,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"incomplete": 3}',
        '{"study": "1.2"}',
        '{"incomplete": [{}]}',
        '{"study": "1.2", "incomplete": [{"what": "x", "expected": "many", "received": 1}]}',
    ],
)
def test_other_files_of_that_name_are_ignored(folder, text):
    (folder / "fetched" / NOTE).write_text(text)
    assert set(lacking(read_scans(folder)).values()) == {()}


def test_the_note_contains_what_is_missing(folder):
    assert json.loads((folder / "fetched" / NOTE).read_text()) == {
        "study": "1.2.3",
        "incomplete": [{"what": "instances of the study", "expected": 25, "received": 11}],
    }
