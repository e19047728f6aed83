"""Compute a network's outputs: by ONNX Runtime, or by OpenVINO where it is installed.

Each library is imported when it is first used: the command line lists both before.
"""

import os
import threading
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from meninx._errors import ModelError, OptionError

FloatBatch = NDArray[np.float32]
Runtime = Literal["onnxruntime", "onnxruntime-int8", "openvino", "openvino-bf16"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
# Log level `error`: ONNX Runtime's warnings are about its own optimizer.
LOG_ERRORS = 3
# Execution providers of ONNX Runtime, fastest first; the installed build has some of them.
PROVIDERS = (
    "CUDAExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
    "CPUExecutionProvider",
)


def asked_threads(threads: int) -> int:
    """Return how many threads a library is to use; 0 leaves that to it, and it takes all cores.

    Neither library reads `OMP_NUM_THREADS`, by which job schedulers and users say how many cores a
    process may have, and which NumPy and PyTorch follow.

    Args:
        threads: Number that the caller asks for; 0 for that of the environment.

    Returns:
        The number of threads.
    """
    # OpenMP allows a list, one number for each level of nesting.
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return threads or (int(first) if first.isdecimal() else 0)


class Network(Protocol):
    """A network that may be run from several threads at once."""

    def run(self, x: FloatBatch) -> Mapping[str, FloatBatch]:
        """Return a network's outputs by name; the input has shape (b, 3, h, w)."""


def import_onnxruntime() -> Any:
    """Import ONNX Runtime with its telemetry off; all that use it come here.

    `import meninx` has set the variable that it reads; the build for Windows knows none, and is
    asked.

    Returns:
        The module.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def import_openvino() -> Any:
    """Import OpenVINO; all that use it come here, for `import meninx` turned its telemetry off.

    Returns:
        The module.

    Raises:
        OptionError: If it is not installed.
    """
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise OptionError(
            "the runtime openvino is not installed: pip install 'meninx[openvino]'"
        ) from error
    return openvino


class OnnxNetwork:
    """A network that ONNX Runtime computes, with the metadata of its file.

    Args:
        data: Bytes of an ONNX file.
        threads: Threads that share one slice; 0 as `asked_threads` says.

    Raises:
        ModelError: If the bytes are no network that ONNX Runtime can load.
    """

    def __init__(self, data: bytes, threads: int) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = LOG_ERRORS
        options.intra_op_num_threads = asked_threads(threads)
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=_providers())
        # ONNX Runtime's exceptions have no common base but this.
        except (RuntimeError, ValueError, *_ort_errors()) as error:
            raise ModelError(f"no readable ONNX file: {error}") from error
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, x: FloatBatch) -> Mapping[str, FloatBatch]:
        """Return the outputs by name; the input has shape (b, 3, h, w)."""
        found = self._session.run(self._outputs, {"x": x})
        return dict(zip(self._outputs, found, strict=True))


def _providers() -> list[str]:
    """Return ONNX Runtime's providers of the installed build, the fastest first."""
    there = import_onnxruntime().get_available_providers()
    return [name for name in PROVIDERS if name in there]


class OpenVinoNetwork:
    """A network that OpenVINO computes.

    Args:
        data: Bytes of an ONNX file.
        threads: Threads that share one slice; 0 as `asked_threads` says.
        precision: Number format of the arithmetic, `f32` or `bf16`; the latter is faster where the
            processor has it (AVX512_BF16, AMX), and not used where it has not.

    Raises:
        OptionError: If OpenVINO is not installed.
    """

    def __init__(self, data: bytes, threads: int, precision: Literal["f32", "bf16"]) -> None:
        openvino = import_openvino()
        # By itself OpenVINO picks bfloat16 on some processors: answers would depend on the machine.
        wanted: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if asked := asked_threads(threads):
            wanted["INFERENCE_NUM_THREADS"] = asked
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(model=data), "CPU", wanted)
        self._request = compiled.create_infer_request()
        # For the shortest latency OpenVINO computes one request at a time. Several threads, each
        # with a request of its own, gain nothing, and one run in fifteen stood still (2026.4).
        self._turn = threading.Lock()

    def run(self, x: FloatBatch) -> Mapping[str, FloatBatch]:
        """Return the outputs by name; the input has shape (b, 3, h, w)."""
        with self._turn:
            found = self._request.infer({"x": x})
            return {key.any_name: np.array(value) for key, value in found.items()}


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
