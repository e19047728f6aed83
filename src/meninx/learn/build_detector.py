"""Make a detector file of a trained network: the one place where training ends."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from meninx.detect.calibration import Calibration
from meninx.detect.detector import Detector
from meninx.detect.preprocessing import Preprocessing
from meninx.learn.compress import factorize
from meninx.learn.dataset import CONTEXT, SliceDataset
from meninx.learn.export import Origin, export_detector, recalibrate
from meninx.learn.gate import fit_ood_model
from meninx.learn.network import Backbone, CellNetwork
from meninx.learn.recipe import Recipe
from meninx.learn.type_head import fit_type_head
from meninx.learn.volume_calibration import fit_volume_calibrator

# Slices of each kind by which convolutions are factorized, tumors and none, real and simulated.
FACTORIZED_BY = 128

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildOptions:
    """What is done to a trained network before it is written.

    Args:
        kept: Share of the variance of each convolution's answers that low-rank factorization keeps,
            0..1; 1 leaves convolutions whole.
        types: Whether the type head is fitted again, on features that stay as they are.
    """

    kept: float = 1.0
    types: bool = False


def build_detector(
    network: Backbone,
    recipe: Recipe,
    slices: SliceDataset,
    path: Path,
    origin: Origin,
    *,
    calibration: Calibration,
    heads: Sequence[Path] = (),
    options: BuildOptions | None = None,
) -> Path:
    """Factorize, fit types and gate, export and calibrate volumes, as far as each is asked for.

    Args:
        network: Trained; changed in place, left at evaluation.
        recipe: That it was trained by. With `sampling.calibration_phantoms` the calibrator of
            volumes is fitted on so many simulated heads.
        slices: That it learned from, at the size of the detector's input.
        path: The ONNX file; the weights go beside it.
        origin: What it was fitted on.
        calibration: Fitted on held-out pictures or people.
        heads: Real tumor-free heads: packed files, or what they were made of.
        options: What is done before; None for nothing.

    Returns:
        The ONNX file.

    Raises:
        DataError: If types are to be fitted and one is missing.
    """
    options = options or BuildOptions()
    preprocessing = recipe.preprocessing
    network.eval()
    if options.kept < 1:
        log.info("factorizing convolutions")
        factorize(network, inputs_of_each_kind(slices, preprocessing), options.kept)
    if options.types and isinstance(network, CellNetwork):
        log.info("fitting the type head")
        fit_type_head(network, slices, preprocessing)
    log.info("learning what is familiar")
    ood_model = fit_ood_model(network, slices, preprocessing, heads)
    export_detector(network, recipe, calibration, path, origin, ood_model)
    if studies := recipe.sampling.calibration_phantoms:
        log.info("calibrating volumes on %d simulated heads", studies)
        calibrator = fit_volume_calibrator(Detector(path), studies, heads)
        recalibrate(path, dataclasses.replace(calibration, volume=calibrator))
    return path


def inputs_of_each_kind(slices: SliceDataset, preprocessing: Preprocessing) -> Tensor:
    """Return normalized slices, as many of each kind.

    Args:
        slices: At the size of the detector's input.
        preprocessing: Of the detector.

    Returns:
        Shape (n, 3, h, w), at most `FACTORIZED_BY` of each kind.
    """
    chosen: list[int] = []
    for kind in sorted(set(slices.kind.tolist()) - {CONTEXT}):
        alike = torch.nonzero(slices.kind == kind).flatten().tolist()
        chosen += alike[:: max(1, len(alike) // FACTORIZED_BY)][:FACTORIZED_BY]
    image = slices.batch(torch.tensor(chosen)).image
    return (image - preprocessing.mean) / preprocessing.std
