"""Write a page that shows each transform of a recipe's augmentation on one slice."""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from meninx._assess.offline_page import embedded_image, render_page
from meninx._data.folders import find_items
from meninx._data.items import Item
from meninx._data.manifest import MANIFEST_NAME, Picture, read_manifest
from meninx._data.table_items import picture_of, read_rows_of_table
from meninx._detect.preprocessing import Preprocessing
from meninx._errors import DataError
from meninx._learn.input.augmentation.batch import SliceBatch, own
from meninx._learn.input.augmentation.compose import RECIPE_KEYS, Transform, augment, transforms_of
from meninx._learn.input.augmentation.lesions import LesionCopyPaste
from meninx._learn.input.augmentation.spatial import RandomNeighborDropout, RandomStackFlip
from meninx._learn.input.dataset import UNMASKED, Example, SliceDataset
from meninx._learn.input.simulation import examples_of_scan
from meninx._learn.recipe import AugmentationRecipe, Recipe
from meninx._synthesis.lesion import LesionKind
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study

DRAWS = 3
# A parameter of a docstring, or several, with their text.
_PARAMETER = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", re.MULTILINE)
# The synthetic person that is shown without data, and slices through the middle of the head.
_SYNTHETIC_SEED = 11
_SYNTHETIC_GRID = grid_of("axial", (160, 192, 10), (1.3, 1.25, 6.0))
# Transforms that change the neighbors: all three channels are shown side by side.
_OF_NEIGHBORS = (RandomStackFlip, RandomNeighborDropout)


@dataclass(frozen=True)
class PreviewRow:
    """One transform on the page.

    Args:
        name: Class of the transform.
        text: Effect of the transform with its fixed ranges, from the class's docstring.
        settings: Keys of the recipe's `[augmentation]`, each with its value and meaning.
        note: Reason why there are no draws, or what a picture shows; may be empty.
        pictures: The slice before, then each draw, as `data:` addresses.
        is_wide: Whether each picture shows the slice between its neighbors.
    """

    name: str
    text: str
    settings: Sequence[tuple[str, float, str]]
    note: str
    pictures: tuple[str, ...]
    is_wide: bool = False


def pictures_to_preview(data: Path, labels: Mapping[str, str]) -> list[Picture]:
    """Return a tumor-free picture and one with a mask, where the data have them.

    Fast on large data: neither are duplicates searched nor folds made.

    Args:
        data: Class folders, volumes beside their masks, a table or a manifest.
        labels: Meaning of further folder names.

    Returns:
        Rows of one or two pictures or volumes; of a stack, the rows of all its pictures.

    Raises:
        DataError: If there are no pictures, or a folder's name gives no label.
    """
    rows = _rows_of(data, labels)
    chosen = _rows_to_preview(rows)
    stacks = {row.stack for row in chosen if row.stack}
    return [row for row in rows if row.stack in stacks or row in chosen]


def _rows_to_preview(rows: Sequence[Picture]) -> Sequence[Picture]:
    """Return the first tumor-free row and the first with a mask; the first without either."""
    masked = next((row for row in rows if row.mask is not None), None)
    tumor_free = next((row for row in rows if not row.tumor), None)
    return [row for row in (tumor_free, masked) if row is not None] or rows[:1]


def _rows_of(data: Path, labels: Mapping[str, str]) -> list[Picture]:
    """Return the rows of a table, or of the items of a folder."""
    table = data / MANIFEST_NAME if data.is_dir() else data
    if table.is_file():
        return _rows_of_table(table)
    return [_row_of(item) for item in find_items(data, labels)]


def _rows_of_table(table: Path) -> list[Picture]:
    """Return the rows of a manifest, or of a table that lacks groups or folds."""
    try:
        return list(read_manifest(table, allow_leaks=True).pictures)
    except DataError:
        return read_rows_of_table(table)


def _row_of(item: Item) -> Picture:
    """Return an item as a row; a volume with a mask counts as a tumor."""
    return dataclasses.replace(picture_of(item, item.path.name, ""), tumor=item.tumor is not False)


def synthetic_examples() -> Iterator[Example]:
    """Yield slices of a synthetic tumor-free head, and of the same head with a glioma, in FLAIR."""
    lesions: tuple[LesionKind | None, ...] = (None, "glioma")
    for lesion in lesions:
        study = make_study("synthetic", _SYNTHETIC_SEED, lesion, "FLAIR", "axial", _SYNTHETIC_GRID)
        yield from examples_of_scan(study.scan, study.mask)


def slices_to_preview(examples: Sequence[Example], canvas: Preprocessing) -> SliceBatch:
    """Return the slice to show, and the slice whose tumor is copied.

    Args:
        examples: Training slices, at least one.
        canvas: Preprocessing of training slices.

    Returns:
        Two slices: the brightest one, if possible without a tumor in it and its neighbors; then the
        one with the largest tumor in its mask, or else the first again.

    Raises:
        DataError: If there is no slice.
    """
    if not examples:
        raise DataError("no slice to show; name data with a readable picture or volume")
    dataset = SliceDataset(examples, canvas)
    tumor = (dataset.mask > 127).flatten(1).sum(1)
    # Not the largest head by its depth: over noise, that of a dim slice may cover the whole canvas.
    brightness = dataset.image.flatten(1).sum(1)
    near_tumor = (tumor[dataset.slices] > 0).any(1) | (dataset.kind == UNMASKED)
    shown = int((brightness - (brightness.max() + 1) * near_tumor).argmax())
    donor = int(tumor.argmax()) if tumor.any() else shown
    return dataset.batch(torch.tensor([shown, donor]))


