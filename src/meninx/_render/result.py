"""A scan with its findings and all pictures of them, for every output.

The command line, the DICOM node, the web application, the archive and evaluation reports use these
pictures, so that a heat map that fails its check is never shown. To add an output, implement
`Writer` in `_scoring/writers.py`.
"""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._scan.scan import Headers, Identity, Scan
from meninx._scan.unread import Unread

# What draws is imported with the first picture: an answer alone needs none.
if TYPE_CHECKING:
    from PIL import Image

    from meninx._render.heatmap_check import HeatmapCheck
    from meninx._render.region import Region


class Result:
    """A scan with its findings and pictures; each picture is drawn once, on first access.

    It keeps voxels and heat maps in memory: delete it once it is written.

    Args:
        source: Scan, or the file or series that could not be read.
        findings: Its findings, with the maps of its slices.
        detector: Detector that scored it and checks the heat map.
    """

    def __init__(self, source: Scan | Unread, findings: Findings, detector: Detector) -> None:
        self.source = source
        self.findings = findings
        self._detector = detector

    @classmethod
    def of(cls, scan: Scan, detector: Detector, *, alone: bool = True) -> Self:
        """Score a scan.

        Args:
            scan: A volume or a picture.
            detector: Detector to score it with.
            alone: Whether no other scan is scored at the same time.

        Returns:
            The result; its findings are `refused` if the scan fails a check.
        """
        return cls(scan, detector.score(scan, alone=alone), detector)

    @property
    def scan(self) -> Scan | None:
        """The scan; None if it could not be read."""
        return self.source if isinstance(self.source, Scan) else None

    @property
    def identity(self) -> Identity:
        """UIDs, number and description of its series, as far as known."""
        return self.source.identity

    @property
    def headers(self) -> Headers:
        """Datasets of its DICOM files, without pixels, in slice order; none for other formats."""
        return self.source.headers

    def with_findings(self, findings: Findings) -> Self:
        """Return a result of the same scan with other findings, without pictures."""
        return type(self)(self.source, findings, self._detector)

    @property
    def scored(self) -> bool:
        """Whether the scan was scored, so that it can be drawn."""
        return self.scan is not None and self.findings.status == "scored"

    @property
    def scored_scan(self) -> Scan:
        """The scan that was scored.

        Raises:
            ValueError: If it was refused or could not be read.
        """
        if self.scan is None or not self.scored:
            raise ValueError(
                f"{self.findings.scan}: {self.findings.status}, so there is nothing to draw"
            )
        return self.scan

    @cached_property
    def check(self) -> "HeatmapCheck":
        """The check of the heat map; raises `ValueError` if there is none."""
        from meninx._render.heatmap_check import check_heatmap

        hottest = self.findings.hottest
        if hottest is not None and hottest.placement is None:
            raise ValueError(f"{self.findings.scan}: its heat maps were not stored; score it again")
        return check_heatmap(self._detector, self.scored_scan, self.findings)

    @property
    def withheld(self) -> str | None:
        """Why the heat map is withheld, in words; None if it is shown or there is none."""
        if not self.scored or self.check.failure is None:
            return None
        return f"no heat map: {self.check.failure}"

    @cached_property
    def heat(self) -> NDArray[np.uint8] | None:
        """The heat map, percent, 0..100, shape of the scan's voxels, read-only.

        None if it is withheld, or nothing was scored.
        """
        if not self.scored or self.withheld:
            return None
        from meninx._render.heatmap import heat_volume

        heat = heat_volume(self.scored_scan, self.findings)
        heat.flags.writeable = False
        return heat

    @cached_property
    def regions(self) -> "tuple[Region, ...]":
        """The hot regions of the heat map, the hottest first; none without a heat map."""
        from meninx._render.region import regions_of

        return () if self.heat is None else regions_of(self.scored_scan, self.heat)

    @cached_property
    def picture(self) -> "Image.Image":
        """The hottest slice, with the heat map unless it is withheld; copy it before changes."""
        from meninx._render.hottest_slice import hottest_slice_picture

        return hottest_slice_picture(self.scored_scan, self.findings, self.withheld)

    def sheet(self) -> "Image.Image":
        """Return the explanation sheet; see `explanation_sheet`."""
        from meninx._render.explanation_sheet import explanation_sheet

        return explanation_sheet(self.scored_scan, self.findings, self.withheld)

    def brief(self) -> Findings:
        """Return the findings of the hottest slice only, because a table may have thousands."""
        hottest = self.findings.hottest
        return replace(self.findings, slices=(hottest,) if hottest else ())


def explain(scan: Scan, detector: Detector) -> "Image.Image":
    """Draw why a scan has its answer: the hottest slice with its heat map, and all scores.

    Args:
        scan: A volume or a picture.
        detector: Detector to score it with.

    Returns:
        The explanation sheet, as `meninx explain` writes it. Without a heat map if that fails its
        check; the sheet says why.

    Raises:
        ValueError: If the scan is refused.
    """
    return Result.of(scan, detector).sheet()
