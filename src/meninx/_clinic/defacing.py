"""Detect volumes that show a face, and find the mask of the face."""

import warnings

import nibabel
import numpy as np
from numpy.typing import NDArray
from quickshear import quickshear

from meninx._scan.scan import Scan
from meninx._synthesis.head_template import brain_of

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# A face can be recognized in a rendering of finer volumes of a whole head (Schwarz et al. 2019,
# NEJM 381:1684), but not of thicker slices.
MAX_SPACING_MM, MIN_EXTENT_MM = 3.0, 120.0
# Distance between the brain and the cutting plane.
_BUFFER_MM = 10.0


def may_show_face(scan: Scan) -> bool:
    """Return whether a face could be rendered from a volume; also True of skull-stripped ones."""
    if scan.spacing_mm is None:
        return False
    extent = np.array(scan.spacing_mm) * scan.voxels.shape
    return bool(max(scan.spacing_mm) <= MAX_SPACING_MM and extent.min() >= MIN_EXTENT_MM)


def face_of(scan: Scan) -> NDArray[np.bool_]:
    """Return the mask of the face: all voxels in front of and below a plane under the brain.

    Args:
        scan: Whole head in T1.

    Returns:
        True in the face, shape of the scan's voxels.

    Raises:
        UnsupportedScan: If no brain is found.

    References:
        Schimke and Hale 2011, Quickshear defacing for neuroimages, HealthSec.
    """
    brain = brain_of(scan)
    affine = RAS @ np.asarray(scan.affine)
    whole = nibabel.Nifti1Image(np.ones(scan.voxels.shape, dtype=np.uint8), affine)
    mask = nibabel.Nifti1Image(brain.astype(np.uint8), affine)
    finest = min(scan.spacing_mm or (1.0,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cross products in two dimensions are deprecated
        defaced = quickshear(whole, mask, _BUFFER_MM / finest)
    return np.asarray((np.asarray(defaced.dataobj) == 0) & ~brain)
