"""One answer a study, on the command line."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from typer.testing import CliRunner

from meninx._cli import app
from meninx._detect.calibration import Calibration, StudyCalibrator
from meninx._detect.calibrator import Calibrator
from meninx._detect.loading import load_detector, shipped_detector
from meninx._learn.file.export import recalibrate
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import IncompleteNote
from meninx._scan.nifti import write_nifti
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import write_dicom

RUN = CliRunner()
KEYS = [
    "study",
    "series",
    "weights",
    "status",
    "reason",
    "message",
    "decision",
    "probability",
    "borders",
    "prevalence",
    "p_values",
    "coverage",
    "reference",
    "warnings",
    "incomplete",
    "model",
]
STUDY = StudyCalibrator(
    {"T1": 0.2, "T1c": 0.3, "T2": 0.2, "FLAIR": 0.3, "unknown": 0.2},
    Calibrator(
        tumor_logits=tuple(np.linspace(-1.0, 6.0, 99)),
        tumor_free_logits=tuple(np.linspace(-6.0, 1.0, 99)),
    ),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The shipped detector, with a scale of studies."""
    path = tmp_path_factory.mktemp("model") / "studies.onnx"
    shutil.copy(shipped_detector("fp32"), path)
    known = load_detector().card.calibration
    recalibrate(path, Calibration(known.picture, known.volume, known.by_sequence, STUDY))
    return path


@pytest.fixture(scope="module")
def plain_model(tmp_path_factory):
    """The shipped detector, without a scale of studies."""
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    shutil.copy(shipped_detector("fp32"), path)
    recalibrate(path, replace(load_detector().card.calibration, study=None))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory, head_grid):
    """Two patients as DICOM, their series mixed; a third as NIfTI, a picture, a single series."""
    folder = tmp_path_factory.mktemp("patients")
    for seed, lesion, sequences in ((7, "glioma", ("T1", "T1c", "FLAIR")), (8, None, ("T2", "T1"))):
        for sequence in sequences:
            scan = make_study("", seed, lesion, sequence, "axial", head_grid).scan
            write_dicom(scan, folder / f"{sequence} of {seed}", seed)
    for name, sequence in (("sub-1_T2w", "T2"), ("sub-1_FLAIR", "FLAIR"), ("sub-2_T1w", "T1")):
        scan = make_study("", 9, None, sequence, "axial", head_grid).scan
        write_nifti(scan.voxels.astype(np.int16), scan, folder / f"{name}.nii.gz")
    return folder


def lines_of(*arguments, status=0):
    result = RUN.invoke(app, ["predict", *map(str, arguments)])
    assert status in (result.exit_code, None), result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def names(study):
    return {name.rsplit("/", 1)[-1] for name in study["series"]}


def test_each_study_has_a_line_after_all_scans(folder, model):
    plain = lines_of(folder, "--json", "--model", model)
    found = lines_of(folder, "--json", "--studies", "--model", model)
    assert len(plain) == 8
    assert [line["scan"] for line in found[:8]] == [line["scan"] for line in plain]
    studies = found[8:]
    assert all(list(study) == KEYS for study in studies)
    assert [names(study) for study in studies] == [
        {"sub-1_T2w.nii.gz", "sub-1_FLAIR.nii.gz"},
        {"sub-2_T1w.nii.gz"},
        {"T1 of 7", "T1c of 7", "FLAIR of 7"},
        {"T1 of 8", "T2 of 8"},
    ]
    assert studies[0]["study"] == str(folder / "sub-1_*")
    uids = {line["scan"]: line["identity"].get("study_instance_uid") for line in plain}
    for study in studies[2:]:
        assert {uids[name] for name in study["series"]} == {study["study"]}
    assert studies[2]["decision"] == "tumor"
    for study in studies:
        assert (study["status"], study["coverage"]) == ("scored", 0.95)
        assert study["model"] == plain[0]["model"]


