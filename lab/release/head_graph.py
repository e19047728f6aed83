"""Linear heads in a detector's graph, which recognize sequence, plane, skull and turn of a slice.

The heads are added to a finished file, in single precision or in 8-bit integers: its own weights
and outputs stay as they are, bit by bit.
Legend: b batch, f features, k kinds of all heads together, m side of the last stage's map.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from meninx._detect.engine import RECOGNITION

# Begins the name of everything that this module adds to a graph.
_PREFIX = "recognition_"
FEATURES = f"{_PREFIX}features"
# Cells of the last stage's map, along each side, that tell where structures lie.
GRID = 3
# Initializers by whose use the features are found: of the OOD model, and of the coarse cells.
_EARLY_CENTER, _CELL_WEIGHT = "center", "network.cell_head.weight"
_LAST_CHANNELS = 512


def without_heads(model: onnx.ModelProto) -> None:
    """Remove the heads from a model, changed in place; nothing where there are none."""
    graph = model.graph
    for values in (graph.node, graph.initializer, graph.output):
        kept = [value for value in values if not value.name.startswith(_PREFIX)]
        del values[:]
        values.extend(kept)
    kept = [output for output in graph.output if output.name != RECOGNITION]
    del graph.output[:]
    graph.output.extend(kept)


def add_features(model: onnx.ModelProto, side: int) -> None:
    """Add the features that the heads read, as the output `FEATURES`.

    They are the features of the OOD model, and the last stage's map averaged in a grid, whose
    parts tell where structures lie.

    Args:
        model: Detector with an OOD model and without heads, changed in place.
        side: Side of the last stage's map, cells.
    """
    graph = model.graph
    early = _input_beside(graph, _EARLY_CENTER)
    maps = _input_beside(graph, _CELL_WEIGHT)
    _add_constant(graph, "flat", np.array([0, _LAST_CHANNELS, side * side], dtype=np.int64))
    _add_constant(graph, "grid", _pooling(side))
    _add_node(graph, "Reshape", [maps, f"{_PREFIX}flat"], f"{_PREFIX}places")
    _add_node(graph, "MatMul", [f"{_PREFIX}places", f"{_PREFIX}grid"], f"{_PREFIX}parts")
    _add_node(graph, "Flatten", [f"{_PREFIX}parts"], f"{_PREFIX}late", axis=1)
    _add_node(graph, "Concat", [early, f"{_PREFIX}late"], FEATURES, axis=1)
    graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", None]))


def add_heads(
    model: onnx.ModelProto, side: int, weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    """Add the logits of all heads, as the output `RECOGNITION`.

    Args:
        model: Detector with an OOD model and without heads, changed in place.
        side: Side of the last stage's map, cells.
        weights: Weight of each feature for each kind, shape (f, k); stored in half precision.
        bias: Bias of each kind, shape (k,).
    """
    add_features(model, side)
    graph = model.graph
    graph.output.pop()
    _add_constant(graph, "weights_half", weights.astype(np.float16))
    _add_constant(graph, "bias", bias.astype(np.float32))
    to_float = {"to": TensorProto.FLOAT}
    _add_node(graph, "Cast", [f"{_PREFIX}weights_half"], f"{_PREFIX}weights", **to_float)
    # One node, because sums are rounded where a file is quantized.
    _add_node(graph, "Gemm", [FEATURES, f"{_PREFIX}weights", f"{_PREFIX}bias"], RECOGNITION)
    graph.output.append(
        helper.make_tensor_value_info(RECOGNITION, TensorProto.FLOAT, ["batch", len(bias)])
    )


def _input_beside(graph: onnx.GraphProto, initializer: str) -> str:
    """Return the tensor that a node combines with an initializer, quantized or not."""
    for node in graph.node:
        first, *others = node.input
        if initializer in others:
            return str(first)
    raise ValueError(f"the graph has no {initializer}, so its features can't be found")


def _pooling(side: int) -> NDArray[np.float32]:
    """Return the matrix that averages a map in a grid, as adaptive pooling does.

    Args:
        side: Side of the map, cells.

    Returns:
        Share of each cell in each part, shape (side * side, GRID * GRID).
    """
    along = np.zeros((side, GRID))
    for part in range(GRID):
        along[part * side // GRID : -(-(part + 1) * side // GRID), part] = 1
    along /= along.sum(axis=0)
    both = np.einsum("ia,jb->ijab", along, along)
    return np.asarray(both.reshape(side * side, GRID * GRID), dtype=np.float32)


def _add_constant(graph: onnx.GraphProto, name: str, values: NDArray[np.generic]) -> None:
    graph.initializer.append(numpy_helper.from_array(values, f"{_PREFIX}{name}"))


def _add_node(
    graph: onnx.GraphProto, kind: str, inputs: list[str], output: str, **attributes: int
) -> None:
    name = output if output.startswith(_PREFIX) else f"{_PREFIX}{output}"
    graph.node.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
