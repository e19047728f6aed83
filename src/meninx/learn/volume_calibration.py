"""Choose from which probability on a whole volume is called a tumor."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meninx.detect.calibration import Calibrator
from meninx.detect.detector import Detector
from meninx.learn.validation import fit_calibrator, with_refusals
from meninx.synthesis.simulated_scans import calibration_studies


def fit_volume_calibrator(
    detector: Detector, studies: int, heads: Sequence[Path] = ()
) -> Calibrator:
    """Return the calibrator of volumes.

    A volume's score is a maximum over its slices, so a picture's operating point would call every
    healthy head a tumor. No collection here holds whole healthy heads in every sequence: simulated
    heads of unseen seeds stand in.

    Args:
        detector: What is to be calibrated; its present calibrators do not matter.
        studies: How many heads, half of them with a lesion.
        heads: Real heads that every other one is made from; none to make all of shapes.

    Returns:
        Temperature and operating points of volumes, and how many were refused.
    """
    logits, tumor, found = [], [], []
    for scan, sick in calibration_studies(studies, heads):
        found.append(detector.score(scan))
        logit = found[-1].logit
        if logit is not None:
            logits.append(logit)
            tumor.append(sick)
    return with_refusals(fit_calibrator(np.array(logits), np.array(tumor)), found)
