"""Draw where a classifier looks: the logit that is lost when a place is occluded."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._assess.cases import Case
from meninx._assess.classifiers import Classifier, LogitsOf, PictureScores, pictures_of
from meninx._assess.metrics import Floats
from meninx._detect.findings import Findings, SliceFinding
from meninx._detect.head_slices import brain_slices
from meninx._detect.peak import hottest_position
from meninx._detect.preprocessing import FloatImage, Placement
from meninx._render.heatmap_check import check_cells, filled_in
from meninx._render.hottest_slice import hottest_slice_picture
from meninx._scan.scan import Scan, Slice

# Cells along a side of the map, which are occluded one by one: 36 pictures.
GRID = 6
# Side of the grid on which a map is placed; any number, because the whole picture is the input.
_INPUT = 192
_OTHER_SHAPE = "no heat map: the picture file has another shape than the scan"


def occlusion_picture(classifier: Classifier, case: Case, scan: Scan) -> tuple[Image.Image, str]:
    """Draw a case's picture, or a volume's highest slice, with the occlusion's heat map.

    Args:
        classifier: Model that scored it.
        case: Scored case.
        scan: The scan of the case.

    Returns:
        The picture, and why it has no heat map, in words; empty if it has one.

    References:
        Zeiler and Fergus 2014, Visualizing and understanding convolutional networks.
    """
    scores = classifier.scores
    if not isinstance(scores, PictureScores):
        why = "no heat map: a table has scores alone"
        return plain_picture(scan, case.findings, why), why
    slices = brain_slices(scan)
    pictures = pictures_of(case.picture, scan)
    place = int(np.argmax(scores.logits_of(pictures)))
    picture, shown = pictures[place], slices[place]
    if (picture.height, picture.width) != shown.image.shape:
        return plain_picture(scan, case.findings, _OTHER_SHAPE), _OTHER_SHAPE
    unit = (np.asarray(picture, dtype=np.float32) / 255).transpose(2, 0, 1).astype(np.float32)
    logits_of = _of_units(scores.logits_of)
    lost = lost_logits(unit, logits_of)
    cells = np.clip(lost / max(float(lost.max()), 1e-6), 0, 1).astype(np.float32)
    failure = check_cells(cells, unit, logits_of).failure
    withheld = f"no heat map: {failure}" if failure else ""
    findings = _with_cells(case.findings, shown, cells)
    return hottest_slice_picture(scan, findings, withheld or None), withheld


def plain_picture(scan: Scan, findings: Findings, withheld: str) -> Image.Image:
    """Draw a picture, or a volume's middle slice, without a heat map.

    Args:
        scan: The scan.
        findings: Its findings.
        withheld: Why there is no heat map, in words.

    Returns:
        An RGB picture with a caption.
    """
    cells = np.zeros((GRID, GRID), dtype=np.float32)
    return hottest_slice_picture(
        scan, _with_cells(findings, scan.slice(len(scan) // 2), cells), withheld
    )


def lost_logits(unit: FloatImage, logits_of: Callable[[FloatImage], FloatImage]) -> Floats:
    """Return how much logit is lost when each cell of a picture is occluded.

    Args:
        unit: Picture in RGB, 0..1, shape (3, h, w).
        logits_of: Function that returns the logits, shape (b,), of pictures (b, 3, h, w).

    Returns:
        Loss of each cell, shape (6, 6).
    """
    places = np.eye(GRID * GRID, dtype=np.bool_).reshape(-1, GRID, GRID)
    logits = logits_of(np.stack([unit, *(filled_in(unit, place) for place in places)]))
    return np.asarray((logits[0] - logits[1:]).reshape(GRID, GRID), dtype=np.float64)


def _of_units(logits_of: LogitsOf) -> Callable[[FloatImage], FloatImage]:
    """Return a function of arrays, shape (b, 3, h, w), that calls one of pictures."""

    def of_arrays(units: FloatImage) -> FloatImage:
        levels = np.rint(np.clip(units, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        pictures: Sequence[Image.Image] = [Image.fromarray(array) for array in levels]
        return np.asarray(logits_of(pictures), dtype=np.float32)

    return of_arrays


def _with_cells(findings: Findings, shown: Slice, cells: NDArray[np.float32]) -> Findings:
    """Return findings with a map over the whole image of one slice."""
    height, width = shown.image.shape
    placement = Placement(0, 0, height, width, 0, 0, _INPUT, _INPUT, _INPUT)
    row, column = placement.to_image(*hottest_position(cells, _INPUT))
    finding = SliceFinding(
        index=shown.index,
        probability=findings.probability or 0.0,
        peak=shown.voxel_at(row, column),
        cells=cells,
        placement=placement,
    )
    return replace(findings, slices=(finding,))
