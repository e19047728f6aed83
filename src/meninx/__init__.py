"""Find tumors in brain MRI and state how reliable each answer is. For research, not for diagnosis.

import meninx

detector = meninx.load_detector()
for findings in map(detector.score, meninx.read_scans("study/")):
    print(findings.scan, findings.decision, findings.probability)

Users may rely on the names in `__all__`; all modules are private.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from meninx._errors import (
    DataError,
    GeometryError,
    InputError,
    LimitExceeded,
    MeninxError,
    ModelError,
    OptionError,
    SeveralInputErrors,
    UnreadableFile,
    UnsupportedScan,
)
from meninx._quiet import turn_off_telemetry
from meninx._version import __version__ as __version__

if TYPE_CHECKING:
    from meninx._assess.evaluate_model import evaluate
    from meninx._assess.evaluation import Evaluation
    from meninx._clinic.results import write_dicom_results
    from meninx._detect.detector import Detector
    from meninx._detect.findings import Findings, SliceFinding, StudyFindings
    from meninx._detect.loading import load_detector
    from meninx._learn.fit.from_data import train
    from meninx._learn.fit.training import Run
    from meninx._render.result import Result, explain
    from meninx._scan.reading import read_scans
    from meninx._scan.scan import Scan

__all__ = [
    "DataError",
    "Detector",
    "Evaluation",
    "Findings",
    "GeometryError",
    "InputError",
    "LimitExceeded",
    "MeninxError",
    "ModelError",
    "OptionError",
    "Result",
    "Run",
    "Scan",
    "SeveralInputErrors",
    "SliceFinding",
    "StudyFindings",
    "UnreadableFile",
    "UnsupportedScan",
    "evaluate",
    "explain",
    "load_detector",
    "read_scans",
    "train",
    "write_dicom_results",
]

# Before ONNX Runtime is imported, in every process.
turn_off_telemetry()

# Modules that need NumPy, pydicom or the engine are imported on first access, so that `import
# meninx` and every command's --help are fast.
_LAZY = {
    "Detector": "meninx._detect.detector",
    "Evaluation": "meninx._assess.evaluation",
    "Findings": "meninx._detect.findings",
    "Result": "meninx._render.result",
    "Run": "meninx._learn.fit.training",
    "Scan": "meninx._scan.scan",
    "SliceFinding": "meninx._detect.findings",
    "StudyFindings": "meninx._detect.findings",
    "evaluate": "meninx._assess.evaluate_model",
    "explain": "meninx._render.result",
    "load_detector": "meninx._detect.loading",
    "read_scans": "meninx._scan.reading",
    "train": "meninx._learn.fit.from_data",
    "write_dicom_results": "meninx._clinic.results",
}
# The extra that brings the packages of a room.
_EXTRAS = {"_assess": "evidence", "_clinic": "hospital", "_learn": "train"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        place = _LAZY[name]
        try:
            return getattr(import_module(place), name)
        except ModuleNotFoundError as error:
            extra = _EXTRAS.get(place.split(".")[1])
            if extra is None:
                raise
            from meninx._extras import install_command

            message = f"meninx.{name} needs {error.name}: {install_command(extra)}"
            raise ModuleNotFoundError(message, name=error.name) from error
    raise AttributeError(f"module 'meninx' has no attribute {name!r}")
