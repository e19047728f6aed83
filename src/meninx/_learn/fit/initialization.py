"""Initialize a network: random weights, those of the shipped detector, or those of ImageNet."""

import logging
import pickle
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torchvision.models import get_model_weights

from meninx._data.facts import sha256_of
from meninx._detect.loading import shipped_detector, shipped_sha256
from meninx._detect.model_card import NOTHING_SEEN
from meninx._errors import ModelError, OptionError
from meninx._learn.file.export import Origin, load_weights
from meninx._learn.model.network import Backbone, CellNetwork, check_backbone, set_weights

# Shares of a gray picture's filter for the slice below, the slice and the slice above.
_NEIGHBOR_SHARES = (0.15, 0.7, 0.15)

log = logging.getLogger(__name__)


def initialize(
    network: Backbone, name: str, weights: Path | None = None, sha256: str | None = None
) -> Origin:
    """Fill a network with its first weights.

    Args:
        network: Network with random weights; changed in place.
        name: Name of the initialization: `random`, `meninx` or `imagenet`.
        weights: File of the weights: torchvision's for the same backbone for `imagenet`, else the
            safetensors of a run. None for the default file of the name.
        sha256: SHA-256 that the file must have; None to accept any.

    Returns:
        Provenance of the weights.

    Raises:
        ModelError: If the file can't be read, has another SHA-256, or does not fit the network.
        OptionError: If a SHA-256 is given without a file.
    """
    if weights is None and sha256 is not None:
        raise OptionError("--sha256 names no file; add --weights FILE")
    if weights is not None:
        _check_sha256(weights, sha256)
    if name == "imagenet":
        _fill_from_imagenet(network, weights or _imagenet_file(network.backbone_name))
    elif weights is not None:
        return load_weights(network, weights)
    elif name == "meninx":
        return fill_from_shipped(network)
    return Origin(seen_slices=NOTHING_SEEN)


def _check_sha256(path: Path, expected: str | None) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file; name a file of weights with --weights")
    found = sha256_of(path)
    if expected is not None and found != expected.lower():
        raise ModelError(f"{path}: SHA-256 {found}, expected {expected}; download it again")
    log.info("weights from %s, SHA-256 %s", path, found)


def _imagenet_file(backbone: str) -> Path:
    """Return torchvision's file of a backbone, downloaded if it is not here."""
    url = get_model_weights(backbone)["IMAGENET1K_V1"].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # torchvision's file name ends in the first digits of the SHA-256.
    prefix = path.stem.rsplit("-", 1)[-1]
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"{url}: can't be downloaded: {error}; without network, copy the file here and name it "
            "with --weights FILE --sha256 HEX"
        ) from error
    return path


def _fill_from_imagenet(network: Backbone, path: Path) -> None:
    """Fill the backbone with torchvision's ResNet; the heads stay as they are.

    The filters of the three colors are summed and shared among the slice and its neighbors by
    `_NEIGHBOR_SHARES`, because colors are aligned and slices are not.

    Args:
        network: Network to fill, changed in place.
        path: torchvision's `.pth` file, or the same weights as safetensors.

    Raises:
        ModelError: If the file can't be read or has another network.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        gray = state["conv1.weight"].sum(1, keepdim=True)
        renamed = {"stem.0.weight": gray * torch.tensor(_NEIGHBOR_SHARES).view(1, -1, 1, 1)}
        for name, tensor in state.items():
            if name.startswith("bn1."):
                renamed[f"stem.1.{name.removeprefix('bn1.')}"] = tensor
            elif name.startswith("layer"):
                stage, rest = name.removeprefix("layer").split(".", 1)
                renamed[f"stages.{int(stage) - 1}.{rest}"] = tensor
        known = network.state_dict()
        expected = {name for name in known if name.startswith(("stem.", "stages."))}
        check_backbone(network, renamed)
        missing = expected - set(renamed)
        if missing:
            raise ModelError(f"{sorted(missing)[0]} is missing")
        network.load_state_dict(known | {name: renamed[name] for name in expected})
    except (
        OSError,
        ModelError,
        RuntimeError,
        KeyError,
        ValueError,
        SafetensorError,
        AttributeError,
        TypeError,
        pickle.UnpicklingError,
    ) as error:
        raise ModelError(f"{path}: no fitting ResNet of torchvision: {error}") from error


def fill_from_shipped(network: Backbone) -> Origin:
    """Fill a network with the shipped detector's weights.

    Args:
        network: Network to fill, changed in place; its backbone must be that of the shipped
            detector. A pooled network takes only the backbone.

    Returns:
        Provenance of the shipped detector's weights.

    Raises:
        ModelError: If the shipped file is missing or damaged, or does not fit the backbone.
    """
    path = shipped_detector("fp32").with_suffix(".safetensors")
    _check_sha256(path, shipped_sha256(path))
    source = CellNetwork(backbone=network.backbone_name)
    origin = load_weights(source, path)
    state = source.state_dict()
    if not isinstance(network, CellNetwork):
        # The heads of a pooled network read other features, so they keep their random weights.
        heads = {name: value for name, value in network.state_dict().items() if "_head." in name}
        state = heads | {
            name: value for name, value in state.items() if name.startswith(("stem.", "stages."))
        }
    set_weights(network, state)
    return origin
