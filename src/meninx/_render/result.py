"""A scan, its findings and all pictures of them: the one place where these pictures are made.

The command line, the DICOM node, the web application, the archive and the evaluation's pages take
their pictures from here, so that a heat map which fails its check is shown nowhere.
"""

from dataclasses import replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._render.explanation_sheet import explanation_sheet
from meninx._render.heatmap import heat_volume
from meninx._render.heatmap_check import HeatmapCheck, check_heatmap
from meninx._render.hottest_slice import hottest_slice_picture
from meninx._scan.scan import Headers, Identity, Scan
from meninx._scan.unread import Unread


class Result:
    """A scan with its findings and pictures; each picture is made once, when it is asked for.

    It holds the scan's voxels and heat maps: drop it once it is written.

    Args:
        source: Scan, or what could not be read as one.
        findings: Findings of it, with the maps of its slices.
        detector: Detector that scored it, which checks the heat map.
    """

    def __init__(self, source: Scan | Unread, findings: Findings, detector: Detector) -> None:
        self.source = source
        self.findings = findings
        self._detector = detector

    @classmethod
    def of(cls, scan: Scan, detector: Detector) -> Self:
        """Score a scan.

        Args:
            scan: A volume or a picture.
            detector: Detector that scores it.

        Returns:
            The result; its findings are `refused` if the scan fails a check.
        """
        return cls(scan, detector.score(scan), detector)

    @property
    def scan(self) -> Scan | None:
        """The scan; None where it could not be read."""
        return self.source if isinstance(self.source, Scan) else None

    @property
    def identity(self) -> Identity:
        """UIDs, number and description of its series, as far as they are known."""
        return self.source.identity

    @property
    def headers(self) -> Headers:
        """Datasets of its DICOM files, without pixels, in slice order; none of other formats."""
        return self.source.headers

    def with_findings(self, findings: Findings) -> Self:
        """Return a result of the same scan with other findings, nothing drawn yet."""
        return type(self)(self.source, findings, self._detector)

    @property
    def scored(self) -> bool:
        """Whether there is an answer, and so something to draw."""
        return self.scan is not None and self.findings.status == "scored"

    @property
    def scored_scan(self) -> Scan:
        """The scan that was scored.

        Raises:
            ValueError: If it was refused or could not be read.
        """
        if self.scan is None or not self.scored:
            found = self.findings
            raise ValueError(f"{found.scan}: {found.status}, so there is nothing to draw")
        return self.scan

    @cached_property
    def check(self) -> HeatmapCheck:
        """Whether the heat map may be shown; `ValueError` where there is none."""
        hottest = self.findings.hottest
        if hottest is not None and hottest.placement is None:
            raise ValueError(f"{self.findings.scan}: its heat maps were not stored; score it again")
        return check_heatmap(self._detector, self.scored_scan, self.findings)

    @property
    def withheld(self) -> str | None:
        """Why no heat map is shown, in words for a reader; None where one is or none was made."""
        if not self.scored or self.check.failure is None:
            return None
        return f"no heat map: {self.check.failure}"

    @cached_property
    def heat(self) -> NDArray[np.uint8] | None:
        """The heat map, per cent, 0..100, shape of the scan's voxels, read-only.

        None where it is withheld, or nothing was scored.
        """
        if not self.scored or self.withheld:
            return None
        heat = heat_volume(self.scored_scan, self.findings)
        heat.flags.writeable = False
        return heat

    @cached_property
    def picture(self) -> Image.Image:
        """The hottest slice, with the heat map unless that is withheld; copy it to change it."""
        return hottest_slice_picture(self.scored_scan, self.findings, self.withheld)

    def sheet(self) -> Image.Image:
        """Return the explanation sheet: hottest slice, slices through the scan, all scores."""
        return explanation_sheet(self.scored_scan, self.findings, self.withheld)

    def brief(self) -> Findings:
        """Return the findings without maps but the hottest slice's: a table holds thousands."""
        hottest = self.findings.hottest
        return replace(self.findings, slices=(hottest,) if hottest else ())
