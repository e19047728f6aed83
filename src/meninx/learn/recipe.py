"""Read a training recipe: every choice that makes a detector, in one TOML file."""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meninx.detect.preprocessing import Preprocessing
from meninx.errors import OptionError
from meninx.learn.network import ARCHITECTURES, CELL_STRIDE, CELLS, COARSE_STRIDE

INITIALIZATIONS = ("random", "meninx", "imagenet")


@dataclass(frozen=True)
class NetworkRecipe:
    """Hold what is trained.

    Args:
        architecture: `cells`, which judges every cell of a slice and learns from masks, or
            `pooled`, a plain ResNet-18 with global average pooling, which learns from labels alone.
        dropout: Share of feature maps left out in training.
        initialization: `random`, `meninx` (the shipped detector's weights) or `imagenet`.
    """

    architecture: str = CELLS
    dropout: float = 0.1
    initialization: str = "random"


@dataclass(frozen=True)
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
        paste: Probability that a tumor-free picture receives a tumor of another one.
        paint: Probability that a picture receives a lesion made of noise.
        decoy: Probability that a picture receives a patch of healthy tissue, so that
            the seam of a paste says nothing.
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
    aspect: float = 0.1
    shift: float = 0.12
    flip: float = 0.5
    quarter_turn: float = 0.1
    warp: float = 0.03
    paste: float = 0.5
    paint: float = 0.2
    decoy: float = 0.3
    gamma: float = 0.6
    dimmest: float = 0.55
    brightest: float = 1.1
    remap: float = 0.3
    invert: float = 0.15
    strip: float = 0.4
    bias: float = 0.5
    blur: float = 0.3
    noise: float = 0.4
    resolution: float = 0.25
    jpeg: float = 0.25
    stand_in: float = 0.33


@dataclass(frozen=True)
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

    epochs: int = 40
    pictures_per_epoch: int = 3000
    size: int = 0
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    ema_decay: float = 0.998
    gradient_clip: float = 1.0
    patience: int = 12
    precision: str = "auto"
    validation_fold: int = 5
    test_fold: int = 0
    left_out: tuple[int, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class SamplingRecipe:
    """The share of each kind of slice in an epoch, whatever the collection's own balance.

    The shares need not sum to one; a kind that is missing leaves its share to the others. Within a
    share every person weighs the same.

    Args:
        masked: Tumor slices with a mask.
        unmasked: Tumor slices without a mask, of which only the label is learned.
        tumor_free: Real slices without tumor; some receive one by `AugmentationRecipe.paste`.
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

    masked: float = 0.5
    unmasked: float = 0.0
    tumor_free: float = 0.5
    simulated: float = 0.0
    strata: dict[str, float] = field(default_factory=dict)
    tumor_share: float = 0.62
    phantoms: int = 0
    augmented_heads: int = 0
    calibration_phantoms: int = 48

    @property
    def real(self) -> float:
        """The share of pictures that are no simulation."""
        return self.masked + self.unmasked + self.tumor_free + sum(self.strata.values())


@dataclass(frozen=True)
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
    hard_cells: int = 24
    hard_weight: float = 0.5
    coarse_weight: float = 0.4
    picture_weight: float = 0.7
    smallest_tumor: float = 0.0
    type_weight: float = 0.3
    balance_types: bool = False
    label_smoothing: float = 0.0


@dataclass(frozen=True)
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
    """Read a recipe from a TOML file.

    Args:
        path: The file. Keys that it leaves out keep their defaults.

    Returns:
        The recipe, checked.

    Raises:
        OptionError: With every unknown key, wrong type and impossible value at once.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path}: not a readable TOML recipe: {error}") from error
    faults: list[str] = []
    recipe: Recipe = _build(Recipe, table, "", faults)
    faults += _impossible(recipe)
    if faults:
        raise OptionError(f"{path}: {len(faults)} faults\n  " + "\n  ".join(faults))
    return recipe


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
    if name not in INITIALIZATIONS:
        raise OptionError(f"--init {name}: expected one of {', '.join(INITIALIZATIONS)}")
    return dataclasses.replace(
        recipe, network=dataclasses.replace(recipe.network, initialization=name)
    )


