"""Run a detector file with ONNX Runtime."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from meninx.detect.model_card import ModelCard
from meninx.errors import ModelError

FloatBatch = NDArray[np.float32]
# Errors only: ONNX Runtime's warnings are about its own optimizer.
LOG_ERRORS = 3
OUTPUTS = ("cell_logits", "type_logits", "distance")


class Output(NamedTuple):
    """Hold what the network says of b slices.

    Args:
        cell_logits: Shape (b, m, n).
        type_logits: Shape (b, types).
        distance: How far each slice's features lie from those that the network knows, shape (b,);
            0 where the detector has learned nothing of it.
    """

    cell_logits: FloatBatch
    type_logits: FloatBatch
    distance: FloatBatch

    @classmethod
    def joined(cls, parts: Sequence["Output"]) -> "Output":
        """Return the outputs of several batches as one."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Engine:
    """Hold a network ready to run, and its card.

    An ONNX Runtime session may be run from several threads at once.

    Args:
        path: The ONNX file.
        threads: That share one slice; 0 for all cores. Where several scans are scored at a time,
            1 is faster.

    Raises:
        ModelError: If it can't be read or is no detector.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: the detector file can't be read: {error}") from error
        self.sha256 = hashlib.sha256(data).hexdigest()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = LOG_ERRORS
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime's exceptions have no common base but this.
        except (RuntimeError, ValueError, *_ort_errors()) as error:
            raise ModelError(f"{path}: no readable ONNX file: {error}") from error
        told = {output.name for output in self._session.get_outputs()}
        self._outputs = [name for name in OUTPUTS if name in told]
        try:
            self.card = ModelCard.from_metadata(self._session.get_modelmeta().custom_metadata_map)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error

    def run(self, x: FloatBatch) -> Output:
        """Return what the network says of normalized slices.

        Args:
            x: Shape (b, 1, h, w).

        Returns:
            Logits and distances.
        """
        found = dict(zip(self._outputs, self._session.run(self._outputs, {"x": x}), strict=True))
        return Output(
            found["cell_logits"],
            found["type_logits"],
            found.get("distance", np.zeros(len(x), dtype=np.float32)),
        )


def _ort_errors() -> Any:
    state = onnxruntime.capi.onnxruntime_pybind11_state
    return (state.Fail, state.InvalidProtobuf, state.InvalidGraph, state.InvalidArgument,
            state.NotImplemented, state.NoSuchFile)  # fmt: skip
