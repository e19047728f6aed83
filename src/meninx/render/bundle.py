"""A scan, its findings and all pictures of them: the one place where these pictures are made.

The command line, the DICOM node, the web application, the archive and the evaluation's pages take
their pictures from here, so that a heat map which fails its check is shown nowhere.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx.detect.detector import Detector, score_path
from meninx.detect.findings import Findings
from meninx.render.explanation_sheet import explanation_sheet
from meninx.render.heatmap import heat_volume
from meninx.render.heatmap_check import HeatmapCheck, check_heatmap
from meninx.render.hottest_slice import hottest_slice_picture
from meninx.scan.geometry import Spacing
from meninx.scan.scan import Scan


class Bundle:
    """A scored scan with its pictures, each made when it is asked for; the check is made once.

    Args:
        detector: Detector that scored the scan.
        scan: The scored scan.
        findings: Findings of the scan, with the cells of its slices.

    Raises:
        ValueError: If the findings are not scored.
    """

    def __init__(self, detector: Detector, scan: Scan, findings: Findings) -> None:
        if findings.status != "scored":
            raise ValueError(f"{findings.scan}: {findings.status}, so there is nothing to draw")
        self._detector = detector
        self.scan = scan
        self.findings = findings

    @cached_property
    def check(self) -> HeatmapCheck:
        """Whether the heat map may be shown."""
        return check_heatmap(self._detector, self.scan, self.findings)

    @property
    def withheld(self) -> str | None:
        """Why no heat map is shown, in words for a reader; None where one is."""
        failure = self.check.failure
        return None if failure is None else f"no heat map: {failure}"

    def heat(self) -> NDArray[np.uint8] | None:
        """Return the heat map, per cent, 0..100, shape of the scan's voxels; None if withheld."""
        return None if self.withheld else heat_volume(self.scan, self.findings)

    def picture(self) -> Image.Image:
        """Return the hottest slice, with the heat map unless that is withheld."""
        return hottest_slice_picture(self.scan, self.findings, self.withheld)

    def sheet(self) -> Image.Image:
        """Return the explanation sheet: hottest slice, slices through the scan, all scores."""
        return explanation_sheet(self.scan, self.findings, self.withheld)


def bundle_of(detector: Detector, scan: Scan | None, findings: Findings) -> Bundle | None:
    """Return the bundle of a scan.

    Args:
        detector: Detector that scored the scan.
        scan: The scan; None where it could not be read.
        findings: Findings of the scan.

    Returns:
        The bundle; None where nothing was scored.
    """
    if scan is None or findings.status != "scored":
        return None
    return Bundle(detector, scan, findings)


def bundles(
    detector: Detector, path: str | Path, spacing_mm: Spacing | None = None
) -> Iterator[tuple[Findings, Scan | None, Bundle | None]]:
    """Read and score every scan under a path, ready to be drawn.

    Args:
        detector: Detector that scores the scans.
        path: A file, a folder, or a zip or tar archive.
        spacing_mm: Voxel size of volumes whose files lost it, see `read_scans`.

    Yields:
        The findings of each scan, the scan where it could be read, its bundle where it was scored.
    """
    for scan, findings in score_path(detector, path, spacing_mm=spacing_mm):
        yield findings, scan, bundle_of(detector, scan, findings)
