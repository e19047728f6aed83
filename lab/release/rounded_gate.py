"""Fit the gate of the detector in 8-bit integers, on its own features.

Rounding noise moves the features, so the OOD model of single precision would refuse other pictures.
Run by lab/release/ship.py.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor

from meninx._detect.preprocessing import Preprocessing
from meninx._detect.runtimes import import_onnxruntime, thread_count
from meninx._learn.file.ood_model import Features, OodModel, fit_ood_model
from meninx._learn.input.dataset import SliceDataset

_HALF = "_half"


def graph_features(path: Path) -> Features:
    """Return the features from which a detector file computes its OOD score.

    Args:
        path: Detector file with an OOD model, in any number format.

    Returns:
        Function of normalized slices with their neighbors, (b, 3, h, w) to (b, f).
    """
    model = onnx.load(path)
    (name,) = [node.input[0] for node in model.graph.node if list(node.input[1:]) == ["center"]]
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count(0)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def features(x: Tensor) -> NDArray[np.float64]:
        (found,) = session.run([name], {"x": x.numpy()})
        return np.asarray(found, dtype=np.float64)

    return features


def refit_gate(
    path: Path, known: SliceDataset, preprocessing: Preprocessing, heads: Sequence[Path]
) -> None:
    """Fit the OOD model of a detector file on its own features.

    Args:
        path: Detector file with an OOD model, rewritten in place.
        known: Slices that it learned from, at the size of its input.
        preprocessing: Preprocessing of the detector.
        heads: Packed real heads, for slices without brain.
    """
    fitted = fit_ood_model(graph_features(path), known, preprocessing, heads)
    if fitted is None:
        raise SystemExit(f"{path}: too few slices to fit the gate on")
    replace_ood_model(path, fitted)


def replace_ood_model(path: Path, fitted: OodModel) -> None:
    """Write another OOD model into a detector file."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        name = tensor.name.removesuffix(_HALF)
        if name in vars(fitted):
            values = getattr(fitted, name)
            if tensor.name.endswith(_HALF):
                values = values.astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)
