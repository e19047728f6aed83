"""Evaluate an ONNX classifier of pictures by the settings that its author knows."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._assess.classifiers import Classifier, PictureScores
from meninx._assess.metrics import Floats
from meninx._detect.runtimes import OnnxNetwork
from meninx._errors import ModelError, OptionError

_KEYS = ("tumor", "normalize", "size", "channels", "scores")
# Mean and standard deviation on the scale 0..1, of gray or of each color.
_NORMALIZATIONS = {
    "0..1": ((0.0,), (1.0,)),
    "-1..1": ((0.5,), (0.5,)),
    "0..255": ((0.0,), (1 / 255,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
# Pictures of a call: larger batches are not faster on a CPU.
_BATCH = 8
_KINDS = ("probability", "logit")
_COLORS = {1: "L", 3: "RGB"}
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
# Largest difference from 1 of probabilities' sum.
_MAX_ROUNDING = 1e-3
_SMALLEST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class ClassifierSettings:
    """What an ONNX file does not say of a classifier.

    Args:
        tumor: Outputs that are a tumor, from 0.
        mean: Mean to subtract, on the scale 0..1, one number or one a color.
        std: Standard deviation to divide by, likewise.
        text: The settings as the user wrote them, for the report.
        size: Side of the input, pixels; None for that of the file.
        channels: Colors of the input, 1 or 3; None for those of the file.
        scores: Kind of a single output: `probability` or `logit`; None for several.
    """

    tumor: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    text: str
    size: int | None = None
    channels: int | None = None
    scores: str | None = None

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "ClassifierSettings":
        """Read settings.

        Args:
            settings: Values by key: `tumor`, the numbers of the tumor's outputs, such as `0,1,3`;
                `normalize`: `0..1`, `-1..1`, `0..255`, `imagenet` or `MEAN,STD`; `size`,
                `channels` (1 or 3), and `scores` (`probability` or `logit`).

        Returns:
            The settings, checked.

        Raises:
            OptionError: If a key is unknown or missing, or a value impossible.
        """
        unknown = [key for key in settings if key not in _KEYS]
        missing = [key for key in _KEYS[:2] if key not in settings]
        if unknown or missing:
            wrong = f"unknown {unknown[0]}" if unknown else f"{missing[0]} is missing"
            raise OptionError(
                f"--classifier: {wrong}; expected KEY=VALUE of {', '.join(_KEYS)}: tumor and "
                "normalize always, such as --classifier tumor=1 --classifier normalize=imagenet"
            )
        kind = settings.get("scores")
        if kind not in (None, *_KINDS):
            raise OptionError(f"--classifier scores={kind}: expected {' or '.join(_KINDS)}")
        channels = _whole(settings, "channels")
        if channels not in (None, *_COLORS):
            raise OptionError(f"--classifier channels={channels}: expected 1 or 3")
        mean, std = _normalization(settings["normalize"])
        text = " ".join(f"{key}={value}" for key, value in settings.items())
        size = _whole(settings, "size")
        return cls(_outputs(settings["tumor"]), mean, std, text, size, channels, kind)


def _whole(settings: Mapping[str, str], key: str) -> int | None:
    text = str(settings.get(key, "")).strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise OptionError(f"--classifier {key}={text}: expected a whole number, 1 or more")
    return int(text)


def _outputs(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in str(text).split(",")]
    if not all(part.isdecimal() for part in parts):
        raise OptionError(
            f"--classifier tumor={text}: expected the numbers of the tumor's outputs from 0, such "
            "as 0,1,3"
        )
    return tuple(sorted({int(part) for part in parts}))


def _normalization(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if text in _NORMALIZATIONS:
        return _NORMALIZATIONS[text]
    try:
        mean, std = (float(part) for part in text.split(","))
    except ValueError:
        mean, std = math.nan, math.nan
    if not math.isfinite(mean) or not std > 0:
        raise OptionError(
            f"--classifier normalize={text}: expected {', '.join(_NORMALIZATIONS)}, or mean and "
            "standard deviation on the scale 0..1, such as 0.5,0.25"
        )
    return (mean,), (std,)


@dataclass(frozen=True)
class _Input:
    """The input of a network.

    Args:
        height, width: Size, pixels.
        channels: Colors, 1 or 3.
        last: Whether the colors are the last axis (TensorFlow), not the second (PyTorch).
        dtype: Type of its values.
        one_at_a_time: Whether the batch is fixed at one picture.
    """

    height: int
    width: int
    channels: int
    last: bool
    dtype: Any
    one_at_a_time: bool

    @classmethod
    def of(cls, kind: str, shape: Sequence[Any], settings: ClassifierSettings) -> "_Input":
        """Return the input from the file's shape and the user's settings, which must agree."""
        if kind not in _TYPES or len(shape) != 4:
            raise ModelError(
                f"an input of type {kind} and shape {list(shape)}, expected pictures (b, c, h, w) "
                f"or (b, h, w, c) of {', '.join(_TYPES)}; evaluate it by a Python function"
            )
        last = shape[3] in _COLORS and shape[1] not in _COLORS
        height, width, channels = shape[1:] if last else (shape[2], shape[3], shape[1])
        found = {
            "height": _agreed("size", height, settings.size),
            "width": _agreed("size", width, settings.size),
            "channels": _agreed("channels", channels, settings.channels),
        }
        if found["channels"] not in _COLORS:
            raise ModelError(f"an input of {found['channels']} channels, expected 1 or 3")
        if len(settings.mean) > found["channels"]:
            raise OptionError("--classifier normalize=imagenet: the network takes gray pictures")
        return cls(**found, last=last, dtype=_TYPES[kind], one_at_a_time=shape[0] == 1)

    def of_picture(self, picture: Image.Image, settings: ClassifierSettings) -> NDArray[Any]:
        """Return a picture as a network takes it, without the batch."""
        resized = picture.convert(_COLORS[self.channels]).resize(
            (self.width, self.height), Image.Resampling.BILINEAR
        )
        levels: NDArray[Any] = (
            np.asarray(resized, dtype=np.float32).reshape(self.height, self.width, -1) / 255
        )
        mean, std = (np.array(part, np.float32) for part in (settings.mean, settings.std))
        levels = ((levels - mean) / std).astype(self.dtype)
        return levels if self.last else levels.transpose(2, 0, 1)


def _agreed(key: str, own: Any, wanted: int | None) -> int:
    """Return the value of the file or the user."""
    fixed = own if isinstance(own, int) else None
    if fixed is None and wanted is None:
        raise OptionError(f"the file leaves its {key} open: add --classifier {key}=...")
    if fixed is not None and wanted not in (None, fixed):
        raise OptionError(f"--classifier {key}={wanted}: the file says {fixed}")
    return fixed or wanted or 0


def onnx_classifier(path: Path, settings: Mapping[str, str]) -> Classifier:
    """Load an ONNX classifier of pictures.

    Args:
        path: ONNX file with one input of pictures. Its first output counts.
        settings: What the file does not say; see `ClassifierSettings.of`.

    Returns:
        The classifier.

    Raises:
        ModelError: If the file can't be read, or takes no pictures.
        OptionError: If the settings do not fit.
    """
    wanted = ClassifierSettings.of(settings)
    try:
        data = path.read_bytes()
        network = OnnxNetwork(data, threads=1)
    except OSError as error:
        raise ModelError(f"{path}: the file can't be read: {error}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if len(network.inputs) != 1:
        raise ModelError(f"{path}: {len(network.inputs)} inputs, expected one")
    ((kind, shape),) = network.inputs.values()
    try:
        takes = _Input.of(kind, shape, wanted)
    except (ModelError, OptionError) as error:
        raise type(error)(f"{path}: {error}") from error

    def logits(pictures: Sequence[Image.Image]) -> Floats:
        batch = np.stack([takes.of_picture(picture, wanted) for picture in pictures])
        step = 1 if takes.one_at_a_time else _BATCH
        parts = [batch[start : start + step] for start in range(0, len(batch), step)]
        outputs = [next(iter(network.run(part).values())) for part in parts]
        return tumor_logits(np.concatenate(outputs), wanted)

    model = {"name": path.name, "sha256": hashlib.sha256(data).hexdigest()}
    color = "gray" if takes.channels == 1 else "RGB"
    how = (
        f"The network was given pictures in {color}, {takes.width} x {takes.height} px, resized "
        f"bilinearly ({wanted.text})."
    )
    return Classifier(PictureScores(logits), model, how, workers=8)


def tumor_logits(outputs: NDArray[Any], settings: ClassifierSettings) -> Floats:
    """Return the log odds of a tumor from a classifier's outputs.

    Args:
        outputs: Outputs for b pictures, shape (b, k) or (b,). Several that lie in 0..1 and sum
            to 1 are probabilities, else logits of a softmax.
        settings: Which outputs are the tumor, and the kind of a single one.

    Returns:
        Log odds, shape (b,).

    Raises:
        OptionError: If the outputs do not fit the settings.
    """
    values = np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1)
    count = values.shape[1]
    if max(settings.tumor) >= count or (len(settings.tumor) == count > 1):
        raise OptionError(
            f"--classifier tumor={','.join(map(str, settings.tumor))}: the network has {count} "
            "outputs, from 0; name those of the tumor, not all"
        )
    if not np.isfinite(values).all():
        raise ModelError("the network's outputs are not finite: check the normalization")
    if count == 1:
        return _single(values[:, 0], settings.scores)
    if settings.scores is not None:
        kinds = np.full(len(values), settings.scores == "probability")
    else:
        within = ((values >= 0) & (values <= 1)).all(axis=1)
        kinds = within & (np.abs(values.sum(axis=1) - 1) < _MAX_ROUNDING)
        if (within & ~kinds).any():
            raise OptionError(
                "outputs lie in 0..1 but do not sum to 1: add --classifier scores=probability or "
                "scores=logit"
            )
    logs = np.where(kinds[:, None], np.log(np.maximum(values, _SMALLEST)), values)
    is_tumor = np.isin(np.arange(count), settings.tumor)
    return np.asarray(
        np.logaddexp.reduce(logs[:, is_tumor], axis=1)
        - np.logaddexp.reduce(logs[:, ~is_tumor], axis=1)
    )


def _single(values: Floats, kind: str | None) -> Floats:
    """Return the log odds of a single output, which is a probability or log odds."""
    if kind is None:
        raise OptionError(
            "the network has one output: add --classifier scores=probability or scores=logit"
        )
    if kind == "logit":
        return values
    if ((values < 0) | (values > 1)).any():
        raise OptionError("--classifier scores=probability: an output lies outside of 0..1")
    inside = np.clip(values, 1e-7, 1 - 1e-7)
    return np.asarray(np.log(inside / (1 - inside)))
