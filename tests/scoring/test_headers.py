"""Each file's header is read once on the way to its DICOM objects."""

import pydicom
import pytest
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from meninx._cli import app
from meninx._clinic.result_context import context_of
from meninx._detect.loading import load_detector
from meninx._scoring.loop import score_path
from meninx._synthesis.phantom import Phantom, grid_of
from meninx._synthesis.writing import write_dicom

SLICES = 24


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A series of 24 files."""
    folder = tmp_path_factory.mktemp("in") / "series"
    grid = grid_of("axial", (88, 96, SLICES), (2.2, 2.3, 6.0))
    write_dicom(Phantom(23, "glioma").render("T1c", grid)[0], folder, 23)
    return folder


@pytest.fixture
def parsed(monkeypatch):
    """Count the files that pydicom parsed: headers alone, and with pixels."""
    calls = {True: 0, False: 0}
    read = pydicom.dcmread

    def counting(*arguments, stop_before_pixels=False, **more):
        calls[stop_before_pixels] += 1
        return read(*arguments, stop_before_pixels=stop_before_pixels, **more)

    monkeypatch.setattr(pydicom, "dcmread", counting)
    return calls


def test_predict_reads_each_header_once(series, parsed, tmp_path):
    done = CliRunner().invoke(app, ["predict", str(series), "--dicom-out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert list(tmp_path.rglob("SR-*.dcm"))
    # Once to sort the slices, and once for the results; pixels are read where the header ended.
    assert parsed == {True: 2 * SLICES, False: 0}


def test_headers_of_results_are_those_of_the_files(series):
    (result,) = score_path(load_detector(), series)
    context = context_of(result)
    assert [header.SOPInstanceUID for header in context.headers] == list(
        result.identity.instance_uids
    )
    by_uid = {header.SOPInstanceUID: header for header in map(pydicom.dcmread, series.iterdir())}
    for header in context.headers:
        file = by_uid[header.SOPInstanceUID]
        del file.PixelData
        assert file == header
        assert header.file_meta.TransferSyntaxUID == file.file_meta.TransferSyntaxUID


def test_a_series_is_known_by_number_and_description(series, tmp_path):
    for file in sorted(series.iterdir())[:7]:
        dataset = pydicom.dcmread(file)
        dataset.SeriesNumber, dataset.SeriesDescription = 31, "t1 mprage, Doe"
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["31"])
        dataset.save_as(tmp_path / file.name)
    (result,) = score_path(load_detector(), tmp_path)
    assert (result.identity.series_number, result.identity.description) == (31, "t1 mprage, Doe")
    assert len(result.identity.instance_uids) == 7
    assert "Doe" not in repr(result.identity)
    assert "Doe" not in str(result.findings.as_json())


def test_refused_series_have_their_headers_too(series, tmp_path):
    for file in sorted(series.iterdir())[:5]:
        dataset = pydicom.dcmread(file)
        dataset.ImageType = ["DERIVED", "SECONDARY", "MIP"]
        dataset.save_as(tmp_path / file.name)
    (result,) = score_path(load_detector(), tmp_path)
    assert result.findings.status == "refused"
    assert len(context_of(result).headers) == 5
