"""Write a detector in another number format, unless its answers would change."""

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from meninx._data.manifest import Picture
from meninx._detect.detector import Detector
from meninx._detect.engine import Engine, Output
from meninx._detect.head_slices import brain_slices
from meninx._detect.pooling import slice_logits
from meninx._detect.runtimes import FloatBatch
from meninx._errors import ModelError
from meninx._learn.file.export import recalibrate, store_weights_in_half
from meninx._scan.reading import read_one

Format = Literal["fp32", "fp16", "int8"]
FORMATS: tuple[Format, ...] = ("fp32", "fp16", "int8")
# Largest mean change of a slice's probability, over the pictures that check, at which a format is
# written.
TOLERANCE = 0.02
BATCH = 8
# Number of slices at a time on which ONNX Runtime measures the ranges of activations.
_CALIBRATION_BATCH = 8
# Largest number of channels of a head, which is one per cell or type; other convolutions have more.
_MAX_HEAD_CHANNELS = 4


@dataclasses.dataclass(frozen=True)
class Change:
    """Absolute change of the slices' probability by a number format.

    Args:
        mean: Mean change, 0..1.
        largest: Largest change, 0..1.
        slices: Number of slices that were compared.
    """

    mean: float
    largest: float
    slices: int


def inputs_of(detector: Detector, pictures: Sequence[Picture]) -> FloatBatch:
    """Return the network's input for pictures, and for the middle slices of volumes.

    Args:
        detector: Detector with the preprocessing to use.
        pictures: Rows of a manifest.

    Returns:
        Normalized slices with their neighbors, shape (n, 3, h, w).
    """
    stacks = []
    for picture in pictures:
        scan = read_one(picture.picture)
        stack, _ = detector.input_stack(scan, brain_slices(scan))
        stacks.append(stack[len(stack) // 2])
    return detector.card.preprocessing.normalize(np.stack(stacks))


def convert(source: Path, target: Path, wanted: Format, calibration: FloatBatch) -> None:
    """Write a detector in another number format.

    Args:
        source: Detector file as training writes it.
        target: ONNX file to write.
        wanted: Number format: `fp32`, `fp16`, which is faster on GPUs only, or `int8`.
        calibration: Normalized slices that set the ranges of `int8`, shape (n, 3, h, w); best of
            the pictures that the detector learned from.

    Raises:
        ModelError: If the source is in 8 bits.
    """
    source, target = source.resolve(), target.resolve()
    if any(node.op_type == "QuantizeLinear" for node in onnx.load(source).graph.node):
        raise ModelError(
            f"{source}: a detector in 8 bits can't be written in another format; name the file "
            "that it was made from"
        )
    # ONNX Runtime leaves files of large tensors in the working directory.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # Folding constants turns weights that are stored in half precision into single precision.
        plain = Path(folder) / "plain.onnx"
        # ONNX's own inference of shapes is enough; the symbolic one can't enlarge maps.
        quant_pre_process(str(source), str(plain), skip_symbolic_shape=True)
        if wanted == "int8":
            quantize(plain, target, calibration)
        elif wanted == "fp16":
            onnx.save(convert_float_to_float16(onnx.load(plain), keep_io_types=True), target)
        else:
            shutil.copyfile(plain, target)
    model = onnx.load(target)
    if wanted == "int8":
        store_weights_in_half(model)  # the matrix of the OOD model, which stays in floating point
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(source).metadata_props)
    onnx.save(model, target)


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """A reader of calibration slices for ONNX Runtime."""

    def __init__(self, batches: Iterable[FloatBatch]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, FloatBatch] | None:
        """Return the next batch by the input's name; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


def quantize(plain: Path, target: Path, calibration: FloatBatch) -> None:
    """Write a network whose convolutions run in 8-bit integers.

    Weights are rounded per output channel, to 7 bits: processors without VNNI add two products in
    16 bits, where products of 8 bits would overflow. Activations are rounded per tensor. All layers
    from the first convolution to the heads compute in integers, because a change of format costs as
    much as a small convolution. The heads stay in floating point, for precise outputs.

    Args:
        plain: ONNX file of a detector in single precision, with constants folded.
        target: ONNX file to write, without the card.
        calibration: Normalized slices that set the ranges of activations, shape (n, 3, h, w).

    References:
        Jacob et al. 2018, Quantization and training of neural networks for efficient
        integer-arithmetic-only inference.
    """
    graph = onnx.load(plain).graph
    outputs = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    heads = [node.name for node in convolutions if outputs[node.input[1]] <= _MAX_HEAD_CHANNELS]
    quantize_static(
        str(plain),
        str(target),
        _Batches(np.array_split(calibration, -(-len(calibration) // _CALIBRATION_BATCH))),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_exclude=heads,
        op_types_to_quantize=["Conv", "Relu", "Add", "MaxPool", "Resize"],
    )


def change_between(first: Path, second: Path, inputs: FloatBatch) -> Change:
    """Return the change of probability between two files of one detector.

    Args:
        first: Detector file.
        second: File of the same detector in another format.
        inputs: Normalized slices, shape (n, 3, h, w).

    Returns:
        The change of the slices' probability.
    """
    answers = []
    for path in (first, second):
        engine = Engine(path)
        logits = slice_logits(_output(engine, inputs).cell_logits, engine.card.top_cells)
        calibrator = engine.card.calibration.picture
        answers.append(np.array([calibrator.probability(float(logit)) for logit in logits]))
    moved = np.abs(answers[0] - answers[1])
    return Change(float(moved.mean()), float(moved.max()), len(inputs))


def _output(engine: Engine, inputs: FloatBatch) -> Output:
    return Output.joined(
        [engine.run(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)]
    )


def _match_ood_threshold(source: Path, rounded: Path, slices: FloatBatch) -> None:
    """Scale the OOD threshold of a rounded detector, whose scores are raised by rounding noise.

    Args:
        source: Detector file before rounding.
        rounded: The same detector rounded; its threshold is rewritten in place.
        slices: Normalized slices to compare the scores on, shape (n, 3, h, w).
    """
    before, after = Engine(source), Engine(rounded)
    card = before.card
    if card.ood_threshold is not None:
        raised = _output(after, slices).ood_scores / _output(before, slices).ood_scores
        threshold = card.ood_threshold * float(np.median(raised))
        recalibrate(rounded, card.calibration, ood_threshold=threshold)


def export(
    source: Path,
    target: Path,
    wanted: Format,
    pictures: Sequence[Picture],
    tolerance: float = TOLERANCE,
) -> Change:
    """Write a detector in another number format, unless that would change its answers.

    Args:
        source: Detector file as training writes it.
        target: ONNX file to write.
        wanted: Number format: `fp32`, `fp16` or `int8`.
        pictures: Rows of a manifest; every other one calibrates, the rest check.
        tolerance: Largest mean change of a slice's probability, 0..1.

    Returns:
        The change on the pictures that check.

    Raises:
        ModelError: If the change is larger than the tolerance; nothing is written then.
    """
    detector = Detector(source)
    calibration = inputs_of(detector, pictures[::2])
    checked = inputs_of(detector, pictures[1::2])
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.onnx"
        convert(source, draft, wanted, calibration)
        if wanted == "int8":
            _match_ood_threshold(source, draft, calibration)
        change = change_between(source, draft, checked)
        if not change.mean <= tolerance:
            raise ModelError(
                f"{wanted} would move the probability of a slice by {change.mean:.4f} in the mean "
                f"(at most {change.largest:.3f}) over {change.slices} pictures, allowed are "
                f"{tolerance:g}; nothing was written: choose another format, or allow more with "
                "--tolerance"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(draft.read_bytes())
    return change
