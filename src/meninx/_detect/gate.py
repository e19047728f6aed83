"""Refuse scans that are no brain MRI, by rules and by an out-of-distribution score."""

import numpy as np
from numpy.typing import NDArray

from meninx._detect.label_maps import is_label_map
from meninx._detect.projections import MIN_SHARED, shared_with_next
from meninx._errors import GeometryError, UnsupportedScan
from meninx._scan.geometry import field_of_view_fault
from meninx._scan.intensity import foreground
from meninx._scan.order_statistics import count_distinct, median
from meninx._scan.scan import Scan, Slice
from meninx._scan.warning import ScanWarning

# Smaller matrices are functional, perfusion or test images; a tightly cropped brain without skull
# at 2 mm has about 75 pixels.
SMALLEST_SIDE = 72
# Annotations and color maps add some color; photographs are colored nearly everywhere.
_MAX_COLOR = 0.10
# A slice of the head has hundreds of gray levels; masks, label maps and scanned text have few.
MIN_LEVELS = 16
# Gray levels are counted on at most this many voxels along each axis.
_LEVEL_SAMPLES = 64
# A head in the largest usual field of view (360 mm) covers a tenth of the picture.
_MIN_FOREGROUND = 0.02
# Warning of a detector file without an out-of-distribution model.
NO_OOD_MODEL = ScanWarning(
    "no_ood_model",
    "this detector has no out-of-distribution model: what is no brain MRI, such as another organ "
    "or a screenshot, is refused by rules alone, and may be scored",
)


def check_scan(scan: Scan) -> None:
    """Check that a scan has the size and content of a brain scan.

    Args:
        scan: The scan, as it was read.

    Raises:
        UnsupportedScan: If its header excludes it, or a rule refuses it; the `reason` is `derived`,
            `too_small`, `color`, `empty` or `few_levels`.
        GeometryError: If the field of view is too small or too large for a head.
    """
    if scan.exclusion is not None:
        raise scan.exclusion
    _check_field_of_view(scan)
    middle = scan.slice(len(scan) // 2)
    height, width = middle.image.shape
    if min(height, width) < SMALLEST_SIDE:
        raise UnsupportedScan(
            f"slices of {width} x {height} pixels, expected at least {SMALLEST_SIDE} on each side; "
            "export the scan at its full resolution",
            place=scan.name,
            reason="too_small",
        )
    if scan.colorfulness > _MAX_COLOR:
        raise UnsupportedScan(
            f"{scan.colorfulness:.0%} of the picture is colored, expected at most "
            f"{_MAX_COLOR:.0%}, as in a gray MR slice; export it without a color map",
            place=scan.name,
            reason="color",
        )
    levels = _level_count(scan)
    # Label numbers are no brightness: a label map may look almost empty.
    if levels >= MIN_LEVELS:
        _check_label_map(scan)
    _check_foreground(scan, middle)
    _check_levels(scan, levels)
    _check_projection(scan)


def _check_foreground(scan: Scan, middle: Slice) -> None:
    """Check that the middle slice is not only background."""
    head = foreground(middle.image, middle.intensity_range)
    share = np.count_nonzero(head) / head.size
    if share < _MIN_FOREGROUND:
        what = "middle slice" if scan.is_volume else "picture"
        raise UnsupportedScan(
            f"almost empty: {share:.1%} of the {what} is brighter than its background, expected at "
            f"least {_MIN_FOREGROUND:.0%}; choose a scan that shows the head",
            place=scan.name,
            reason="empty",
        )


def _check_levels(scan: Scan, levels: int) -> None:
    """Check that a scan has enough gray levels."""
    if levels < MIN_LEVELS:
        raise UnsupportedScan(
            f"only {levels} gray levels, expected at least {MIN_LEVELS}: this looks like a mask or "
            "a drawing; choose the MR scan itself",
            place=scan.name,
            reason="few_levels",
        )


def _check_label_map(scan: Scan) -> None:
    """Check that a scan is not a label map."""
    places = sorted({len(scan) // 4, len(scan) // 2, 3 * len(scan) // 4})
    if is_label_map(np.stack([scan.slice(place).image for place in places])):
        raise UnsupportedScan(
            "a label map, such as a parcellation or an atlas: areas of constant value, which no "
            "scan has; choose the MR scan itself",
            place=scan.name,
            reason="derived",
        )


def _check_projection(scan: Scan) -> None:
    """Check that a volume is not a projection over a sliding slab."""
    share = shared_with_next(np.moveaxis(scan.voxels, scan.view.slice_axis, 0))
    if share >= MIN_SHARED:
        raise UnsupportedScan(
            f"a projection over several slices, such as a MIP: {share:.0%} of the head has exactly "
            "the value of the next slice; choose the original series",
            place=scan.name,
            reason="derived",
        )


def _level_count(scan: Scan) -> int:
    """Return the number of gray levels among evenly spread voxels."""
    steps = tuple(slice(None, None, max(1, side // _LEVEL_SAMPLES)) for side in scan.voxels.shape)
    return count_distinct(scan.voxels[steps])


def _check_field_of_view(scan: Scan) -> None:
    """Check that a scan has the size of a head: exports lose units of length."""
    if scan.spacing_mm is None:
        return
    sides = [count * step for count, step in zip(scan.voxels.shape, scan.spacing_mm, strict=True)]
    fault = field_of_view_fault(
        max(side for axis, side in enumerate(sides) if axis != scan.view.slice_axis)
    )
    if fault is not None:
        raise GeometryError(fault, place=scan.name)


def check_in_distribution(
    scan: Scan, ood_scores: NDArray[np.float32], ood_threshold: float | None
) -> None:
    """Check that a scan resembles the training data.

    Args:
        scan: The scored scan.
        ood_scores: Out-of-distribution scores of its slices, shape (n,).
        ood_threshold: Largest accepted median; single slices at the crown or the neck may be above
            it. None to accept every scan.

    Raises:
        UnsupportedScan: If the median is larger; its `reason` is `not_brain_mri`.
    """
    middle = median(ood_scores)
    if ood_threshold is not None and not middle <= ood_threshold:
        raise UnsupportedScan(
            f"unlike the brain MRI of the training data (out-of-distribution score {middle:.2f}, "
            f"at most {ood_threshold:.2f}): another organ, another modality, no scan at all, or a "
            "scan that was rotated, inverted or damaged",
            place=scan.name,
            reason="not_brain_mri",
        )
