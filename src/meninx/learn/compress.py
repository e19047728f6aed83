"""Make a trained network cheaper: convolutions of low rank, and in 8-bit integers.

Low rank: what a trained 3 x 3 convolution answers lies close to a space of few dimensions: r of
them are computed, by 3 x 3, and spread over all channels, by 1 x 1. Legend: n slices, c channels
going in, d channels coming out, r those kept, h and w the height and width of maps, k sampled
answers.
"""

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from meninx.learn.network import Backbone, pair_like

# Share of the variance of answers that is kept, of every convolution.
KEPT = 0.99
# Vector units take so many channels at a time, so fewer cost as much.
RANK_STEP = 16
# A convolution stays as it is where two would cost nearly as much.
LARGEST_COST = 0.8
# Places of each slice whose answers are looked at.
PLACES = 48
# Slices at a time.
BATCH = 32
# Added to the variance of answers, as a share of its mean: some of them hardly vary.
RIDGE = 1e-4
# Channels that batch normalization all but switches off would be divided by nothing.
SMALLEST_GAIN = 1e-3
# Slices at a time that ONNX Runtime measures the ranges of activations on.
CALIBRATION_BATCH = 8
# Channels of a head: one a cell, one a type of tumor. No other convolution has so few.
LARGEST_HEAD = 4


def factorize(network: Backbone, x: Tensor, kept: float = KEPT) -> None:
    """Write each convolution of the stages as two, so that the network answers as before.

    From the first layer to the last, each is fitted to what the whole network answered, on what the
    smaller one now hands to it: errors of earlier layers are mended where they can be.

    Args:
        network: Trained; changed in place, left at evaluation.
        x: Normalized slices like those that it is to be used on, shape (n, 3, h, w).
        kept: Share of the variance of each convolution's answers.

    References:
        Zhang, Zou, He and Sun 2016, Accelerating very deep convolutional networks for
        classification and detection, sections 3.1 and 3.3.
    """
    network.eval()
    # Not in inference mode, whose tensors can't be trained any more.
    with torch.no_grad():
        before = after = _mapped(network.stem, x)
        for stage in network.stages:
            for block in stage:  # type: ignore[attr-defined]
                before, after = _factorize_block(block, before, after, kept)


def _factorize_block(
    block: BasicBlock, before: Tensor, after: Tensor, kept: float
) -> tuple[Tensor, Tensor]:
    """Factorize a residual block's two convolutions.

    Args:
        block: Changed in place.
        before: What the whole network hands to it, shape (n, c, h, w).
        after: What the smaller network hands to it, likewise.
        kept: As for `factorize`.

    Returns:
        What the block hands on, in the whole network and in the smaller one.
    """
    whole = copy.deepcopy(block)
    answers = _mapped(whole.conv1, before)
    block.conv1 = _factorized(whole.conv1, whole.bn1, answers, after, kept)
    inner_before = _mapped(lambda maps: whole.relu(whole.bn1(maps)), answers)
    inner_after = _mapped(lambda maps: block.relu(block.bn1(block.conv1(maps))), after)
    answers = _mapped(whole.conv2, inner_before)
    block.conv2 = _factorized(whole.conv2, whole.bn2, answers, inner_after, kept)
    return _mapped(whole, before), _mapped(block, after)


