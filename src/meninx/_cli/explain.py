"""Draw the heat map behind a finding: `meninx explain PATH... --output DIR`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.options import ModelOption, PathsArgument, SpacingOption, parse_spacing
from meninx._cli.output import SOME_NOT_SCORED, all_answered, distinct_paths, make_folder
from meninx._cli.progress import with_progress
from meninx._errors import ModelError

if TYPE_CHECKING:
    from meninx._detect.detector import Detector
    from meninx._learn.model.attribution import Method
    from meninx._learn.model.network import Backbone
    from meninx._render.result import Result


def explain(
    paths: PathsArgument,
    output: Annotated[Path, typer.Option(help="Folder for one picture per scan.")] = Path(
        "explanations"
    ),
    model: ModelOption = None,
    spacing: SpacingOption = None,
    method: Annotated[
        Literal["cells", "grad-cam"],
        typer.Option(
            help="Method of the heat map: the detector's own cells, or Grad-CAM, which needs the "
            "extra train and the weights beside the detector file."
        ),
    ] = "cells",
) -> None:
    """Draw heat map and scores behind an answer.

    The picture has the hottest slice, plain and with heat map, contour and scale, and the scores of
    all slices.

    A heat map is checked first. If no place stands out, or occluding the hottest place does not
    lower the score, it is not drawn, and the picture says so. Exit status: 0 if every scan was
    scored, 1 if some were refused, incomplete or unreadable, 2 for wrong usage. For research, not
    for diagnosis.
    """
    from meninx._detect.loading import load_detector
    from meninx._scoring.loop import write_all

    paths = distinct_paths(paths)
    size = parse_spacing(spacing)
    detector = load_detector(model)
    network = None if method == "cells" else _network_of(detector, model)
    make_folder(output, "--output")
    results = with_progress(detector, paths, size)
    if network is not None:
        results = (_attributed(detector, network, result, method) for result in results)
    if not all_answered(list(write_all(results, [_Sheets(output)]))):
        raise typer.Exit(SOME_NOT_SCORED)


class _Sheets:
    """A writer of explanation sheets, which prints a line for each.

    Args:
        folder: Folder to write into; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, result: "Result") -> None:
        """Write the sheet of a scan, or report why it was not scored."""
        from meninx._scan.completeness import incomplete_message
        from meninx._scoring.writers import save_picture

        findings = result.findings
        if not result.scored:
            typer.echo(f"{findings.scan}: {findings.status}: {findings.message}", err=True)
            return
        path = save_picture(result.sheet(), result, self._folder)
        doubts = [warning.text for warning in findings.warnings]
        remarks = (result.withheld, incomplete_message(findings.incomplete), *doubts)
        remark = "".join(f"; {text}" for text in remarks if text)
        typer.echo(
            f"{path}: contrast of the map {result.check.contrast:.2f}, "
            f"drop in logit when occluded {result.check.drop:.1f}{remark}"
        )


def _attributed(
    detector: "Detector", network: "Backbone", result: "Result", method: "Method"
) -> "Result":
    """Return a result with Grad-CAM's maps instead of the detector's."""
    from meninx._learn.model.attribution import with_attribution

    if not result.scored:
        return result
    scan = result.scored_scan
    return result.with_findings(with_attribution(detector, network, scan, result.findings, method))


def _network_of(detector: "Detector", model: Path | None) -> "Backbone":
    """Return a detector's network in PyTorch, with the weights beside its file."""
    from meninx._detect.loading import shipped_detector

    with needs_extra("train"):
        import pytorch_grad_cam  # noqa: F401

        from meninx._learn.file.export import load_weights
        from meninx._learn.model.network import network_of
    weights = (model or shipped_detector("fp32")).with_suffix(".safetensors")
    if not weights.is_file():
        raise ModelError(
            f"{weights}: no weights beside the detector file; Grad-CAM needs the "
            "detector.safetensors that `meninx train` wrote there"
        )
    network = network_of(detector.card)
    load_weights(network, weights)
    return network
