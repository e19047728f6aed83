"""Options of the verbs that score scans: paths, detector file, runtime."""

from pathlib import Path
from typing import Annotated

import typer

from meninx.detect.runtimes import Runtime

PathsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help="Pictures, NIfTI or DICOM files, folders or zips of these.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", help="Detector file to use instead of the shipped one.", show_default=False
    ),
]
RuntimeOption = Annotated[
    Runtime,
    typer.Option(
        "--runtime",
        help="Library that computes. onnxruntime takes the shipped detector in 8-bit integers, or "
        "in single precision on a GPU that its installed build supports; onnxruntime-fp32 and "
        "openvino (which needs the extra of that name) take it in single precision.",
    ),
]
