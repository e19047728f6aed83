"""Give a network its first weights: random, the shipped detector's, or ImageNet's."""

import logging
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import onnx
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights

from meninx.data.facts import sha256_of
from meninx.detect.detector import load_detector, shipped_detector
from meninx.detect.preprocessing import Preprocessing
from meninx.errors import ModelError, OptionError
from meninx.learn.dataset import SliceDataset, to_batch
from meninx.learn.export import load_weights
from meninx.learn.network import Backbone, CellNetwork
from meninx.learn.simulation import simulated_examples

# Heads on whose slices the statistics of the shipped network's channels are measured.
STATISTICS_HEADS = 4
SUFFIX_HALF = "_half"

log = logging.getLogger(__name__)


def initialize(
    network: Backbone, name: str, weights: Path | None = None, sha256: str | None = None
) -> tuple[str, ...]:
    """Fill a network with its first weights.

    Args:
        network: With random weights; changed in place.
        name: `random`, `meninx` or `imagenet`.
        weights: A file to take them from: torchvision's ResNet-18 for `imagenet`, else the
            safetensors of a run.
        sha256: What the file must have; None to take any.

    Returns:
        What the weights were fitted on, as in `ModelCard.seen`: it stays seen.

    Raises:
        ModelError: If the file can't be read, is another one, or does not fit.
        OptionError: If a SHA-256 is given without a file.
    """
    if weights is None and sha256 is not None:
        raise OptionError("--sha256 names no file; add --weights FILE")
    if weights is not None:
        _check_sha256(weights, sha256)
    if name == "imagenet":
        fill_from_imagenet(network, _imagenet_file(weights))
    elif weights is not None:
        return load_weights(network, weights)
    elif name == "meninx":
        return fill_from_shipped(network)
    return ()


def _check_sha256(path: Path, expected: str | None) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: no such file of weights")
    found = sha256_of(path)
    if expected is not None and found != expected.lower():
        raise ModelError(f"{path}: SHA-256 {found}, expected {expected}; download it again")
    log.info("weights from %s, SHA-256 %s", path, found)


def _imagenet_file(weights: Path | None) -> Path:
    """Return torchvision's file, downloaded where none is named."""
    if weights is not None:
        return weights
    url = ResNet18_Weights.IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # torchvision writes the beginning of the SHA-256 into the name.
    prefix = path.stem.rsplit("-", 1)[-1]
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"{url}: can't be downloaded: {error}; without network, copy the file here and name it "
            "with --weights FILE --sha256 HEX"
        ) from error
    return path


