"""Make a detector file from a trained network."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from meninx._detect.calibration import Calibration
from meninx._detect.detector import Detector
from meninx._detect.preprocessing import Preprocessing
from meninx._learn.file.export import TrainingData, export_detector, recalibrate
from meninx._learn.file.ood_model import fit_ood_model
from meninx._learn.file.type_head import fit_type_head
from meninx._learn.file.volume_calibration import fit_volume_calibrator
from meninx._learn.input.dataset import CONTEXT, SliceDataset
from meninx._learn.model.compress import factorize
from meninx._learn.model.network import Backbone, CellNetwork
from meninx._learn.recipe import Recipe

# Number of slices of each kind (with tumor and tumor-free, real and simulated) for factorization.
FACTORIZED_BY = 128

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildOptions:
    """Changes to a trained network before it is written.

    Args:
        kept: Share of the variance of each convolution's answers that low-rank factorization keeps,
            0..1; 1 leaves convolutions whole.
        types: Whether the type head is fitted again, on unchanged features.
    """

    kept: float = 1.0
    types: bool = False


def build_detector(
    network: Backbone,
    recipe: Recipe,
    slices: SliceDataset,
    path: Path,
    training_data: TrainingData,
    *,
    calibration: Calibration,
    heads: Sequence[Path] = (),
    options: BuildOptions | None = None,
) -> Path:
    """Factorize a network, fit types and the OOD model, export, and calibrate volumes.

    Args:
        network: The trained network; changed in place, and left in evaluation mode.
        recipe: Recipe of its training. The calibrator of volumes is fitted on
            `sampling.calibration_phantoms` simulated heads, where that is not 0.
        slices: Slices that it learned from, at the size of the detector's input.
        path: ONNX file to write; the weights go beside it.
        training_data: Data that it was fitted on.
        calibration: Calibrators fitted on held-out pictures or people.
        heads: Real tumor-free heads: packed files, volumes or DICOM folders.
        options: Changes to the network before it is written; None to make none.

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
    log.info("fitting the out-of-distribution model")
    ood_model = fit_ood_model(network, slices, preprocessing, heads)
    export_detector(network, recipe, calibration, path, training_data, ood_model)
    if studies := recipe.sampling.calibration_phantoms:
        log.info("calibrating volumes on %d simulated heads", studies)
        calibrator = fit_volume_calibrator(Detector(path), studies, heads)
        recalibrate(path, dataclasses.replace(calibration, volume=calibrator))
    return path


def inputs_of_each_kind(slices: SliceDataset, preprocessing: Preprocessing) -> Tensor:
    """Return normalized slices of each kind.

    Args:
        slices: Slices at the size of the detector's input.
        preprocessing: Preprocessing of the detector.

    Returns:
        Slices with their neighbors, at most `FACTORIZED_BY` of each kind, shape (n, 3, h, w).
    """
    chosen: list[int] = []
    for kind in sorted(set(slices.kind.tolist()) - {CONTEXT}):
        members = torch.nonzero(slices.kind == kind).flatten().tolist()
        chosen += members[:: max(1, len(members) // FACTORIZED_BY)][:FACTORIZED_BY]
    image = slices.batch(torch.tensor(chosen)).image
    return (image - preprocessing.mean) / preprocessing.std
