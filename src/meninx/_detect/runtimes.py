"""Run a network with ONNX Runtime, which is imported when it is first used."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meninx._errors import ModelError
from meninx._processes import usable_cores

FloatBatch = NDArray[np.float32]
# Log level `error`: ONNX Runtime's warnings concern its own optimizer.
_LOG_ERRORS = 3
_CPU = "CPUExecutionProvider"
# Execution providers of ONNX Runtime, fastest first; an installed build has some of them.
_PROVIDERS = (
    "CUDAExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
    _CPU,
)


def thread_count(threads: int) -> int:
    """Return the number of threads to request of ONNX Runtime.

    ONNX Runtime does not read `OMP_NUM_THREADS`, with which job schedulers limit the cores of a
    process.

    Args:
        threads: Number given by the caller; 0 for that of the environment, else of all cores that
            the process may use.

    Returns:
        The number of threads.
    """
    # OpenMP allows a list, one number per level of nesting.
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return threads or (int(first) if first.isdecimal() else 0) or usable_cores()


def import_onnxruntime() -> Any:
    """Import ONNX Runtime with its telemetry off; the only place that imports it.

    `import meninx` has set the variable that it reads; the build for Windows has none and needs the
    call.

    Returns:
        The module.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


class OnnxNetwork:
    """A network run by ONNX Runtime, with the metadata of its file.

    Args:
        data: Bytes of an ONNX file.
        threads: Threads per slice.

    Raises:
        ModelError: If the bytes are no network that ONNX Runtime can load.
    """

    def __init__(self, data: bytes, threads: int) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _LOG_ERRORS
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=_providers())
        # ONNX Runtime's exceptions have no common base class.
        except (RuntimeError, ValueError, *_ort_errors()) as error:
            raise ModelError(f"no readable ONNX file: {error}") from error
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.on_gpu = self._session.get_providers()[0] != _CPU
        self._outputs = [output.name for output in self._session.get_outputs()]
        # Type and shape of each input by name; sizes that are not fixed are names or None.
        self.inputs = {node.name: (node.type, node.shape) for node in self._session.get_inputs()}

    def run(self, x: FloatBatch) -> Mapping[str, FloatBatch]:
        """Return the outputs by name; the input has shape (b, 3, h, w)."""
        found = self._session.run(self._outputs, {next(iter(self.inputs)): x})
        return dict(zip(self._outputs, found, strict=True))


def _providers() -> list[str]:
    """Return ONNX Runtime's providers of the installed build, the fastest first."""
    available = import_onnxruntime().get_available_providers()
    return [name for name in _PROVIDERS if name in available]


def _ort_errors() -> Any:
    state = import_onnxruntime().capi.onnxruntime_pybind11_state
    return (
        state.Fail,
        state.InvalidProtobuf,
        state.InvalidGraph,
        state.InvalidArgument,
        state.NotImplemented,
        state.NoSuchFile,
    )