def _build(kind: type, table: dict[str, Any], place: str, faults: list[str]) -> Any:
    """Return a dataclass filled from a table, adding what does not fit to `faults`."""
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{place}{key}"
        if key not in fields:
            faults.append(f"{name}: unknown key; known here: {', '.join(fields)}")
            continue
        expected = fields[key].type
        if dataclasses.is_dataclass(expected) and isinstance(expected, type):
            if isinstance(value, dict):
                values[key] = _build(expected, value, f"{name}.", faults)
            else:
                faults.append(f"{name}: expected a table, found {value!r}")
        elif expected is float and type(value) in (int, float):
            values[key] = float(value)
        elif expected == dict[str, float] and _are_numbers(value):
            values[key] = {name: float(share) for name, share in value.items()}
        elif expected == tuple[int, ...] and _are_whole(value):
            values[key] = tuple(value)
        elif type(value) is expected:
            values[key] = value
        else:
            wanted = getattr(expected, "__name__", expected)
            faults.append(f"{name}: expected {wanted}, found {value!r}")
    return kind(**values)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(type(one) in (int, float) for one in value.values())


def _are_whole(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int for one in value)


def _impossible(recipe: Recipe) -> list[str]:
    """Return what a well-typed recipe asks for that can't be."""
    training, sampling = recipe.training, recipe.sampling
    positive = {
        "training.epochs": training.epochs,
        "training.pictures_per_epoch": training.pictures_per_epoch,
        "training.batch_size": training.batch_size,
        "training.learning_rate": training.learning_rate,
        "preprocessing.std": recipe.preprocessing.std,
    }
    faults = [f"{key}: {value} is not above 0" for key, value in positive.items() if value <= 0]
    shares = {
        **{f"augmentation.{key}": v for key, v in vars(recipe.augmentation).items()
           if key not in ("rotation", "smallest_scale", "largest_scale", "gamma", "brightest")},
        "network.dropout": recipe.network.dropout,
        "sampling.tumor_share": sampling.tumor_share,
        "loss.smallest_tumor": recipe.loss.smallest_tumor,
        "loss.label_smoothing": recipe.loss.label_smoothing,
        "training.warmup": training.warmup,
        "training.ema_decay": training.ema_decay,
    }  # fmt: skip
    faults += [f"{k}: {v} is not between 0 and 1" for k, v in shares.items() if not 0 <= v <= 1]
    sizes = {"preprocessing.size": recipe.preprocessing.size, "training.size": training.size}
    faults += [f"{key}: {size} is no multiple of {COARSE_STRIDE}"
               for key, size in sizes.items() if size < 0 or size % COARSE_STRIDE]  # fmt: skip
    if training.precision not in ("auto", "bf16-mixed", "16-mixed", "32-true"):
        faults.append(f"training.precision: {training.precision!r} is unknown")
    cells = (recipe.training_size // CELL_STRIDE) ** 2
    if not 1 <= recipe.loss.hard_cells <= cells:
        faults.append(
            f"loss.hard_cells: {recipe.loss.hard_cells} is not between 1 and {cells}, the cells of "
            "a picture; to do without, set loss.hard_weight to 0"
        )
    if sampling.simulated > 0 and sampling.phantoms + sampling.augmented_heads < 1:
        faults.append("sampling.phantoms: a share is simulated, but there are no heads for it")
    if sampling.calibration_phantoms == 1 or sampling.calibration_phantoms < 0:
        faults.append("sampling.calibration_phantoms: expected 0, or 2 and more to have both kinds")
    if recipe.network.architecture not in ARCHITECTURES:
        faults.append(
            f"network.architecture: {recipe.network.architecture!r} is none of "
            + ", ".join(ARCHITECTURES)
        )
    if recipe.network.initialization not in INITIALIZATIONS:
        faults.append(
            f"network.initialization: {recipe.network.initialization!r} is none of "
            + ", ".join(INITIALIZATIONS)
        )
    faults += [f"sampling.strata: {name!r} has the share {share}, expected 0 or more"
               for name, share in sampling.strata.items() if share < 0]  # fmt: skip
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
