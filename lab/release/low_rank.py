"""Factorize the convolutions of a trained network: low rank, at nearly the same outputs.

The outputs of a trained 3 x 3 convolution lie close to a space of few dimensions. A 3 x 3
convolution computes r of them, and a 1 x 1 convolution spreads them over all channels. Legend: n
slices, c input channels, d output channels, r dimensions kept, h and w height and width of maps, k
sampled outputs.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from meninx._detect.preprocessing import Preprocessing
from meninx._learn.input.dataset import CONTEXT, SliceDataset
from meninx._learn.model.network import Backbone, pair_like

# Number of slices of each kind (with tumor and tumor-free, real and simulated) for factorization.
FACTORIZED_BY = 128
# Share of the variance of every convolution's outputs that is kept.
KEPT = 0.99
# Step of the rank: the number of channels that vector units compute at a time.
RANK_STEP = 16
# Largest cost of two convolutions, as a share of the cost of the one that they replace.
MAX_COST = 0.8
# Number of places of each slice at which outputs are sampled.
PLACES = 48
# Number of slices computed at a time.
BATCH = 32
# Ridge, as a share of the mean variance of outputs, because some hardly vary.
RIDGE = 1e-4
# Smallest gain of a channel, as a share of the largest: batch normalization all but switches some
# off, and their gain is a divisor.
MIN_GAIN = 1e-3


def factorize(network: Backbone, x: Tensor, kept: float = KEPT) -> None:
    """Factorize each convolution of the stages into two with nearly the same outputs.

    From the first layer to the last, the outputs of the original network are fitted from inputs of
    the factorized one, so that later layers can correct errors of earlier ones.

    Args:
        network: The trained network; changed in place, and left in evaluation mode.
        x: Normalized slices like those that it will score, shape (n, 3, h, w).
        kept: Share of the variance of each convolution's outputs that is kept, 0..1.

    References:
        Zhang, Zou, He and Sun 2016, Accelerating very deep convolutional networks for
        classification and detection, sections 3.1 and 3.3.
    """
    network.eval()
    # Not in inference mode: its tensors could not be trained afterwards.
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
        block: Residual block, changed in place.
        before: Input of the block in the original network, shape (n, c, h, w).
        after: Input of the block in the factorized network, shape (n, c, h, w).
        kept: Share of the variance of each convolution's outputs that is kept, 0..1.

    Returns:
        Outputs of the block in the original network and in the factorized one.
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
    """Return two convolutions whose outputs for x are close to wanted ones; one if two cost more.

    Reduced-rank regression: of all matrices M of rank r, the one for which M (W x) + m is closest
    to the wanted outputs, each channel weighted as by batch normalization.

    Args:
        convolution: 3 x 3 convolution with weights W.
        norm: Batch normalization that follows it.
        answers: Wanted outputs, shape (n, d, h, w).
        x: Inputs, shape (n, c, h', w').
        kept: Share of the variance of the outputs that is kept, 0..1.

    Returns:
        A 3 x 3 convolution with r channels and a 1 x 1 convolution with d, or `convolution`.
    """
    if norm.running_var is None:
        raise ValueError("batch normalization without running statistics")
    spread = (norm.running_var + norm.eps).sqrt()
    gain = (norm.weight.abs() / spread).double()
    gain = gain.clamp_min(MIN_GAIN * float(gain.max()))
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
    if rank * (9 * into + out) > MAX_COST * 9 * into * out:
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
    """Return the number of directions with a share of all variance, rounded up to whole vectors."""
    shares = variances.cumsum(0) / variances.sum()
    needed = int((shares < kept).sum()) + 1
    return min(-(-needed // RANK_STEP) * RANK_STEP, len(variances))


def _sampled(maps: Tensor) -> Tensor:
    """Return outputs at random places, the same in every call, shape (k, d)."""
    count, channels, height, width = maps.shape
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(height * width, (count, 1, PLACES), generator=generator)
    flat = maps.flatten(2).gather(2, places.expand(-1, channels, -1))  # [n, d, places]
    return flat.transpose(1, 2).flatten(0, 1).double()


def _mapped(module: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """Return a module's outputs for maps, computed some at a time."""
    return torch.cat([module(part) for part in torch.split(maps, BATCH)])


def inputs_of_each_kind(slices: SliceDataset, preprocessing: Preprocessing) -> Tensor:
    """Return normalized slices of each kind.

    Args:
        slices: Slices at the size of the detector's input.
        preprocessing: Preprocessing of the detector.

    Returns:
        Slices with their neighbors, at most `FACTORIZED_BY` of each kind, shape (n, 3, h, w).
    """
    chosen: list[int] = []
    for kind in sorted(set(slices.kind.tolist()) - {CONTEXT}):
        members = torch.nonzero(slices.kind == kind).flatten().tolist()
        chosen += members[:: max(1, len(members) // FACTORIZED_BY)][:FACTORIZED_BY]
    image = slices.batch(torch.tensor(chosen)).image
    return (image - preprocessing.mean) / preprocessing.std
