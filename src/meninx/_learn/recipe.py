"""Read a training recipe: all settings of a training, in one TOML file."""

import copy
import dataclasses
import json
import tomllib
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from meninx._detect.preprocessing import Preprocessing
from meninx._errors import OptionError
from meninx._learn.model.network import CELL_STRIDE, CELLS, COARSE_STRIDE

Initialization = Literal["random", "meninx", "imagenet"]
_INITIALIZATIONS: tuple[Initialization, ...] = get_args(Initialization)
Frozen = Literal["nothing", "backbone", "features"]
FROZEN: tuple[Frozen, ...] = get_args(Frozen)
Precision = Literal["auto", "bf16-mixed", "16-mixed", "32-true"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# Key of a recipe file: an array of tables, each with the changes of a further training.
STAGES = "stages"
# Training canvases are a little finer than the network's input, so that zooming in shows detail.
_CANVAS_ZOOM = 13 / 12
# Strict: an unknown key is a fault, and so is a number where a text is expected.
_CHECKED = ConfigDict(extra="forbid", strict=True)
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=_CHECKED)
class NetworkRecipe:
    """The network and its first weights.

    Args:
        architecture: `cells`, which scores every cell of a slice and learns from masks, or
            `pooled`, a plain ResNet with global average pooling, which learns from labels only.
        backbone: The ResNet: `resnet18`, `resnet34` or `resnet50`. Only `resnet18` has shipped
            weights.
        dropout: Share of feature maps left out in training, 0..1.
        initialization: First weights: `random`, `meninx` (the shipped detector's weights) or
            `imagenet`.
        frozen: What keeps its first weights: `nothing`, `backbone` (stem and four stages), or
            `features`, all but the last layer of fine cells, which is then fitted at once, by
            logistic regression: a linear probe.
    """

    architecture: Literal["cells", "pooled"] = "cells"
    backbone: Literal["resnet18", "resnet34", "resnet50"] = "resnet18"
    dropout: Share = 0.1
    initialization: Initialization = "random"
    frozen: Frozen = "nothing"


