"""Decide which values of a mask are tumor, and refuse what can't be one.

A mask has 0 outside and one or a few labels inside. Resizing, lossy compression and networks make
values in between.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meninx._data.progress import Report
from meninx._errors import DataError

Mask = NDArray[np.bool_]
Values = NDArray[np.float32]

# Largest number of labels; resizing and lossy compression make more gray levels.
_MAX_LABELS = 8
# Scaled integers have values this far from 0 in place of 0, as a share of the highest.
_ROUNDING = 1e-4
# Overshoot of interpolation, as a share of the highest value: 0.29 where cubic splines turn a mask.
_OVERSHOOT = 0.5
# Where fractions are no higher, they are probabilities or resampled labels; both reach a half.
_HIGHEST_LABEL = 8
_HALF = 0.5
# Values between these shares of the highest are in between. The highest is a percentile, which one
# bright voxel does not determine. Lossy compression spreads both ends.
_BETWEEN, _BETWEEN_IN_LOSSY = (0.1, 0.9), (0.25, 0.75)
_HIGHEST_PERCENTILE = 99
# Gray levels cover an image: this share of the field, or the smaller one and several times what has
# the highest value. In masks they are the edge of a plateau.
_GRAY_SHARE, _LEAST_GRAY_SHARE, _GRAY_PER_PLATEAU = 0.15, 0.01, 3
# Share of neighbors that have equal values in a map of many labels; in images at most a half.
_EQUAL_NEIGHBORS = 0.6
# A tumor covers less of the field and of the head. Among 16 volumes and 4,500 pictures with masks
# the largest covers 12 % of a field and 30 % of a head, with extents of 0.70 along two axes.
_MAX_FIELD, _MAX_HEAD = 0.5, 0.6
# A mask that covers this share of the head and spans it along two axes is that of the brain.
_BRAIN_SHARE, _BRAIN_EXTENT = 0.25, 0.8

_FRACTIONS = "values between whole numbers, so tumor is what reaches 0.5"
_LOW_FRACTIONS = f"{_FRACTIONS}; no value does, so it has no tumor"
_GRAY_EDGES = (
    "values in between, as of resizing or compression, so tumor is what is above half of the "
    "highest"
)
_REMEDY = "write 0 outside of the tumor and 1 inside"


def tumor_of(values: Values, place: str, report: Report, *, is_lossy: bool = False) -> Mask:
    """Return which pixels or voxels of a mask are tumor.

    Args:
        values: Values of the mask, of any shape; finite.
        place: Name of the mask, for messages.
        report: Called with a sentence where a threshold decides.
        is_lossy: Whether lossy compression changed the values.

    Returns:
        Mask in the same shape: the labels above 0; of fractions what reaches 0.5; of other
        values in between what is above half of the highest.

    Raises:
        DataError: If it can't be a mask: values below 0, no value 0, or gray levels as in an image.
    """
    size = float(max(values.max(), -values.min()))
    nonzero = values[np.abs(values) > _ROUNDING * size]
    if not nonzero.size:
        return np.zeros(values.shape, dtype=np.bool_)
    levels = np.unique(nonzero)
    low, high = float(levels[0]), float(levels[-1])
    has_zero = nonzero.size < values.size
    many = is_lossy or len(levels) > _MAX_LABELS
    if low < 0 and not (many and low >= -_OVERSHOOT * high):
        raise DataError(f"{place}: a mask with values below 0, down to {low:g}; {_REMEDY}")
    if _are_fractions(levels, has_zero=has_zero):
        if not _are_mostly_whole(nonzero):
            _check_gray(values, nonzero, place)
        report(f"{place}: {_FRACTIONS if high >= _HALF else _LOW_FRACTIONS}")
        return np.asarray(values >= _HALF)
    if many and (is_lossy or not _is_label_map(values, nonzero)):
        _check_gray(values, nonzero, place, is_lossy=is_lossy)
        report(f"{place}: {_GRAY_EDGES}")
        return np.asarray(values > high / 2)
    if not has_zero:
        raise DataError(
            f"{place}: a mask without the value 0: {_listed(levels)}; it does not say what is "
            f"outside of the tumor: {_REMEDY}"
        )
    return np.asarray(values > _ROUNDING * size)


def _are_fractions(levels: Values, *, has_zero: bool) -> bool:
    """Return whether values are probabilities or resampled labels, of which a half counts.

    Args:
        levels: The values other than 0, ascending, each once.
        has_zero: Whether others are 0.

    Returns:
        False for one label on 0, and for a few scaled ones: 0, 1 and 2 of 255 as shares of 1.
    """
    if levels[-1] > _HIGHEST_LABEL or not (levels % 1).any():
        return False
    is_scaled = levels[-1] < _HALF and len(levels) <= _MAX_LABELS
    return not (has_zero and (len(levels) == 1 or is_scaled))


def check_extent(tumor: Mask, head: Mask, place: str) -> None:
    """Check that a mask covers no more than a tumor may.

    Args:
        tumor: Mask of a picture or a volume.
        head: Which of its pixels or voxels are not air, in the same shape.
        place: Name of the mask, for messages.

    Raises:
        DataError: If it covers most of the field, as an inverted mask does, or of the head.
    """
    share = float(tumor.mean())
    if share > _MAX_FIELD:
        raise DataError(
            f"{place}: the mask covers {share:.0%} of its field; is it inverted? Expected: "
            f"{_REMEDY}"
        )
    covered = int(tumor.sum()) / max(1, int(head.sum()))
    extents = sorted(_extent(tumor, axis) / max(1, _extent(head, axis)) for axis in _axes(tumor))
    is_brain = covered > _BRAIN_SHARE and all(part > _BRAIN_EXTENT for part in extents[-2:])
    if covered > _MAX_HEAD or is_brain:
        raise DataError(
            f"{place}: the mask covers {min(covered, 1.0):.0%} of the head; is it that of the "
            "brain or of other tissue? Name the tumor's"
        )


def grouped(sentences: Sequence[str]) -> list[str]:
    """Return sentences about files, each followed by the number of other files it is true of.

    Args:
        sentences: Sentences behind the name of their file and a colon.

    Returns:
        The first of those that differ only in the file.
    """
    counts = Counter(sentence.rpartition(": ")[2] for sentence in sentences)
    firsts: dict[str, str] = {}
    for sentence in sentences:
        firsts.setdefault(sentence.rpartition(": ")[2], sentence)
    return [
        f"{firsts[text]}; so are {count - 1} more" if count > 1 else firsts[text]
        for text, count in counts.items()
    ]


def _listed(levels: Values) -> str:
    """Return the values of a mask in words."""
    if len(levels) == 1:
        return f"all are {levels[0]:g}"
    return f"{len(levels)} values from {levels[0]:g} to {levels[-1]:g}"


def _axes(mask: Mask) -> list[int]:
    """Return the axes along which a mask has more than one pixel or voxel."""
    return [axis for axis, side in enumerate(mask.shape) if side > 1]


def _extent(mask: Mask, axis: int) -> int:
    """Return how many pixels or voxels a mask spans along an axis; 0 if it is empty."""
    others = tuple(other for other in range(mask.ndim) if other != axis)
    found = np.flatnonzero(mask.any(axis=others))
    return int(found[-1] - found[0] + 1) if found.size else 0


def _is_label_map(values: Values, nonzero: Values) -> bool:
    """Return whether many values are labels, such as the numbers of lesions: whole and in areas."""
    if (nonzero % 1).any() or nonzero.min() < 0:
        return False
    neighbors = equal = 0
    for axis in range(values.ndim):
        ahead, behind = np.moveaxis(values, axis, 0)[1:], np.moveaxis(values, axis, 0)[:-1]
        both = (ahead > 0) & (behind > 0) & (np.maximum(ahead, behind) < nonzero.max())
        neighbors += int(both.sum())
        equal += int((ahead[both] == behind[both]).sum())
    return equal > _EQUAL_NEIGHBORS * neighbors


def _are_mostly_whole(nonzero: Values) -> bool:
    """Return whether resampled labels have enough plateaus, of any label, for their edges."""
    labels = nonzero[nonzero > _BETWEEN[0]]
    plateau = int((np.abs(labels - np.rint(labels)) <= _BETWEEN[0]).sum())
    return labels.size - plateau <= _GRAY_PER_PLATEAU * plateau


def _check_gray(values: Values, nonzero: Values, place: str, *, is_lossy: bool = False) -> None:
    """Raise a DataError if the values in between cover as much as in an image."""
    high = float(np.percentile(nonzero[nonzero > 0], _HIGHEST_PERCENTILE))
    least, most = (high * part for part in (_BETWEEN_IN_LOSSY if is_lossy else _BETWEEN))
    count, plateau = int(((values > least) & (values < most)).sum()), int((values >= most).sum())
    share = count / values.size
    is_edge = share <= _LEAST_GRAY_SHARE or count <= _GRAY_PER_PLATEAU * plateau
    if share > _GRAY_SHARE or not is_edge:
        raise DataError(
            f"{place}: gray levels in {share:.0%} of the field, as in an image; name the mask of "
            f"the tumor, or {_REMEDY}"
        )
