import base64
import dataclasses
import io
from itertools import chain

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from meninx._cli import app
from meninx._errors import DataError
from meninx._learn.input.augmentation.compose import RECIPE_KEYS, transforms_of
from meninx._learn.input.dataset import MASKED, TUMOR_FREE, UNMASKED, Example, Facts
from meninx._learn.input.preview import (
    pictures_to_preview,
    preview_rows,
    recipe_meanings,
    slices_to_preview,
    synthetic_examples,
)
from meninx._learn.recipe import AugmentationRecipe, Recipe, TrainingRecipe
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.conftest import coarse_grid

SMALL = Recipe(
    training=TrainingRecipe(size=64), augmentation=AugmentationRecipe(invert=0.0, jpeg=0.0)
)


def pixels(address):
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def batch():
    return slices_to_preview(list(synthetic_examples()), SMALL.training_canvas)


def test_every_key_of_the_recipe_sets_one_transform_and_has_a_meaning():
    keys = {field.name for field in dataclasses.fields(AugmentationRecipe)}
    assert sorted(chain.from_iterable(RECIPE_KEYS.values())) == sorted(keys)
    assert [type(transform) for transform in transforms_of(AugmentationRecipe(), 64)] == list(
        RECIPE_KEYS
    )
    meanings = recipe_meanings()
    assert set(meanings) == keys
    assert meanings["rotation"] == "Largest rotation either way, degrees."


def test_the_slice_before_is_tumor_free_and_a_tumor_is_at_hand(batch):
    assert batch.count == 2
    assert batch.tumor_free.tolist() == [True, False]
    assert batch.mask[0].max() == 0
    assert batch.mask[1].max() > 0.5


def test_each_transform_shows_the_slice_and_three_draws_that_differ(batch):
    rows = {row.name: row for row in preview_rows(SMALL, batch)}
    assert len(rows) == len(RECIPE_KEYS) + 2  # copy-paste has two rows, and all together one
    before = (batch.image[0, 1] * 255).round().numpy()
    for name, row in rows.items():
        if name in ("RandomInversion", "RandomJPEG"):
            assert "probability is 0" in row.note
            assert len(row.pictures) == 1
            continue
        first, *draws = map(pixels, row.pictures)
        width = before.shape[1]
        own = first[:, width : 2 * width] if row.is_wide else first
        assert np.array_equal(own, before)
        assert len(draws) == 3
        if name == "RandomNeighborDropout":
            # The slice stands in for both of its neighbors.
            assert all(np.array_equal(draw, np.tile(before, 3)) for draw in draws)
        elif name != "RandomStackFlip":
            assert not any(np.array_equal(first, draw) for draw in draws), name
            assert len({draw.tobytes() for draw in draws}) == 3, name
    assert rows["RandomGamma"].settings[0][:2] == ("gamma", 0.6)
    assert "0.005..0.045" in rows["RandomRicianNoise"].text
    assert "Args:" not in rows["RandomAffineWarp"].text


def test_without_a_tumor_to_copy_the_page_says_so():
    image = np.pad(np.full((40, 40), 200, np.float32), 12)
    alone = slices_to_preview([Example(image, None, Facts(TUMOR_FREE))], SMALL.training_canvas)
    rows = {row.name: row for row in preview_rows(SMALL, alone)}
    assert "needs a tumor-free slice" in rows["LesionCopyPaste"].note
    assert len(rows["LesionCopyPaste"].pictures) == 1
    with pytest.raises(DataError, match="no slice to show"):
        slices_to_preview([], SMALL.training_canvas)


def test_a_tumor_without_a_mask_is_shown_only_where_there_is_nothing_else():
    dim = np.pad(np.full((40, 40), 20, np.float32), 12)
    dim[13:20, 13:20] = 200
    bright = np.pad(np.full((40, 40), 200, np.float32), 12)
    mask = np.zeros_like(bright)
    mask[20:30, 20:30] = 1
    examples = [
        Example(bright, None, Facts(UNMASKED)),
        Example(dim, None, Facts(TUMOR_FREE)),
        Example(bright, mask, Facts(MASKED)),
    ]
    chosen = slices_to_preview(examples, SMALL.training_canvas)
    assert chosen.tumor_free.tolist() == [True, False]
    assert slices_to_preview(examples[:1], SMALL.training_canvas).unmasked.all()


def test_the_command_writes_a_page_and_no_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    list(write_studies(make_studies(2, 0, coarse_grid), tmp_path / "data", "png"))
    assert [row.tumor for row in pictures_to_preview(tmp_path / "data", {})] == [True, False]
    arguments = ["train", "data", "--recipe", "smoke", "--preview", "out/page.html"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out/page.html").read_text(encoding="utf-8")
    for name in (transform.__name__ for transform in RECIPE_KEYS):
        assert f"<h2>{name}</h2>" in page
    assert "augmentation.rotation" in page
    assert 'src="http' not in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


def test_class_folders_give_a_tumor_free_picture(tmp_path):
    for name in ("no", "yes"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 9), 100).save(tmp_path / name / "1.png")
    (row,) = pictures_to_preview(tmp_path, {})
    assert (row.tumor, row.mask) == (False, None)


def test_training_without_data_is_wrong_usage(tmp_path):
    for arguments, message in (
        (["train"], "DATA is missing"),
        (["train", "--preview", str(tmp_path)], "expected an HTML file"),
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code != 0
        assert message in str(result.exception)
