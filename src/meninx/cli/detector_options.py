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
        help="Library and precision that compute. ONNX Runtime uses a GPU where its installed "
        "build supports one. onnxruntime-int8 takes the shipped detector in 8-bit integers: "
        "fastest, with answers that differ a little. openvino and openvino-bf16 need the extra "
        "`openvino`; the latter is faster on processors that have bfloat16.",
    ),
]
