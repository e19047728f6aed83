"""Write a trained network as one detector file."""

import copy
import dataclasses
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from meninx._detect.calibration import Calibration
from meninx._detect.model_card import NOT_RECORDED, SEEN_DIGITS, ModelCard, SeenSlices
from meninx._detect.neighbors import CHANNELS
from meninx._errors import ModelError
from meninx._labels import TYPE_NAMES
from meninx._learn.file.ood_model import HALVED, DetectorGraph, OodModel
from meninx._learn.model.network import Backbone, check_backbone, set_weights
from meninx._learn.recipe import Recipe

_OPSET = 18
# Key of the safetensors' metadata.
SEEN_KEY, SLICES_KEY, LICENSE_KEY = "seen", "seen_slices", "license"
# Smallest number of values of a tensor that is halved; smaller ones, such as biases, are not.
_MIN_HALVED = 1024


@dataclass(frozen=True)
class Origin:
    """Provenance of weights from which a training starts.

    Args:
        seen: First digits of the SHA-256 of the files that they were fitted on; empty where not
            recorded.
        license: License that their training data require; empty for the license of the code.
        seen_slices: Record of the slices in those files.
    """

    seen: tuple[str, ...] = ()
    license: str = ""
    seen_slices: SeenSlices = NOT_RECORDED


@dataclass(frozen=True)
class TrainingData:
    """The data that a detector was fitted on.

    Args:
        manifest_sha256: SHA-256 of the training set's manifest.
        seen: SHA-256 of every file that it learned from, chose its epoch by or was calibrated on.
        leaking: Whether its folds share slices or patients.
        license: License of the weights that the training started from; empty for that of the code.
        types: Tumor types that it could learn, in the order of `labels.TYPE_NAMES`; empty if no
            picture has a known type.
        seen_slices: Record of the slices in all files that it, and the weights it started from,
            were fitted on.
        inherited_types: Whether only the weights that it started from learned the types.
    """

    manifest_sha256: str
    seen: tuple[str, ...] = ()
    leaking: bool = False
    license: str = ""
    types: tuple[str, ...] = TYPE_NAMES
    seen_slices: SeenSlices = NOT_RECORDED
    inherited_types: bool = False


