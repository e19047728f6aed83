"""Choose from which probability on a whole volume is called tumor."""

from dataclasses import replace

import numpy as np

from meninx.detect.calibration import Calibration
from meninx.detect.detector import Detector
from meninx.learn.simulation import calibration_studies
from meninx.learn.validation import best_threshold


def with_study_point(detector: Detector, studies: int) -> Calibration:
    """Return a detector's calibration with the operating point of volumes chosen.

    A volume's score is a maximum over its slices, so a picture's operating point would call every
    healthy head a tumor. No collection here holds whole healthy heads in every sequence: phantoms
    of unseen seeds stand in.

    Args:
        detector: Whose calibration is to be completed.
        studies: How many phantoms, half of them with a lesion; with 0 nothing is chosen.

    Returns:
        The calibration with `study_operating_point` set.
    """
    if not studies:
        return detector.card.calibration
    probabilities, tumor = [], []
    for scan, sick in calibration_studies(studies):
        findings = detector.score(scan)
        if findings.probability is not None:
            probabilities.append(findings.probability)
            tumor.append(sick)
    share = np.clip(np.array(probabilities), 1e-6, 1 - 1e-6)
    threshold = best_threshold(np.log(share / (1 - share)), np.array(tumor))
    return replace(
        detector.card.calibration, study_operating_point=float(1 / (1 + np.exp(-threshold)))
    )
