"""Run a detector file with ONNX Runtime."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from meninx.detect.model_card import ModelCard
from meninx.errors import ModelError

FloatBatch = NDArray[np.float32]
# Errors only: ONNX Runtime's warnings are about its own optimizer.
LOG_ERRORS = 3


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
        try:
            self.card = ModelCard.from_metadata(self._session.get_modelmeta().custom_metadata_map)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error

    def run(self, x: FloatBatch) -> tuple[FloatBatch, FloatBatch]:
        """Return the logits of normalized slices.

        Args:
            x: Shape (b, 1, h, w).

        Returns:
            Cell logits, shape (b, m, n), and type logits, shape (b, types).
        """
        cell_logits, type_logits = self._session.run(["cell_logits", "type_logits"], {"x": x})
        return cell_logits, type_logits


def _ort_errors() -> Any:
    state = onnxruntime.capi.onnxruntime_pybind11_state
    return (state.Fail, state.InvalidProtobuf, state.InvalidGraph, state.InvalidArgument,
            state.NotImplemented, state.NoSuchFile)  # fmt: skip
