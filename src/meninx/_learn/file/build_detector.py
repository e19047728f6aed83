"""Make a detector file from a trained network."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from meninx._detect.calibration import Calibration
from meninx._detect.detector import Detector
from meninx._learn.file.export import TrainingData, export_detector, recalibrate
from meninx._learn.file.ood_model import fit_ood_model, network_features
from meninx._learn.file.volume_calibration import fit_volume_calibrator
from meninx._learn.input.dataset import SliceDataset
from meninx._learn.model.network import Backbone
from meninx._learn.recipe import Recipe

log = logging.getLogger(__name__)


def build_detector(
    network: Backbone,
    recipe: Recipe,
    slices: SliceDataset,
    path: Path,
    training_data: TrainingData,
    *,
    calibration: Calibration,
    heads: Sequence[Path] = (),
) -> Path:
    """Fit the OOD model of a network, export it, and calibrate volumes.

    Args:
        network: The trained network; it is left in evaluation mode.
        recipe: Recipe of its training. The calibrator of volumes is fitted on
            `sampling.calibration_phantoms` simulated heads, where that is not 0.
        slices: Slices that it learned from, at the size of the detector's input.
        path: ONNX file to write; the weights go beside it.
        training_data: Data that it was fitted on.
        calibration: Calibrators fitted on held-out pictures or people.
        heads: Real tumor-free heads: packed files, volumes or DICOM folders.

    Returns:
        The ONNX file.
    """
    log.info("fitting the out-of-distribution model")
    ood_model = fit_ood_model(network_features(network.eval()), slices, recipe.preprocessing, heads)
    export_detector(network, recipe, calibration, path, training_data, ood_model)
    if studies := recipe.sampling.calibration_phantoms:
        log.info("calibrating volumes on %d simulated heads", studies)
        calibrator = fit_volume_calibrator(Detector(path), studies, heads)
        recalibrate(path, dataclasses.replace(calibration, volume=calibrator))
    return path