def export_detector(
    network: Backbone,
    recipe: Recipe,
    calibration: Calibration,
    path: Path,
    training_data: TrainingData,
    ood_model: OodModel | None = None,
) -> None:
    """Write a network as one ONNX file for prediction, and its weights as safetensors.

    Args:
        network: The trained network.
        recipe: Recipe of its training.
        calibration: Calibrators fitted on held-out pictures.
        path: ONNX file to write; the weights go beside it, with the suffix `.safetensors`.
        training_data: Data that it was fitted on.
        ood_model: Out-of-distribution model; None for a detector that refuses by rules only.
    """
    network = copy.deepcopy(network).cpu().float().eval()
    names = ["cell_logits", "type_logits", "distance"][: 3 if ood_model else 2]
    size = recipe.preprocessing.size
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "network.onnx"
        torch.onnx.export(
            DetectorGraph(network, ood_model).eval(),
            (torch.zeros(2, CHANNELS, size, size),),
            plain,
            input_names=["x"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=_OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        model = onnx.load(plain)
    card = ModelCard(
        name=recipe.name,
        preprocessing=recipe.preprocessing,
        calibration=calibration,
        types=training_data.types,
        manifest_sha256=training_data.manifest_sha256,
        top_cells=network.top_cells,
        seen=tuple(sorted({value[:SEEN_DIGITS] for value in training_data.seen})),
        seen_slices=training_data.seen_slices,
        leaking=training_data.leaking,
        ood_threshold=ood_model.threshold if ood_model else None,
        license=training_data.license,
        backbone=network.backbone_name,
        inherited_types=training_data.inherited_types,
    )
    # The exporter's notes contain paths of this machine, so they are removed.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, card.to_metadata())
    store_weights_in_half(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    origin = Origin(card.seen, card.license, card.seen_slices)
    save_weights(network, recipe, path.with_suffix(".safetensors"), origin)


def save_weights(network: Backbone, recipe: Recipe, path: Path, origin: Origin = Origin()) -> None:
    """Write a network's weights in half precision.

    Args:
        network: The trained network.
        recipe: Recipe of its training.
        path: Safetensors file to write.
        origin: Provenance of the weights, for trainings that start from them.
    """
    weights = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    save_file(weights, path, metadata={"recipe": recipe.name, **_metadata_of(origin)})


def _metadata_of(origin: Origin) -> dict[str, str]:
    """Return a provenance as metadata of a safetensors file."""
    return {
        SEEN_KEY: " ".join(origin.seen),
        SLICES_KEY: json.dumps(origin.seen_slices.as_json()),
        LICENSE_KEY: origin.license,
    }


def load_weights(network: Backbone, path: Path) -> Origin:
    """Fill a network with the weights that `export_detector` wrote.

    Args:
        network: Network to fill, changed in place.
        path: Safetensors file to read.

    Returns:
        Their provenance. Where the file has no license, that of the detector beside it counts.

    Raises:
        ModelError: If the file can't be read or has the weights of another network.
    """
    try:
        weights = load_file(path)
        check_backbone(network, weights)
        set_weights(network, weights)
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
    except (OSError, RuntimeError, SafetensorError, ModelError) as error:
        raise ModelError(f"{path}: not the weights of this network: {error}") from error
    license_ = metadata.get(LICENSE_KEY) or _license_of(path.with_suffix(".onnx"))
    return Origin(tuple(metadata.get(SEEN_KEY, "").split()), license_, _slices_in(metadata))


def _slices_in(metadata: Mapping[str, str]) -> SeenSlices:
    """Return the record of slices; an incomplete one for weights of other programs."""
    try:
        return SeenSlices.from_json(json.loads(metadata[SLICES_KEY]))
    except (KeyError, TypeError, ValueError):
        return NOT_RECORDED


def _license_of(detector: Path) -> str:
    """Return the license in a detector file; empty where there is none."""
    if not detector.is_file():
        return ""
    return _card_of(onnx.load(detector, load_external_data=False)).license


def _card_of(model: onnx.ModelProto) -> ModelCard:
    return ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})


def store_weights_in_half(model: onnx.ModelProto) -> None:
    """Halve a model's file: weights become 16-bit floats, cast to 32 bits when it is loaded.

    Arithmetic stays in 32 bits, so speed is unchanged; rounding a weight to 11 bits moves a logit
    by about a thousandth of its spread.

    Args:
        model: Model to change in place.
    """
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MIN_HALVED:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}{HALVED}"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}{HALVED}"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def recalibrate(
    path: Path,
    calibration: Calibration,
    seen: Iterable[str] = (),
    ood_threshold: float | None = None,
    seen_slices: SeenSlices | None = None,
) -> None:
    """Replace the calibration in a detector file.

    Args:
        path: ONNX file, rewritten in place.
        calibration: The new calibrators.
        seen: SHA-256 of the files that they were fitted on.
        ood_threshold: New out-of-distribution threshold; None to leave it as it is.
        seen_slices: New record of all slices that it was fitted on; None to leave it as it is.
    """
    model = onnx.load(path)
    card = _card_of(model)
    known = {*card.seen, *(value[:SEEN_DIGITS] for value in seen)}
    card = dataclasses.replace(card, calibration=calibration, seen=tuple(sorted(known)))
    if ood_threshold is not None:
        card = dataclasses.replace(card, ood_threshold=ood_threshold)
    if seen_slices is not None:
        card = dataclasses.replace(card, seen_slices=seen_slices)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, card.to_metadata())
    onnx.save(model, path)
