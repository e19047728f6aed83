"""Make a detector file from a trained network."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from meninx._detect.calibration import Calibration
from meninx._detect.detector import Detector
from meninx._detect.gate import NO_OOD_MODEL
from meninx._learn.file.export import TrainingData, export_detector, recalibrate
from meninx._learn.file.ood_model import (
    MIN_EXAMPLES,
    OodModel,
    count_plausible,
    fit_ood_model,
    network_features,
    ood_model_in,
    refused_share,
)
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
    features_of: Path | None = None,
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
        features_of: Detector file with the same features, whose OOD model is kept where there are
            too few slices for another one; None if there is none.

    Returns:
        The ONNX file.
    """
    ood_model = _ood_model(network.eval(), recipe, slices, heads, features_of)
    export_detector(network, recipe, calibration, path, training_data, ood_model)
    if studies := recipe.sampling.calibration_phantoms:
        log.info("calibrating volumes on %d simulated heads", studies)
        calibrator = fit_volume_calibrator(Detector(path), studies, heads)
        recalibrate(path, dataclasses.replace(calibration, volume=calibrator))
    return path


def _ood_model(
    network: Backbone,
    recipe: Recipe,
    slices: SliceDataset,
    heads: Sequence[Path],
    features_of: Path | None,
) -> OodModel | None:
    """Return the OOD model of a network: fitted, kept, or none, as the log says."""
    features = network_features(network)
    count = count_plausible(slices)
    if count >= MIN_EXAMPLES:
        log.info("fitting the out-of-distribution model")
        return fit_ood_model(features, slices, recipe.preprocessing, heads)
    few = f"{count} slices are too few to fit one, which needs {MIN_EXAMPLES}"
    kept = None if features_of is None else ood_model_in(features_of, recipe.preprocessing)
    if kept is None:
        log.warning("no out-of-distribution model: %s; %s", few, NO_OOD_MODEL.text)
        return None
    log.info(
        "out-of-distribution model: kept from the first weights, whose features are unchanged; "
        "%s; it refuses %.0f %% of the slices that were learned from",
        few,
        100 * refused_share(kept, features, slices, recipe.preprocessing),
    )
    return kept