def fill_from_imagenet(network: Backbone, path: Path) -> None:
    """Fill the backbone with torchvision's ResNet-18; the heads stay as they are.

    Gray pictures have one channel: the filters of the three colors are summed.

    Args:
        network: Changed in place.
        path: torchvision's `.pth`, or the same as safetensors.

    Raises:
        ModelError: If it can't be read or is another network.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        renamed = {"stem.0.weight": state["conv1.weight"].sum(1, keepdim=True)}
        for name, tensor in state.items():
            if name.startswith("bn1."):
                renamed[f"stem.1.{name.removeprefix('bn1.')}"] = tensor
            elif name.startswith("layer"):
                stage, rest = name.removeprefix("layer").split(".", 1)
                renamed[f"stages.{int(stage) - 1}.{rest}"] = tensor
        known = network.state_dict()
        expected = {name for name in known if name.startswith(("stem.", "stages."))}
        missing = expected - set(renamed)
        if missing:
            raise ModelError(f"{path}: no ResNet-18: {sorted(missing)[0]} is missing")
        network.load_state_dict(known | {name: renamed[name] for name in expected})
    except (OSError, RuntimeError, KeyError, ValueError, SafetensorError, AttributeError,
            TypeError, pickle.UnpicklingError) as error:  # fmt: skip
        raise ModelError(f"{path}: no readable ResNet-18 of torchvision: {error}") from error


def fill_from_shipped(network: Backbone) -> tuple[str, ...]:
    """Fill a network with the shipped detector's weights.

    The shipped file has its batch normalization folded into the convolutions. It is unfolded: each
    channel's mean and spread are measured on slices of phantoms, normalized away and put back as
    scale and shift. The function is the same, and training goes on with statistics that fit.

    Args:
        network: Changed in place. A pooled network takes the backbone and the type head.

    Returns:
        What the shipped detector was fitted on, as in `ModelCard.seen`.

    Raises:
        ModelError: If the shipped file is missing.
    """
    source = CellNetwork()
    unfold(source, folded_weights(shipped_detector()), _phantom_slices())
    state = source.state_dict()
    if not isinstance(network, CellNetwork):
        # What marks a cell is no score of a whole picture.
        own = network.state_dict()
        state |= {name: own[name] for name in own if name.startswith("cell_head.")}
    network.load_state_dict(state)
    return load_detector().card.seen


def folded_weights(path: Path) -> dict[str, Tensor]:
    """Return a detector file's tensors by name.

    Args:
        path: An ONNX file that `export_detector` wrote.

    Returns:
        Weights and biases of the convolutions, batch normalization folded in.
    """
    tensors = {}
    for tensor in onnx.load(path).graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype in (np.float16, np.float32):
            name = tensor.name.removesuffix(SUFFIX_HALF)
            tensors[name] = torch.from_numpy(values.astype(np.float32))
    return tensors


def unfold(network: Backbone, folded: dict[str, Tensor], x: Tensor) -> None:
    """Fill convolutions with folded weights and set batch normalization so that it changes nothing.

    Args:
        network: Changed in place.
        folded: By the names of the network's convolutions.
        x: Slices to measure channels on, shape (b, 1, h, w).

    Raises:
        ModelError: If a tensor is missing or has another shape.
    """
    convolutions = _normalized_convolutions(network)
    for name, (convolution, norm) in convolutions.items():
        try:
            weight, bias = folded[f"{name}.weight"], folded[f"{name}.weight_bias"]
            with torch.no_grad():
                convolution.weight.copy_(weight)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"the detector file has no weights for {name}: {error}") from error
        norm.register_forward_pre_hook(_Unfolding(bias))
    for head in ("cell_head", "type_head"):
        module = getattr(network, head)
        with torch.no_grad():
            module.weight.copy_(folded[f"{head}.weight"])
            module.bias.copy_(folded[f"{head}.bias"])
    network.eval()
    with torch.no_grad():
        network(x)
    for _, norm in convolutions.values():
        norm._forward_pre_hooks.clear()
    network.train()


class _Unfolding:
    """Set a batch normalization by the first activations that reach it.

    Args:
        bias: What the folded convolution added, shape (c,).
    """

    def __init__(self, bias: Tensor) -> None:
        self.bias = bias

    def __call__(self, norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        activations = inputs[0]
        mean = activations.mean((0, 2, 3))
        variance = activations.var((0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(self.bias + mean)


def _normalized_convolutions(network: Backbone) -> dict[str, tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each convolution with the batch normalization behind it, by name."""
    modules = dict(network.named_modules())
    pairs = {"stem.0": "stem.1"}
    for name in modules:
        if name.startswith("stages.") and name.split(".")[-1] in ("conv1", "conv2"):
            pairs[name] = name.replace("conv", "bn")
        elif name.endswith("downsample.0"):
            pairs[name] = name.removesuffix("0") + "1"
    return {name: (modules[name], modules[norm]) for name, norm in pairs.items()}


def _phantom_slices() -> Tensor:
    """Return normalized slices of phantoms, shape (b, 1, h, w)."""
    preprocessing = Preprocessing()
    dataset = SliceDataset(simulated_examples(STATISTICS_HEADS), preprocessing)
    items = {
        name: getattr(dataset, name) for name in ("image", "mask", "depth", "tumor_type", "kind")
    }
    return (to_batch(items).image - preprocessing.mean) / preprocessing.std
