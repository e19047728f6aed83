"""Score each slice of held-out people alone, as a single picture without neighbors.

The calibrators of single pictures are fitted on these slices, and the detector's figures for single
pictures are measured on them (held_out_people.py).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lab.release.planes import in_other_planes
from lab.release.recognition_slices import picture_scan
from meninx._assess.cases import units_of
from meninx._assess.volumes import counted_slices
from meninx._data.manifest import Picture
from meninx._data.stacks import read_picture_mask, read_stack
from meninx._data.volume_masks import read_mask
from meninx._detect.detector import Detector
from meninx._detect.head_slices import brain_slices
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
# Collections of pictures of one known sequence.
SEQUENCES_OF = {"cheng-2017": "T1c"}
# Distance of the slices that are scored, at least, mm: nearer ones tell nearly the same.
GAP_MM = 4.0


@dataclass(frozen=True)
class SingleSlice:
    """A slice of a held-out person, scored alone.

    Args:
        person: Name of the person; for a picture of an unknown one, of its group.
        site: Hospital or source.
        sequence: MR sequence; empty where unknown.
        plane: Anatomic plane; empty for a picture, of which it is unknown.
        tumor: Whether the slice shows a tumor.
        logit: Logit before the temperature; None where a check of its content refused it.
        ood_score: Out-of-distribution score; None where a check of its content refused it.
        peak_inside: Whether the hottest pixel lies in the tumor; None without one.
    """

    person: str
    site: str
    sequence: str
    plane: str
    tumor: bool
    logit: float | None = None
    ood_score: float | None = None
    peak_inside: bool | None = None


def single_slices(
    detector: Detector, pictures: Sequence[Picture], workers: int = 2
) -> list[SingleSlice]:
    """Score each slice of scans alone, and single pictures.

    Args:
        detector: Network that was fitted on none of them. Its gate refuses nothing from here on:
            the threshold is fitted on these slices.
        pictures: Rows of a manifest.
        workers: Number of scans scored at a time.

    Returns:
        Slices with at least half as much head as the fullest one of their scan, without those of
        which the tumor covers less than 0.08 %, and of tumor-free volumes of fine voxels also those
        in the other two planes.
    """
    detector.card = replace(detector.card, ood_threshold=None)

    def of_unit(unit: tuple[Picture, tuple[Picture, ...]]) -> list[SingleSlice]:
        row, members = unit
        sequence = row.sequence or SEQUENCES_OF.get(row.source, "")
        return [
            _scored(
                detector,
                image,
                mask,
                SingleSlice(row.person or row.group, row.site, sequence, plane, bool(mask.any())),
            )
            for plane, image, mask in slices_of(row, members)
        ]

    with ThreadPoolExecutor(workers) as pool:
        return [found for part in pool.map(of_unit, units_of(pictures)) for found in part]


def slices_of(row: Picture, members: Sequence[Picture]) -> Iterator[tuple[str, Image, Mask]]:
    """Yield plane, image and mask of the slices of a scan that count.

    Args:
        row: Row of a manifest.
        members: Pictures of its stack; empty for a picture or a volume.

    Yields:
        Plane, empty for a picture; image and mask of the tumor, shape (h, w) each.
    """
    if members:
        yield from _counted(*read_stack(members))
        return
    scan = read_one(row.picture)
    if not scan.is_volume:
        image = scan.slice(0).image
        yield "", image, read_picture_mask(row, image)
    elif row.mask is not None:
        yield from _counted(scan, read_mask(row.mask, scan))
    elif not row.tumor:
        for cut in (scan, *in_other_planes(scan)):
            yield from _counted(cut, np.zeros(cut.voxels.shape, dtype=np.bool_))


def _counted(scan: Scan, mask: Mask) -> Iterator[tuple[str, Image, Mask]]:
    step = max(1, round(GAP_MM / (scan.slice_gap_mm or GAP_MM)))
    for index in counted_slices(scan, mask)[::step]:
        # The distances of some files are implausible: their slices are axial.
        yield scan.view.plane or "axial", scan.slice(index).image, scan.view.cut(mask, index)


def _scored(detector: Detector, image: Image, mask: Mask, facts: SingleSlice) -> SingleSlice:
    """Return a slice with what the detector says of it as a picture without a header."""
    picture = picture_scan(image)
    findings = detector.score(picture, alone=False)
    if findings.logit is None:
        return facts
    stack, _ = detector.input_stack(picture, brain_slices(picture))
    column, row, _ = findings.slices[0].peak
    return replace(
        facts,
        logit=findings.logit,
        ood_score=float(detector.ood_scores(stack)[0]),
        peak_inside=bool(mask[row, column]) if facts.tumor else None,
    )
