"""Draw the heat map behind a finding: `meninx explain PATH... --output DIR`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meninx.cli.detector_options import ModelOption, PathsArgument, SpacingOption
from meninx.cli.extras import needs_extra
from meninx.cli.output import SOME_NOT_SCORED, check_paths, make_folder, save_picture
from meninx.cli.progress import with_progress
from meninx.errors import ModelError

if TYPE_CHECKING:
    from meninx.detect.detector import Detector
    from meninx.learn.network import Backbone


def explain(
    paths: PathsArgument,
    output: Annotated[Path, typer.Option(help="Folder for one picture a scan.")] = Path(
        "explanations"
    ),
    model: ModelOption = None,
    spacing: SpacingOption = None,
    method: Annotated[
        Literal["cells", "grad-cam", "grad-cam++", "layercam"],
        typer.Option(
            help="Method of the heat map: the detector's own cells, or a gradient method, which "
            "needs the extra train and the weights beside the detector file."
        ),
    ] = "cells",
) -> None:
    """Draw the hottest slice with its heat map, contour and scale, and the scores of all slices.

    A heat map is checked first: where no place stands out, or occluding the hottest place does not
    lower the score, it is not drawn, and the picture says so. Exit status: 0 if every scan was
    scored, 1 if some were refused, came incomplete or could not be read, 2 for wrong usage. For
    research, not for diagnosis.
    """
    from meninx.detect.loading import load_detector
    from meninx.render.bundle import Bundle
    from meninx.scan.completeness import incomplete_message
    from meninx.scan.geometry import spacing_from_text

    check_paths(paths)
    size = None if spacing is None else spacing_from_text(spacing)
    detector = load_detector(model)
    network = None if method == "cells" else _network_of(detector, model)
    make_folder(output, "--output")
    some_not_scored = False
    for scan, findings in with_progress(detector, paths, size):
        if scan is None or findings.status != "scored":
            some_not_scored = True
            typer.echo(f"{findings.scan}: {findings.status}: {findings.message}", err=True)
            continue
        if network is not None:
            from meninx.learn.attribution import with_attribution

            findings = with_attribution(detector, network, scan, findings, method)
        bundle = Bundle(detector, scan, findings)
        path = save_picture(bundle.sheet(), bundle, output)
        some_not_scored = some_not_scored or bool(findings.incomplete)
        remarks = (bundle.withheld, incomplete_message(findings.incomplete))
        said = "".join(f"; {remark}" for remark in remarks if remark)
        typer.echo(
            f"{path}: contrast of the map {bundle.check.contrast:.2f}, "
            f"drop in logit when occluded {bundle.check.drop:.1f}{said}"
        )
    if some_not_scored:
        raise typer.Exit(SOME_NOT_SCORED)


def _network_of(detector: "Detector", model: Path | None) -> "Backbone":
    """Return a detector's network in PyTorch, with the weights beside its file."""
    from meninx.detect.loading import shipped_detector

    with needs_extra("train"):
        import pytorch_grad_cam  # noqa: F401

        from meninx.learn.export import load_weights
        from meninx.learn.network import network_of
    weights = (model or shipped_detector()).with_suffix(".safetensors")
    if not weights.is_file():
        raise ModelError(
            f"{weights}: no weights beside the detector file; gradient methods need the "
            "detector.safetensors that `meninx train` wrote there"
        )
    network = network_of(detector.card.top_cells)
    load_weights(network, weights)
    return network
