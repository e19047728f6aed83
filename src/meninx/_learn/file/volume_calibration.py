"""Calibrate volumes on simulated heads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meninx._detect.calibrator import Calibrator
from meninx._detect.detector import Detector
from meninx._learn.file.validation import fit_calibrator, with_refusals
from meninx._synthesis.simulated_scans import calibration_studies


def fit_volume_calibrator(
    detector: Detector, studies: int, heads: Sequence[Path] = ()
) -> Calibrator:
    """Return a calibrator of volumes, fitted on simulated heads.

    A volume's score is a maximum over its slices: at a picture's operating point every tumor-free
    head would be a tumor. No collection has whole tumor-free heads in every sequence, so simulated
    heads of new seeds are used.

    Args:
        detector: Detector to calibrate; its present calibrators do not matter.
        studies: Number of heads, half of them with a lesion.
        heads: Real heads from which every second head is made; empty to make all of shapes.

    Returns:
        The calibrator of volumes, with the number of refused ones.
    """
    logits, tumor, found = [], [], []
    for scan, has_tumor in calibration_studies(studies, heads):
        found.append(detector.score(scan))
        logit = found[-1].logit
        if logit is not None:
            logits.append(logit)
            tumor.append(has_tumor)
    return with_refusals(fit_calibrator(np.array(logits), np.array(tumor)), found)