@dataclass(frozen=True, config=_CHECKED)
class AugmentationRecipe:
    """Ranges and probabilities of augmentation; each probability is per picture, 0..1.

    `meninx train --preview PAGE` shows each transform with these values on a slice.

    Args:
        rotation: Largest rotation either way, degrees.
        smallest_scale: Smallest zoom, above 0.
        largest_scale: Largest zoom, `smallest_scale` and more.
        aspect: Largest change of the sides' ratio either way, natural logarithm, 0..1.
        shift: Largest shift either way, share of half the picture's side, 0..1.
        flip: Probability of a left-right mirror.
        quarter_turn: Probability of a rotation by 90, 180 or 270 degrees.
        warp: Largest standard deviation of the elastic displacement, share of half the picture's
            side, 0..1.
        lesion_copy_paste: Probability that a tumor-free picture receives a tumor of another one.
        synthetic_lesion: Probability that a picture receives a synthetic lesion.
        negative_patch: Probability that a picture receives a patch of tumor-free tissue, so that
            the seam of a pasted lesion is no sign of a tumor.
        gamma: Largest exponent of intensity either way, natural logarithm, 0 and more.
        dimmest: Smallest intensity to which a picture's bright end is scaled, 0..1.
        brightest: Largest intensity to which it is scaled, `dimmest` and more; above 1 the
            brightest pixels are clipped.
        remap: Probability of a random intensity curve, which need not be monotone.
        invert: Probability of inverted tissue intensities.
        strip: Probability that an outer ring, with most of the skull, is removed.
        bias: Probability of a bias field.
        blur: Probability of blur.
        noise: Probability of Rician noise.
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


@dataclass(frozen=True, config=_CHECKED)
class TrainingRecipe:
    """Optimizer, schedule and folds of a training.

    Args:
        epochs: Number of epochs, each of `pictures_per_epoch` pictures.
        further_epochs: Number of epochs of a resumed run after these: the learning rate begins at
            a tenth of its peak and falls to zero again.
        pictures_per_epoch: Number of pictures drawn for each epoch, by `SamplingRecipe`.
        size: Side of training pictures, pixels; 0 for that of the detector's input. Random zoom
            makes training heads smaller on average, and a network is better on slightly larger ones
            (Touvron et al. 2019, Fixing the train-test resolution discrepancy).
        smaller_sizes: Sides of training pictures, pixels, in equal parts of the epochs before those
            of `size`: small pictures are learned from faster (Tan and Le 2021, EfficientNetV2).
        batch_size: Number of pictures a step.
        learning_rate: Peak of the cosine schedule, above 0.
        warmup: Share of all steps in which the learning rate rises to its peak, 0..1.
        weight_decay: Weight decay of AdamW.
        ema_decay: Decay of the averaged weights that are validated and shipped, 0..1; 0 turns
            averaging off.
        gradient_clip: Largest norm of the gradient; 0 for no limit.
        patience: Number of epochs without a better validation after which training stops early.
        precision: Arithmetic: `bf16-mixed`, `16-mixed` or `32-true`; `auto` for the fastest of the
            device.
        validation_fold: Fold that chooses the epoch and calibrates, and is not trained on. 0 to
            learn from all: the last epoch counts, and `meninx crossvalidate` calibrates out of
            fold.
        test_fold: Fold that is left out altogether, for `meninx evaluate`; 0 for none.
        left_out: Further folds that are left out altogether.
        seed: Seed of all random draws.
    """

    epochs: PositiveCount = 40
    further_epochs: Count = 0
    pictures_per_epoch: PositiveCount = 3000
    size: Count = 0
    smaller_sizes: tuple[PositiveCount, ...] = ()
    batch_size: PositiveCount = 32
    learning_rate: Positive = 1e-3
    warmup: Share = 0.1
    weight_decay: float = 0.05
    ema_decay: Share = 0.998
    gradient_clip: float = 1.0
    patience: int = 12
    precision: Precision = "auto"
    validation_fold: int = 5
    test_fold: int = 0
    left_out: tuple[int, ...] = ()
    seed: int = 0


@dataclass(frozen=True, config=_CHECKED)
class SamplingRecipe:
    """Shares of each kind of slice in an epoch, independent of the collection's own balance.

    The shares need not sum to one; a kind that is missing leaves its share to the others. Within a
    share every person weighs the same.

    Args:
        masked: Share of tumor slices with a mask.
        unmasked: Share of tumor slices without a mask, from which only the label is learned.
        tumor_free: Share of real tumor-free slices; some receive a lesion by
            `AugmentationRecipe.lesion_copy_paste`.
        simulated: Share of slices of simulated heads, every other head with a lesion.
        strata: Shares of real slices by patterns of source and sequence, such as `lgg T1` or
            `kaggle-*`. The first pattern that fits counts; slices that fit none belong to the share
            of their kind.
        tumor_share: Share of a stratum's slices that show tumors, 0..1.
        phantoms: Number of heads made of shapes to simulate.
        augmented_heads: Number of augmented heads of each real head of `meninx train --heads`.
        treated: Share of simulated gliomas that were treated: a thin ring, or a cavity with or
            without a bright rim, some with blood on the wall.
        calibration_phantoms: Number of whole simulated heads, of other seeds, that calibrate
            volumes: 48 have every sequence, plane and kind of lesion twice. 0 calibrates volumes as
            pictures.
    """

    masked: Weight = 0.5
    unmasked: Weight = 0.0
    tumor_free: Weight = 0.5
    simulated: Weight = 0.0
    strata: dict[str, Weight] = field(default_factory=dict)
    tumor_share: Share = 0.62
    phantoms: Count = 0
    augmented_heads: Count = 0
    treated: Share = 0.0
    calibration_phantoms: Count = 48

    @property
    def real(self) -> float:
        """The share of pictures that are no simulation."""
        return self.masked + self.unmasked + self.tumor_free + sum(self.strata.values())


@dataclass(frozen=True, config=_CHECKED)
class LossRecipe:
    """Weights of the loss's parts.

    Args:
        tumor_cell: Weight of a tumor cell, a tumor-free one being 1: there are far fewer.
        hard_cells: Number of each picture's highest tumor-free cells that count a second time.
        hard_weight: Weight of these.
        coarse_weight: Weight of the coarse cells, of 16 pixels, beside the fine ones of 8.
        picture_weight: Weight of whole pictures, tumor or not, of sources that have both.
        smallest_tumor: Share of the head, 0..1, below which a tumor counts in the loss of cells
            but not in that of pictures.
        smallest_contrast: Smallest contrast against the mirrored side, in standard deviations, at
            which a mask's place counts in T1 and T1c: masks show what FLAIR shows. 0 for all.
        type_weight: Weight of the tumor type.
        balance_types: Whether all types have the same total weight, however rare they are.
        label_smoothing: Share of a picture's label and type that is spread over all classes, 0..1.
    """

    tumor_cell: float = 8.0
    hard_cells: PositiveCount = 24
    hard_weight: float = 0.5
    coarse_weight: float = 0.4
    picture_weight: float = 0.7
    smallest_tumor: Share = 0.0
    smallest_contrast: Weight = 0.0
    type_weight: float = 0.3
    balance_types: bool = False
    label_smoothing: Share = 0.0


@dataclass(frozen=True, config=_CHECKED)
class Recipe:
    """A whole recipe.

    Args:
        name: Name of the recipe, which is written into the detector file.
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

    def size_at(self, epoch: int) -> int:
        """Return the side of training pictures in an epoch, counted from 0, pixels."""
        sizes = (*self.training.smaller_sizes, self.training_size)
        return sizes[min(len(sizes) * epoch // self.training.epochs, len(sizes) - 1)]

    @property
    def training_canvas(self) -> Preprocessing:
        """The preprocessing of training pictures, a little finer than the network's input."""
        size = 16 * round(self.training_size * _CANVAS_ZOOM / 16)
        return dataclasses.replace(self.preprocessing, size=size)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file; if it has stages, the first one.

    Args:
        path: TOML file. Keys that it leaves out keep their defaults.

    Returns:
        The checked recipe.

    Raises:
        OptionError: If the file has unknown keys, wrong types or impossible values; the message
            lists all of them.
    """
    return read_stages(path)[0]


def read_stages(path: Path) -> list[Recipe]:
    """Read the stages of a recipe, each of which starts from the weights of the one before.

    Args:
        path: TOML file. Each table of `[[stages]]` changes the file's values for a further stage.

    Returns:
        Checked recipes in the order of training; one where the file has no stages.

    Raises:
        OptionError: If the file has unknown keys, wrong types or impossible values; the message
            lists all of them.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path}: not a readable TOML recipe: {error}") from error
    changes = table.pop(STAGES, [])
    faults: list[str] = []
    recipes = [_built(table, "", faults)]
    for number, change in enumerate(changes):
        recipes.append(_built(_merged(table, change), f"{STAGES}[{number}].", faults))
    if faults:
        raise OptionError(f"{path}: {len(faults)} faults\n  " + "\n  ".join(faults))
    return recipes


def changed_recipe(
    recipe: Recipe,
    initialization: str | None = None,
    precision: str | None = None,
    epochs: int | None = None,
    frozen: str | None = None,
    further_epochs: int = 0,
) -> Recipe:
    """Return a recipe with the changes of a user.

    Args:
        recipe: Recipe to change.
        initialization: First weights: `random`, `meninx` or `imagenet`; None to leave the recipe's.
        precision: Arithmetic, one of `PRECISIONS`; None to leave the recipe's.
        epochs: Number of epochs; None to leave the recipe's.
        frozen: What keeps its first weights, one of `FROZEN`; None to leave the recipe's.
        further_epochs: Number of epochs after the schedule's end, of a resumed run.

    Returns:
        The changed recipe.

    Raises:
        OptionError: If there is no such initialization, precision or part of a network, or the
            architecture has no such part, or a linear probe is given epochs or a precision.
    """
    network, training = recipe.network, recipe.training
    if initialization is not None:
        chosen = _checked(initialization, _INITIALIZATIONS, "--init")
        network = dataclasses.replace(network, initialization=chosen)
    if frozen is not None:
        network = dataclasses.replace(network, frozen=_checked(frozen, FROZEN, "--freeze"))
    if precision is not None:
        chosen = _checked(precision, PRECISIONS, "--precision")
        training = dataclasses.replace(training, precision=chosen)
    if epochs is not None:
        training = dataclasses.replace(training, epochs=epochs)
    if further_epochs:
        training = dataclasses.replace(training, further_epochs=further_epochs)
    changed = dataclasses.replace(recipe, network=network, training=training)
    named = {"--epochs": epochs, "--further-epochs": further_epochs, "--precision": precision}
    unused = [option for option, value in named.items() if value]
    if network.frozen == "features" and unused:
        raise OptionError(
            f"{', '.join(unused)}: a linear probe has no epochs and no other precision than 32 "
            "bits: leave it out, or train with --recipe finetune or --freeze backbone"
        )
    if frozen is not None and (faults := _impossible(changed)):
        raise OptionError(f"--freeze {frozen}: {'; '.join(faults)}")
    return changed


def _checked(name: str, names: tuple[Any, ...], option: str) -> Any:
    if name not in names:
        raise OptionError(f"{option} {name}: expected one of {', '.join(names)}")
    return name


def _merged(table: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's table with the values of another table."""
    merged = copy.deepcopy(table)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merged[key] | value if both else value
    return merged


def _built(table: dict[str, Any], place: str, faults: list[str]) -> Recipe:
    """Return the recipe of a table, and append each of its faults to `faults`."""
    try:
        recipe = _validated(table)
    except ValidationError as error:
        sound = copy.deepcopy(table)
        for fault in error.errors():
            where = [str(part) for part in fault["loc"]]
            _remove(sound, where)
            message = fault["msg"].replace("Input should be", "expected", 1)
            if fault["type"] == "unexpected_keyword_argument":
                message = "unknown key"
            elif fault["type"] == "dataclass_type":
                message = "expected a table"
            faults.append(f"{place}{'.'.join(where)}: {message}, found {fault['input']!r}")
        # Impossible values are reported together with these faults.
        recipe = _validated(sound)
    faults += [f"{place}{fault}" for fault in _impossible(recipe)]
    return recipe


def _validated(table: dict[str, Any]) -> Recipe:
    # As JSON: strict pydantic accepts a table as a dataclass, and a list as a tuple, only there.
    return TypeAdapter(Recipe).validate_json(json.dumps(table, default=str))


def _remove(table: Any, where: list[str]) -> None:
    """Remove a key from nested tables."""
    for key in where[:-1]:
        table = table.get(key, {})
    if isinstance(table, dict):
        table.pop(where[-1], None)


def _impossible(recipe: Recipe) -> list[str]:
    """Return the faults of a well-typed recipe whose values contradict each other."""
    training, sampling = recipe.training, recipe.sampling
    faults = []
    sizes = {"preprocessing.size": recipe.preprocessing.size, "training.size": training.size}
    faults += [
        f"{key}: {size} is no multiple of {COARSE_STRIDE}"
        for key, size in sizes.items()
        if size % COARSE_STRIDE
    ]
    sides = (*training.smaller_sizes, recipe.training_size)
    ordered = list(sides) == sorted(set(sides))
    if training.smaller_sizes and not (
        ordered and all(side % COARSE_STRIDE == 0 for side in sides)
    ):
        faults.append(
            f"training.smaller_sizes: expected rising multiples of {COARSE_STRIDE} below "
            f"{recipe.training_size}, found {list(training.smaller_sizes)}"
        )
    cells = (sides[0] // CELL_STRIDE) ** 2
    if recipe.loss.hard_cells > cells:
        faults.append(
            f"loss.hard_cells: {recipe.loss.hard_cells} is not between 1 and {cells}, the cells of "
            "a picture; to turn them off, set loss.hard_weight to 0"
        )
    if sampling.simulated > 0 and sampling.phantoms + sampling.augmented_heads < 1:
        faults.append(
            "sampling.phantoms: a share is simulated, but there are no heads for it; set phantoms "
            "or augmented_heads above 0"
        )
    if recipe.network.frozen == "features" and recipe.network.architecture != CELLS:
        faults.append("network.frozen: features are those of the architecture cells")
    if sampling.calibration_phantoms == 1:
        faults.append("sampling.calibration_phantoms: expected 0, or 2 and more to have both kinds")
    if training.validation_fold and training.validation_fold in (
        training.test_fold,
        *training.left_out,
    ):
        faults.append(
            f"training.test_fold: {training.validation_fold} is the validation fold, which chooses "
            "the epoch: a test on it would flatter"
        )
    if sampling.real + sampling.simulated <= 0:
        faults.append("sampling: all shares are 0")
    return faults