def test_a_study_of_a_single_series_has_its_answer(folder, model):
    series, study = lines_of(folder / "sub-2_T1w.nii.gz", "--json", "--studies", "--model", model)
    for key in ("decision", "probability", "borders", "p_values", "coverage", "reference"):
        assert study[key] == series[key]
    assert [weight["share"] for weight in study["weights"]] == [1.0]
    table = RUN.invoke(app, ["predict", str(folder / "sub-2_T1w.nii.gz")]).stdout
    assert "study" not in table.lower()


@pytest.mark.parametrize("columns", ["80", "160"])
def test_the_table_has_a_line_below_the_series_of_a_study(folder, model, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.chdir(folder)
    table = RUN.invoke(app, ["predict", ".", "--model", str(model)]).stdout.splitlines()
    rows = [line.split("  ")[0].rsplit("/", 1)[-1] for line in table[1:]]
    below = [rows[index - 1] for index, row in enumerate(rows) if row.startswith("= study of")]
    assert [row for row in rows if row.startswith("=")] == [
        "= study of 2 series",
        "= study of 3 series",
        "= study of 2 series",
    ]
    assert " ".join(table).count("A study's answer is the mean") == 1
    assert sum(line.startswith("weighs in the study of") for line in table) == 3
    if columns == "160":  # names are folded where they must be
        assert below[0].startswith("sub-1_")
        assert "7" in below[1]
        assert "8" in below[2]
        assert "answered from FLAIR, T1c, T1" in "\n".join(table)


def test_a_refused_series_does_not_count_and_hides_nothing(folder, model, tmp_path):
    shutil.copytree(folder / "T1 of 7", tmp_path / "T1")
    shutil.copytree(folder / "FLAIR of 7", tmp_path / "FLAIR")
    for path in (tmp_path / "T1").iterdir():
        dataset = dcmread(path)
        dataset.SeriesDescription = "localizer"
        dataset.save_as(path)
    found = lines_of(tmp_path, "--json", "--studies", "--model", model, status=1)
    assert sorted(line["status"] for line in found[:2]) == ["refused", "scored"]
    (study,) = found[2:]
    assert study["status"] == "scored"
    assert names(study) == {"FLAIR"}
    shutil.rmtree(tmp_path / "FLAIR")
    refused, study = lines_of(tmp_path, "--json", "--studies", "--model", model, status=1)
    assert (refused["reason"], study["status"], study["series"]) == ("localizer", "refused", [])
    assert (study["probability"], study["borders"], study["p_values"]) == (None, None, {})


def test_without_a_coverage_nothing_is_referred(folder, model):
    found = lines_of(folder, "--json", "--studies", "--model", model, "--coverage", 0)
    for study in found[8:]:
        assert study["coverage"] is None
        assert study["decision"] in ("tumor", "no_tumor")
    wide = lines_of(folder, "--json", "--studies", "--model", model, "--coverage", 0.999)
    assert {study["decision"] for study in wide[8:]} == {"refer"}


def test_findings_jsonl_has_the_studies_if_asked_for(folder, model, tmp_path):
    series = [folder / "T1 of 8", folder / "T2 of 8"]
    arguments = ["predict", *map(str, series), "--output", str(tmp_path), "--model", str(model)]
    written = tmp_path / "findings.jsonl"
    assert RUN.invoke(app, arguments).exit_code == 0
    assert len(written.read_text().splitlines()) == 2
    assert RUN.invoke(app, [*arguments, "--studies"]).exit_code == 0
    *_, study = map(json.loads, written.read_text().splitlines())
    assert names(study) == {"T1 of 8", "T2 of 8"}  # from two paths


def test_pictures_are_no_study(tmp_path, sick):
    image = sick.scan.slice(4).image
    gray = np.clip(image / image.max() * 255, 0, 255).astype(np.uint8)
    for name in ("t1.png", "flair.png"):
        Image.fromarray(gray).save(tmp_path / name)
    found = lines_of(tmp_path, "--json", "--studies", status=None)
    assert [line["scan"].rsplit("/", 1)[-1] for line in found] == ["flair.png", "t1.png"]


def test_phantoms_of_the_command_are_one_study_each(tmp_path):
    made = RUN.invoke(app, ["phantom", str(tmp_path), "--count", "2"])
    assert made.exit_code == 0
    found = lines_of(tmp_path / "studies", "--json", "--studies")
    assert [len(line["series"]) for line in found[2:]] == [1, 1]
    assert len({line["study"] for line in found[2:]}) == 2


def test_without_a_scale_of_studies_the_most_telling_series_answers(folder, plain_model):
    found = lines_of(folder, "--json", "--studies", "--model", plain_model)
    assert [names(study) for study in found[8:]] == [
        {"sub-1_FLAIR.nii.gz"},
        {"sub-2_T1w.nii.gz"},
        {"FLAIR of 7"},
        {"T2 of 8"},
    ]
    answers = {line["scan"]: line for line in found[:8]}
    for study in found[8:]:
        assert study["probability"] == answers[study["series"][0]]["probability"]
        assert study["decision"] == answers[study["series"][0]]["decision"]


def test_table_and_explain_say_what_came_incomplete(folder, model, tmp_path):
    shutil.copytree(folder / "T1 of 8", tmp_path / "in" / "T1")
    shutil.copytree(folder / "T2 of 8", tmp_path / "in" / "T2")
    missing = (Incomplete("instances of the study", 77, 20),)
    IncompleteNote("1.2.3", missing).write(tmp_path / "in" / "T1")
    done = RUN.invoke(
        app, ["predict", str(tmp_path / "in"), "--model", str(model)], env={"COLUMNS": "300"}
    )
    assert done.exit_code == 1
    rows = [line for line in done.stdout.splitlines() if "incomplete" in line]
    # The series that has the note, and the study; the other series has an answer of its own.
    assert len(rows) == 2
    assert all("20 of 77 instances of the study came" in row for row in rows)
    assert rows[1].startswith("study of 2 series, from ")
    assert done.stdout.count(" refer  ") == 2
    arguments = ["explain", str(tmp_path / "in" / "T1"), "--output", str(tmp_path / "out")]
    shown = RUN.invoke(app, [*arguments, "--model", str(model)])
    assert shown.exit_code == 1
    assert "20 of 77 instances of the study came" in shown.stdout


def test_a_series_of_another_contrast_that_can_t_be_read_is_said_and_refers_nothing(
    folder, model, tmp_path
):
    shutil.copytree(folder / "FLAIR of 7", tmp_path / "FLAIR")
    shutil.copytree(folder / "T1 of 7", tmp_path / "DWI")
    for number, path in enumerate(sorted((tmp_path / "DWI").iterdir())):
        dataset = dcmread(path)
        dataset.SeriesDescription, dataset.ScanningSequence = "ep2d_diff b1000", "EP"
        dataset.DiffusionBValue = 1000.0
        dataset.save_as(path)
        if number % 3 == 2:
            path.unlink()
    alone = lines_of(tmp_path / "FLAIR", "--json", "--studies", "--model", model)[-1]
    *series, study = lines_of(tmp_path, "--json", "--studies", "--model", model, status=1)
    (failed,) = (line for line in series if line["status"] == "failed")
    assert failed["reason"] == "geometry"
    assert [warning["code"] for warning in failed["warnings"]] == ["other_contrast"]
    assert (study["decision"], study["incomplete"]) == (alone["decision"], [])
    assert [warning["code"] for warning in study["warnings"]] == ["not_counted"]
    table = RUN.invoke(app, ["predict", str(tmp_path), "--model", str(model)]).stdout
    said = "not counted in this study: 1 series of another contrast that could not be read"
    assert said in " ".join(table.split())
    # Without the description it may have been one of those that count.
    for path in (tmp_path / "DWI").iterdir():
        dataset = dcmread(path)
        dataset.SeriesDescription, dataset.ScanningSequence = "T1", "SE"
        del dataset.DiffusionBValue
        dataset.save_as(path)
    *_, study = lines_of(tmp_path, "--json", "--studies", "--model", model, status=1)
    assert (study["reason"], study["warnings"]) == ("incomplete", [])