def _factorized(
    convolution: nn.Conv2d, norm: nn.BatchNorm2d, answers: Tensor, x: Tensor, kept: float
) -> nn.Module:
    """Return two convolutions that answer to x as one did before; that one if they'd cost more.

    Reduced-rank regression: of all matrices M of rank r the one for which M (W x) + m comes closest
    to the wanted answers, where channels count as batch normalization weighs them.

    Args:
        convolution: Of 3 x 3, with weights W.
        norm: That follows it.
        answers: Wanted, shape (n, d, h, w).
        x: Shape (n, c, h', w').
        kept: As for `factorize`.

    Returns:
        A 3 x 3 convolution with r channels and a 1 x 1 convolution with d, or the first argument.
    """
    if norm.running_var is None:
        raise ValueError("batch normalization without running statistics")
    spread = (norm.running_var + norm.eps).sqrt()
    gain = (norm.weight.abs() / spread).double()
    gain = gain.clamp_min(SMALLEST_GAIN * float(gain.max()))
    wanted, got = _sampled(answers) * gain, _sampled(_mapped(convolution, x)) * gain  # [k, d]
    wanted_mean, got_mean = wanted.mean(0), got.mean(0)
    wanted, got = wanted - wanted_mean, got - got_mean
    covariance = got.T @ got / len(got)
    covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    full = torch.linalg.solve(covariance, got.T @ wanted / len(got)).T  # [d, d]
    variances, directions = torch.linalg.eigh(full @ covariance @ full.T)
    variances, directions = variances.flip(0).clamp_min(0), directions.flip(1)
    rank = _rank(variances, kept)
    out, into = convolution.out_channels, convolution.in_channels
    if rank * (9 * into + out) > LARGEST_COST * 9 * into * out:
        return convolution
    spreading = directions[:, :rank]  # [d, r]
    gathering = spreading.T @ full  # [r, d]
    offset = wanted_mean - spreading @ (gathering @ got_mean)
    pair = pair_like(convolution, rank)
    pair.load_state_dict(
        {
            "0.weight": torch.einsum(
                "rd,dchw->rchw", gathering * gain, convolution.weight.double()
            ),
            "1.weight": (spreading / gain[:, None])[:, :, None, None],
            "1.bias": offset / gain,
        }
    )
    return pair


def _rank(variances: Tensor, kept: float) -> int:
    """Return how many directions hold a share of all variance, rounded up to whole vectors."""
    shares = variances.cumsum(0) / variances.sum()
    needed = int((shares < kept).sum()) + 1
    return min(-(-needed // RANK_STEP) * RANK_STEP, len(variances))


def _sampled(maps: Tensor) -> Tensor:
    """Return answers at random places, the same whenever it is asked, shape (k, d)."""
    count, channels, height, width = maps.shape
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(height * width, (count, 1, PLACES), generator=generator)
    flat = maps.flatten(2).gather(2, places.expand(-1, channels, -1))  # [n, d, places]
    return flat.transpose(1, 2).flatten(0, 1).double()


def _mapped(module: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """Return what a module says of maps, some at a time."""
    return torch.cat([module(part) for part in torch.split(maps, BATCH)])


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Calibration slices, as ONNX Runtime asks for them."""

    def __init__(self, batches: Iterable[NDArray[np.float32]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch by the input's name; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


def quantize(plain: Path, target: Path, calibration: NDArray[np.float32]) -> None:
    """Write a network whose convolutions run in 8-bit integers.

    Weights are rounded per output channel, to 7 bits: products of 8 bits overflow where a processor
    adds two of them in 16, as those without VNNI do. Activations are rounded per tensor. The first
    convolution and the heads stay in floating point: they cost little, and rounding the answer
    itself would blur it.

    Args:
        plain: A detector as ONNX in single precision, its constants folded.
        target: The ONNX file to write, without the card.
        calibration: Normalized slices that set the ranges of activations, shape (n, 3, h, w).

    References:
        Jacob et al. 2018, Quantization and training of neural networks for efficient
        integer-arithmetic-only inference.
    """
    graph = onnx.load(plain).graph
    outputs = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    heads = [node.name for node in convolutions if outputs[node.input[1]] <= LARGEST_HEAD]
    quantize_static(
        str(plain),
        str(target),
        _Batches(np.array_split(calibration, -(-len(calibration) // CALIBRATION_BATCH))),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_exclude=[convolutions[0].name, *heads],
        op_types_to_quantize=["Conv", "Add", "MaxPool"],
    )
