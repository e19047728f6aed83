"""Options of the verbs that score scans: paths, detector file, runtime."""

from pathlib import Path
from typing import Annotated

import typer

from meninx._detect.runtimes import Runtime

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
SpacingOption = Annotated[
    str | None,
    typer.Option(
        "--spacing",
        metavar="X,Y,Z",
        help="Size of a voxel along the file's three axes, mm, such as 0.9,0.9,6.5: for volumes "
        "whose files lost it (NIfTI and the like; DICOM keeps its own). Without it a size that "
        "can't be is estimated from the slices, with a warning.",
        show_default=False,
    ),
]
