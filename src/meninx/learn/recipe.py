"""Read a training recipe: every choice that makes a detector, in one TOML file."""

import copy
import dataclasses
import json
import logging
import tomllib
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from meninx.detect.preprocessing import Preprocessing
from meninx.errors import OptionError
from meninx.learn.network import CELL_STRIDE, COARSE_STRIDE

log = logging.getLogger(__name__)

Initialization = Literal["random", "meninx", "imagenet"]
INITIALIZATIONS: tuple[Initialization, ...] = get_args(Initialization)
# Of a recipe file: tables that change the recipe, one for each further training.
STAGES = "stages"
# Earlier names of keys in `[augmentation]`, understood for one more version.
EARLIER_KEYS = {
    "paste": "lesion_copy_paste", "paint": "synthetic_lesion", "decoy": "negative_patch",
}  # fmt: skip
# A typing error is a fault, and so is 3 where a word is meant.
CHECKED = ConfigDict(extra="forbid", strict=True)
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=CHECKED)
class NetworkRecipe:
    """Hold what is trained.

    Args:
        architecture: `cells`, which judges every cell of a slice and learns from masks, or
            `pooled`, a plain ResNet-18 with global average pooling, which learns from labels alone.
        dropout: Share of feature maps left out in training.
        initialization: `random`, `meninx` (the shipped detector's weights) or `imagenet`.
    """

    architecture: Literal["cells", "pooled"] = "cells"
    dropout: Share = 0.1
    initialization: Initialization = "random"


@dataclass(frozen=True, config=CHECKED)
class AugmentationRecipe:
    """Hold how far training pictures are varied. Probabilities are per picture.

    Args:
        rotation: Largest rotation either way, degrees.
        smallest_scale, largest_scale: Range of zoom.
        aspect: Largest change of the sides' ratio, as a natural logarithm, each way.
        shift: Largest shift, as a share of half the picture's side.
        flip: Probability of a left-right mirror.
        quarter_turn: Probability of a rotation by 90, 180 or 270 degrees.
        warp: Largest elastic displacement, as a share of the picture's side.
        lesion_copy_paste: Probability that a tumor-free picture receives a tumor of another one.
        synthetic_lesion: Probability that a picture receives a lesion made of noise.
        negative_patch: Probability that a picture receives a patch of healthy tissue, so that
            the seam of a pasted lesion says nothing.
        gamma: Largest exponent of brightness, as a natural logarithm, each way.
        dimmest, brightest: Range of the bright end that a picture is scaled to.
        remap: Probability of a random intensity curve that need not be monotone.
        invert: Probability of inverted tissue intensities.
        strip: Probability that an outer ring, most of the skull, is taken away.
        bias: Probability of a smooth brightness field.
        blur, noise: Probabilities of a soft picture and of Rician noise.
        resolution: Probability of coarser pixels along one or both sides.
        jpeg: Probability of JPEG compression.
        stand_in: Probability that a slice stands in for its neighbors, as a single picture does.
    """

    rotation: float = 25.0
    smallest_scale: float = 0.6
    largest_scale: float = 1.3
    aspect: Share = 0.1
    shift: Share = 0.12
    flip: Share = 0.5
    quarter_turn: Share = 0.1
    warp: Share = 0.03
    lesion_copy_paste: Share = 0.5
    synthetic_lesion: Share = 0.2
    negative_patch: Share = 0.3
    gamma: float = 0.6
    dimmest: Share = 0.55
    brightest: float = 1.1
    remap: Share = 0.3
    invert: Share = 0.15
    strip: Share = 0.4
    bias: Share = 0.5
    blur: Share = 0.3
    noise: Share = 0.4
    resolution: Share = 0.25
    jpeg: Share = 0.25
    stand_in: Share = 0.33


