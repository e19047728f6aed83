"""Change good files at random: whatever comes out, it is typed."""

import gzip
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meninx._errors import InputError
from meninx._scan.reading import read_scans
from tests.hostile.corpus import dicom, metaimage, mgh, nifti, nrrd, png, saved, tarred, zipped

KINDS = {
    "png": png,
    "jpg": lambda: saved("JPEG"),
    "tif": lambda: saved("TIFF"),
    "nii": nifti,
    "nii.gz": lambda: gzip.compress(nifti()),
    "dcm": dicom,
    "zip": lambda: zipped({"a.png": png(), "b.dcm": dicom()}),
    "dcm.gz": lambda: gzip.compress(dicom()),
    "mgh": mgh,
    "nrrd": nrrd,
    "mha": metaimage,
    "tar": lambda: tarred({"a.png": png(), "b.dcm": dicom()}),
    "tar.gz": lambda: gzip.compress(tarred({"a.png": png(), "b.dcm": dicom()})),
}


@cache
def good(kind: str) -> bytes:
    return KINDS[kind]()


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw a file with bytes changed, mostly in its headers, doubled, or taken out."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        last = max(len(changed) - 1, 0)
        place = draw(st.one_of(st.integers(0, min(last, 1500)), st.integers(0, last)))
        match draw(st.sampled_from(("set", "flip", "remove", "repeat", "cut"))):
            case "set":
                changed[place : place + 4] = draw(st.binary(min_size=1, max_size=4))
            case "flip" if changed:
                changed[place] ^= 1 << draw(st.integers(0, 7))
            case "remove":
                del changed[place : place + draw(st.integers(1, 64))]
            case "repeat":
                changed[place:place] = changed[place : place + draw(st.integers(1, 64))]
            case "cut":
                del changed[max(place, 4) :]
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_read_or_refused(kind: str, tmp_path: Path):
    path = tmp_path / f"x.{kind}"

    @settings(
        max_examples=150,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(good(kind)))
    def read(data: bytes) -> None:
        path.write_bytes(data)
        errors: list[InputError] = []
        scans = list(read_scans(path, errors.append))
        assert scans or errors
        assert all(error.reason and error.place for error in errors)

    read()