def preview_rows(recipe: Recipe, batch: SliceBatch) -> list[PreviewRow]:
    """Return each transform of a recipe with three draws, each on the unchanged slice.

    Args:
        recipe: The recipe.
        batch: The slice to show and the slice whose tumor is copied, see `slices_to_preview`.

    Returns:
        One row per transform, in the order of training, and one of all of them together.
    """
    options, size = recipe.augmentation, recipe.training_size
    rows = [
        _row(transform, keys, options, batch)
        for whole in transforms_of(options, size)
        for transform, keys in _parts(whole)
    ]
    together = [augment(batch, options, size) for _ in _seeds()]
    text = "All transforms in this order, each with its own probability, as in training."
    rows.append(
        PreviewRow("all together", text, (), "", _pictures([batch, *together], across=False))
    )
    return rows


def _parts(transform: Transform) -> list[tuple[Transform, tuple[str, ...]]]:
    """Return a transform with its keys; copy-paste as its two halves, lesion and patch."""
    keys = RECIPE_KEYS[type(transform)]
    if not isinstance(transform, LesionCopyPaste):
        return [(transform, keys)]
    return [
        (dataclasses.replace(transform, negative=0.0), keys[:1]),
        (LesionCopyPaste(0.0, transform.negative), keys[1:]),
    ]


def _row(
    transform: Transform, keys: Sequence[str], options: AugmentationRecipe, batch: SliceBatch
) -> PreviewRow:
    meanings = recipe_meanings()
    settings = [(key, float(getattr(options, key)), meanings[key]) for key in keys]
    name, across = type(transform).__name__, isinstance(transform, _OF_NEIGHBORS)
    if isinstance(transform, LesionCopyPaste) and transform.negative:
        name += ", negative patch"
    draws: list[SliceBatch] = []
    if _is_off(transform):
        note = "off: this recipe's probability is 0"
    elif _lacks_slices(transform, batch):
        note = "no draws: needs a tumor-free slice, and another one with a tumor in its mask"
    else:
        note = "left, the slice below; middle, the slice; right, the slice above" if across else ""
        draws = [_always(transform)(batch) for _ in _seeds()]
    return PreviewRow(
        name,
        _effect_of(transform),
        settings,
        note,
        _pictures([batch, *draws], across=across),
        across,
    )


def recipe_meanings() -> dict[str, str]:
    """Return the meaning of each key of `[augmentation]`, from the recipe's docstring."""
    text = inspect.getdoc(AugmentationRecipe) or ""
    found = _PARAMETER.findall(text.partition("Args:")[2])
    return {
        name: " ".join(meaning.split()) for names, meaning in found for name in names.split(", ")
    }


def _is_off(transform: Transform) -> bool:
    probabilities = [getattr(transform, name, None) for name in ("probability", "negative")]
    known = [value for value in probabilities if value is not None]
    return bool(known) and not any(known)


def _lacks_slices(transform: Transform, batch: SliceBatch) -> bool:
    if not isinstance(transform, LesionCopyPaste):
        return False
    return not bool(batch.tumor_free[0]) or not bool(batch.mask[1].max() > 0.5)


def _always(transform: Transform) -> Transform:
    """Return a transform that changes every slice, so that each draw shows it."""
    changes = {
        name: 1.0 for name in ("probability", "negative") if getattr(transform, name, 0.0) > 0
    }
    return dataclasses.replace(transform, **changes) if changes else transform  # type: ignore[type-var]


def _effect_of(transform: Transform) -> str:
    """Return the description of a transform's class, without its parameters."""
    text = inspect.getdoc(type(transform)) or ""
    for heading in ("Args:", "References:"):
        text = text.partition(f"\n\n{heading}")[0]
    return text.replace("\n", " ")


def _seeds() -> Iterator[int]:
    """Yield the number of each draw, with the random generator seeded by it."""
    for number in range(1, DRAWS + 1):
        torch.manual_seed(number)
        yield number


def _pictures(batches: Sequence[SliceBatch], *, across: bool) -> tuple[str, ...]:
    """Return the first slice of each batch; with `across`, beside its neighbors."""
    images = [batch.image[:1] if across else own(batch.image[:1]) for batch in batches]
    return tuple(embedded_image(_picture_of(image)) for image in images)


def _picture_of(image: Tensor) -> Image.Image:
    """Return the channels of a slice, shape (1, c, h, w), 0..1, side by side."""
    planes = (image[0].clamp(0, 1) * 255).round().to(torch.uint8)  # [c, h, w]
    return Image.fromarray(torch.cat(list(planes), dim=1).numpy())


def write_preview(recipe: Recipe, batch: SliceBatch, source: str, page: Path) -> None:
    """Write the page, with its pictures embedded.

    Args:
        recipe: The recipe.
        batch: The slice to show and the slice whose tumor is copied, see `slices_to_preview`.
        source: Name of the data, as the user knows it.
        page: HTML file to write; its folder is made if missing.
    """
    rows = preview_rows(recipe, batch)
    page.parent.mkdir(parents=True, exist_ok=True)
    html = render_page("augmentation.html", rows=rows, name=recipe.name, source=source)
    page.write_text(html, encoding="utf-8")
