"""Commands that are stopped, and folders that hold the work of another call."""

import csv
from pathlib import Path

import pytest
import typer

from meninx._assess.evaluation_report import check_no_report
from meninx._cli import phantom as phantoms
from meninx._cli.train import _said_if_stopped, _use_of_folds
from meninx._data.manifest import Manifest, Picture
from meninx._errors import DataError, OptionError
from meninx._learn.fit.training import read_examples
from meninx._learn.recipe import changed_recipe, read_recipe
from meninx._learn.recipe_files import find_recipe
from meninx._learn.run_folder import RUN_NAME, check_no_run
from meninx._synthesis import phantom_studies
from tests.commands import meninx
from tests.conftest import coarse_grid


def test_a_finished_or_begun_run_is_not_overwritten(tmp_path):
    check_no_run(tmp_path / "new")
    (tmp_path / RUN_NAME).touch()
    with pytest.raises(OptionError, match="add --resume to go on"):
        check_no_run(tmp_path)
    done = meninx("train", tmp_path, "--output", tmp_path)
    assert (done.returncode, "holds a run already" in done.stderr) == (2, True)
    assert not (tmp_path / "training.log").exists()


def test_an_evaluation_is_not_overwritten(tmp_path):
    check_no_report(tmp_path / "new")
    (tmp_path / "metrics.json").touch()
    with pytest.raises(OptionError, match="name another --output"):
        check_no_report(tmp_path)
    done = meninx("evaluate", "meninx", tmp_path, "--output", tmp_path)
    assert (done.returncode, "holds an evaluation already" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("begun", "said"), [(True, "--resume --output"), (False, "run the same command again")]
)
def test_a_stopped_training_says_how_to_go_on(begun, said, tmp_path, capsys):
    if begun:
        (tmp_path / RUN_NAME).touch()
    with pytest.raises(typer.Exit) as ended, _said_if_stopped(tmp_path):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert said in capsys.readouterr().err


def test_phantoms_are_not_mixed_with_what_is_there(tmp_path):
    (tmp_path / "mine.txt").touch()
    done = meninx("phantom", tmp_path, "--count", 1)
    assert (done.returncode, "expected an empty folder" in done.stderr) == (2, True)
    assert len(list(tmp_path.iterdir())) == 1


def test_stopped_phantoms_have_a_manifest_of_what_was_written(tmp_path, monkeypatch):
    def stopped(count, seed):
        yield from made(1, seed, coarse_grid)
        raise KeyboardInterrupt

    made = phantom_studies.make_studies
    monkeypatch.setattr(phantom_studies, "make_studies", stopped)
    done = meninx("phantom", tmp_path / "out", "--count", 3, "--format", "png")
    assert done.returncode == phantoms.INTERRUPTED == 130
    assert "holds 1 of 3 studies" in done.stderr
    with (tmp_path / "out/manifest.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (tmp_path / "out" / row["picture"]).is_file()


@pytest.mark.parametrize(
    "options", [{"epochs": 2}, {"further_epochs": 1}, {"precision": "bf16-mixed"}]
)
def test_a_probe_takes_no_option_of_epochs(options):
    probe = read_recipe(find_recipe("probe"))
    with pytest.raises(OptionError, match="a linear probe has no epochs"):
        changed_recipe(probe, **options)
    changed_recipe(probe, frozen="backbone", **options)


def manifest_of(mask=None):
    """Return ten rows of files that are not there, in five folds."""
    rows = [
        Picture(f"p{n}", Path(f"p{n}.png"), mask, n % 2 == 0, None, f"g{n}", n % 5 + 1, "s")
        for n in range(10)
    ]
    return Manifest(tuple(rows), "")


@pytest.mark.parametrize(("name", "says"), [("probe", False), ("finetune", True)])
def test_only_what_has_epochs_chooses_one(name, says):
    recipe = read_recipe(find_recipe(name))
    assert ("the epoch" in _use_of_folds(manifest_of(), recipe)) == says


def test_without_masks_a_recipe_that_needs_them_ends_before_it_reads():
    recipe = read_recipe(find_recipe("smoke"))
    with pytest.raises(DataError, match="the recipe smoke learns from masks; no tumor here"):
        read_examples(manifest_of(), recipe)
    with pytest.raises(FileNotFoundError):
        read_examples(manifest_of(Path("mask.png")), recipe)