@dataclass(frozen=True, config=CHECKED)
class TrainingRecipe:
    """Hold how the optimizer runs.

    Args:
        epochs: Rounds of `pictures_per_epoch` pictures.
        pictures_per_epoch: Drawn anew each epoch, by `SamplingRecipe`.
        size: Side of training pictures, pixels; 0 for that of the detector's input. A network
            does better on heads a little larger than those that it learned from, which random zoom
            made smaller on average (Touvron et al. 2019, Fixing the train-test resolution
            discrepancy).
        batch_size: Pictures a step.
        learning_rate: Peak of the cosine schedule.
        warmup: Share of all steps in which the rate rises to its peak.
        weight_decay: AdamW's.
        ema_decay: Of the averaged weights that are validated and shipped; 0 turns averaging off.
        gradient_clip: Largest norm of the gradient.
        patience: Epochs without a better validation after which training stops early.
        precision: `bf16-mixed`, `16-mixed` or `32-true`; `auto` takes what the device does best.
        validation_fold: Never trained on; chooses the epoch and calibrates. 0 learns from all: the
            last epoch counts, and `meninx crossvalidate` calibrates out of fold.
        test_fold: Left out altogether, for `meninx evaluate`; 0 to leave none out.
        left_out: Further folds that are left out altogether.
        seed: Of everything random.
    """

    epochs: PositiveCount = 40
    pictures_per_epoch: PositiveCount = 3000
    size: Count = 0
    batch_size: PositiveCount = 32
    learning_rate: Positive = 1e-3
    warmup: Share = 0.1
    weight_decay: float = 0.05
    ema_decay: Share = 0.998
    gradient_clip: float = 1.0
    patience: int = 12
    precision: Literal["auto", "bf16-mixed", "16-mixed", "32-true"] = "auto"
    validation_fold: int = 5
    test_fold: int = 0
    left_out: tuple[int, ...] = ()
    seed: int = 0


@dataclass(frozen=True, config=CHECKED)
class SamplingRecipe:
    """The share of each kind of slice in an epoch, whatever the collection's own balance.

    The shares need not sum to one; a kind that is missing leaves its share to the others. Within a
    share every person weighs the same.

    Args:
        masked: Tumor slices with a mask.
        unmasked: Tumor slices without a mask, of which only the label is learned.
        tumor_free: Real slices without tumor; some receive one by
            `AugmentationRecipe.lesion_copy_paste`.
        simulated: Slices of simulated heads, every other head with a lesion.
        strata: Shares of real slices by patterns of source and sequence, such as `lgg T1` or
            `kaggle-*`; the first pattern that fits counts, and what fits none has its kind's share.
        tumor_share: Part of a stratum that shows tumors.
        phantoms: Heads made of shapes to simulate.
        augmented_heads: Heads to make from each real head that `meninx train --heads` names.
        calibration_phantoms: Whole simulated heads of other seeds that choose the operating point
            of volumes; 48 bring every sequence, plane and kind of lesion twice; 0 takes the
            pictures' own operating point for volumes too.
    """

    masked: Weight = 0.5
    unmasked: Weight = 0.0
    tumor_free: Weight = 0.5
    simulated: Weight = 0.0
    strata: dict[str, Weight] = field(default_factory=dict)
    tumor_share: Share = 0.62
    phantoms: Count = 0
    augmented_heads: Count = 0
    calibration_phantoms: Count = 48

    @property
    def real(self) -> float:
        """The share of pictures that are no simulation."""
        return self.masked + self.unmasked + self.tumor_free + sum(self.strata.values())


@dataclass(frozen=True, config=CHECKED)
class LossRecipe:
    """The weights of the loss's parts.

    Args:
        tumor_cell: Weight of a tumor cell, a tumor-free one being 1: there are far fewer.
        hard_cells: Highest tumor-free cells of each picture that count a second time.
        hard_weight: Weight of those.
        coarse_weight: Weight of the coarse cells, of 16 pixels, beside the fine ones of 8.
        picture_weight: Weight of whole pictures, tumor or not, of sources that have both.
        smallest_tumor: Share of the head below which a tumor teaches cells, but not its slice.
        type_weight: Weight of the tumor type.
        balance_types: Whether a rare type weighs as much in all as a common one.
        label_smoothing: Share of a picture's label and type that is spread over all classes.
    """

    tumor_cell: float = 8.0
    hard_cells: PositiveCount = 24
    hard_weight: float = 0.5
    coarse_weight: float = 0.4
    picture_weight: float = 0.7
    smallest_tumor: Share = 0.0
    type_weight: float = 0.3
    balance_types: bool = False
    label_smoothing: Share = 0.0


@dataclass(frozen=True, config=CHECKED)
class Recipe:
    """Hold a whole recipe.

    Args:
        name: Written into the detector file.
    """

    name: str = "unnamed"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    sampling: SamplingRecipe = field(default_factory=SamplingRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)

    @property
    def training_size(self) -> int:
        """Side of training pictures, pixels."""
        return self.training.size or self.preprocessing.size


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file; of one in stages the first.

    Args:
        path: The file. Keys that it leaves out keep their defaults.

    Returns:
        The recipe, checked.

    Raises:
        OptionError: With every unknown key, wrong type and impossible value at once.
    """
    return read_stages(path)[0]


def read_stages(path: Path) -> list[Recipe]:
    """Read the stages of a recipe, each of which goes on from the weights of the one before.

    Args:
        path: A TOML file. Each table of `[[stages]]` changes what the file says, for one more.

    Returns:
        Recipes, checked, in the order of training; one where the file has no stages.

    Raises:
        OptionError: As for `read_recipe`.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path}: not a readable TOML recipe: {error}") from error
    _rename_earlier_keys(table, path)
    changes = table.pop(STAGES, [])
    faults: list[str] = []
    recipes = [_built(table, "", faults)]
    for number, change in enumerate(changes):
        recipes.append(_built(_merged(table, change), f"{STAGES}[{number}].", faults))
    if faults:
        raise OptionError(f"{path}: {len(faults)} faults\n  " + "\n  ".join(faults))
    return recipes


