"""Run a network with ONNX Runtime or, if installed, OpenVINO.

Each library is imported when it is first used, because the command line only lists their names.
"""

import os
import threading
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from meninx._errors import ModelError, OptionError
from meninx._extras import install_command

FloatBatch = NDArray[np.float32]
Runtime = Literal["onnxruntime", "onnxruntime-int8", "openvino", "openvino-bf16"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
# Log level `error`: ONNX Runtime's warnings concern its own optimizer.
_LOG_ERRORS = 3
# Execution providers of ONNX Runtime, fastest first; an installed build has some of them.
_PROVIDERS = (
    "CUDAExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
    "CPUExecutionProvider",
)


def requested_threads(threads: int) -> int:
    """Return the number of threads to request from a library; 0 for all cores.

    Neither library reads `OMP_NUM_THREADS`, with which job schedulers limit the cores of a process.

    Args:
        threads: Number given by the caller; 0 for that of the environment.

    Returns:
        The number of threads.
    """
    # OpenMP allows a list, one number per level of nesting.
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return threads or (int(first) if first.isdecimal() else 0)


class Network(Protocol):
    """A network that may be run from several threads at once."""

    def run(self, x: FloatBatch) -> Mapping[str, FloatBatch]:
        """Return a network's outputs by name; the input has shape (b, 3, h, w)."""


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


def import_openvino() -> Any:
    """Import OpenVINO, whose telemetry `import meninx` turned off; the only place that imports it.

    Returns:
        The module.

    Raises:
        OptionError: If it is not installed.
    """
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise OptionError(
            f"the runtime openvino is not installed: {install_command('openvino')}"
        ) from error
    return openvino


class OnnxNetwork:
    """A network run by ONNX Runtime, with the metadata of its file.

    Args:
        data: Bytes of an ONNX file.
        threads: Threads per slice; 0 for the default of `requested_threads`.

    Raises:
        ModelError: If the bytes are no network that ONNX Runtime can load.
    """

    def __init__(self, data: bytes, threads: int) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _LOG_ERRORS
        options.intra_op_num_threads = requested_threads(threads)
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=_providers())
        # ONNX Runtime's exceptions have no common base class.
        except (RuntimeError, ValueError, *_ort_errors()) as error:
            raise ModelError(f"no readable ONNX file: {error}") from error
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
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


class OpenVinoNetwork:
    """A network run by OpenVINO.

    Args:
        data: Bytes of an ONNX file.
        threads: Threads per slice; 0 for the default of `requested_threads`.
        precision: Number format of the arithmetic: `f32`, or `bf16`, which is used only on CPUs
            that support it (AVX512_BF16, AMX) and faster there.

    Raises:
        OptionError: If OpenVINO is not installed.
    """

    def __init__(self, data: bytes, threads: int, precision: Literal["f32", "bf16"]) -> None:
        openvino = import_openvino()
        # The default is bfloat16 on some CPUs: results would depend on the machine.
        wanted: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if requested := requested_threads(threads):
            wanted["INFERENCE_NUM_THREADS"] = requested
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(model=data), "CPU", wanted)
        self._request = compiled.create_infer_request()
        # Optimized for latency, OpenVINO computes one request at a time. A request per thread is
        # not faster, and one run in fifteen hung (2026.4).
        self._lock = threading.Lock()

    def run(self, x: FloatBatch) -> Mapping[str, FloatBatch]:
        """Return the outputs by name; the input has shape (b, 3, h, w)."""
        with self._lock:
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