def with_initialization(recipe: Recipe, name: str) -> Recipe:
    """Return a recipe that starts from other weights.

    Args:
        recipe: To change.
        name: One of `INITIALIZATIONS`.

    Returns:
        The changed recipe.

    Raises:
        OptionError: If the name is unknown.
    """
    for known in INITIALIZATIONS:
        if known == name:
            network = dataclasses.replace(recipe.network, initialization=known)
            return dataclasses.replace(recipe, network=network)
    raise OptionError(f"--init {name}: expected one of {', '.join(INITIALIZATIONS)}")


def _merged(table: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's table with the values of another table in it."""
    merged = copy.deepcopy(table)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merged[key] | value if both else value
    return merged


def _rename_earlier_keys(table: dict[str, Any], path: Path) -> None:
    """Give keys of earlier versions their present names, with a warning."""
    for part in (table, *(one for one in table.get(STAGES, []) if isinstance(one, dict))):
        options = part.get("augmentation")
        for earlier, name in EARLIER_KEYS.items():
            if isinstance(options, dict) and earlier in options:
                log.warning("%s: augmentation.%s is now called %s", path, earlier, name)
                options.setdefault(name, options.pop(earlier))


def _built(table: dict[str, Any], place: str, faults: list[str]) -> Recipe:
    """Return the recipe of a table, adding what is wrong in it to `faults`."""
    try:
        recipe = _validated(table)
    except ValidationError as error:
        sound = copy.deepcopy(table)
        for fault in error.errors():
            where = [str(part) for part in fault["loc"]]
            _remove(sound, where)
            said = fault["msg"].replace("Input should be", "expected", 1)
            if fault["type"] == "unexpected_keyword_argument":
                said = "unknown key"
            elif fault["type"] == "dataclass_type":
                said = "expected a table"
            faults.append(f"{place}{'.'.join(where)}: {said}, found {fault['input']!r}")
        # What else is impossible is told in the same go.
        recipe = _validated(sound)
    faults += [f"{place}{fault}" for fault in _impossible(recipe)]
    return recipe


def _validated(table: dict[str, Any]) -> Recipe:
    # As JSON: there a table is a recipe and a list a tuple, and all else is as strict as it should.
    return TypeAdapter(Recipe).validate_json(json.dumps(table, default=str))


def _remove(table: Any, where: list[str]) -> None:
    """Remove a key from nested tables."""
    for key in where[:-1]:
        table = table.get(key, {})
    if isinstance(table, dict):
        table.pop(where[-1], None)


def _impossible(recipe: Recipe) -> list[str]:
    """Return what a well-typed recipe asks for that can't be."""
    training, sampling = recipe.training, recipe.sampling
    faults = []
    sizes = {"preprocessing.size": recipe.preprocessing.size, "training.size": training.size}
    faults += [f"{key}: {size} is no multiple of {COARSE_STRIDE}"
               for key, size in sizes.items() if size % COARSE_STRIDE]  # fmt: skip
    cells = (recipe.training_size // CELL_STRIDE) ** 2
    if recipe.loss.hard_cells > cells:
        faults.append(
            f"loss.hard_cells: {recipe.loss.hard_cells} is not between 1 and {cells}, the cells of "
            "a picture; to do without, set loss.hard_weight to 0"
        )
    if sampling.simulated > 0 and sampling.phantoms + sampling.augmented_heads < 1:
        faults.append("sampling.phantoms: a share is simulated, but there are no heads for it")
    if sampling.calibration_phantoms == 1:
        faults.append("sampling.calibration_phantoms: expected 0, or 2 and more to have both kinds")
    if training.validation_fold and training.validation_fold in (
        training.test_fold, *training.left_out
    ):  # fmt: skip
        faults.append(
            f"training.test_fold: {training.validation_fold} is the validation fold, which chooses "
            "the epoch: a test on it would flatter"
        )
    if sampling.real + sampling.simulated <= 0:
        faults.append("sampling: all shares are 0")
    return faults
