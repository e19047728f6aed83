"""Score one study, and write what the viewer shows and the findings' DICOM objects.

`write_study` runs in a worker process: a broken or hostile file ends that process at worst.
"""

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from meninx._detect.findings import Findings
from meninx._errors import InputError
from meninx._render.region import midline_of
from meninx._scan.dicom.heading import clean_text
from meninx._scan.geometry import spacing_from_text
from meninx._scan.scan import Scan
from meninx._scan.unread import Unread
from meninx._scoring.worker import Worker
from meninx._web.store.settings import Settings
from meninx._web.store.stored_results import SeriesIdentity, Shown, StoredSeries, StudyResult
from meninx._web.studies.study_files import PACKED, RESULTS, SOURCE

if TYPE_CHECKING:
    from meninx._render.result import Result
    from meninx._scoring.writers import Writer

WHY = {
    "scored": "of all scored series it has the highest probability",
    "refused": "no series could be scored",
    "failed": "no series could be read",
}

# Images of a refused series that its preview shows.
_MAX_PREVIEWED = 9
# Share of voxels other than 0 below which the others are no tissue.
_MOSTLY = 0.4


def score_study(
    files: Path, out: Path, settings: Settings, worker: Worker, spacing: str = ""
) -> StudyResult:
    """Score a study in a worker process.

    Args:
        files: Folder of the study's files.
        out: Output folder for what the viewer shows.
        settings: Settings of the server, with the detector's file.
        worker: Worker process, with its limits of memory and time.
        spacing: Voxel size of volumes whose files lost it, such as `0.9,0.9,6.5`; or empty.

    Returns:
        Its series and answer; one failed series if the process ended badly.
    """
    try:
        return worker.call(write_study, files, out, settings.model, spacing)
    except InputError as error:
        failed = StoredSeries(Findings.of_error(error, {}), why=WHY["failed"])
        return StudyResult(series=(failed,))


def write_study(files: Path, out: Path, model: Path | None, spacing: str = "") -> StudyResult:
    """Score every scan and write volumes, heat maps, pictures and DICOM objects.

    Args:
        files: Folder of the study's files.
        out: Output folder, which is emptied first.
        model: Detector file; None for the shipped one.
        spacing: Voxel size of volumes whose files lost it; or empty.

    Returns:
        Its series and answer, without heat maps.
    """
    # Imported here, because the server also imports this module, but never scores.
    from meninx._detect.loading import cached_detector
    from meninx._scoring.study import score_study

    objects = _objects_writer(out / RESULTS)  # it looks for reports that are there
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shown = _ShownWriter(files, out)
    size = spacing_from_text(spacing) if spacing else None
    writers: list[Writer] = [objects, shown] if objects else [shown]
    study = score_study(cached_detector(model), files, writers, size)
    counts = objects.counts if objects else [0] * len(study.findings)
    chosen, why = _chosen_of(study.findings)
    series = (
        replace(series, findings=findings, objects=count, why=why)
        for series, findings, count in zip(shown.series, study.findings, counts, strict=True)
    )
    return StudyResult(tuple(series), chosen, study.answer)


class _ShownWriter:
    """A writer of what the viewer shows of each series.

    Args:
        files: Folder of the study's files.
        out: Output folder.
    """

    def __init__(self, files: Path, out: Path) -> None:
        self._files, self._out = files, out
        self.series: list[StoredSeries] = []

    def write(self, result: "Result") -> None:
        """Write the files of one series, and append it to `series`."""
        number, shown, preview = len(self.series), None, ""
        if result.scan is not None:
            shown = _write_viewer_files(result.scan, result, self._out, number)
        elif result.findings.status == "refused":
            preview = write_preview(result, self._out, number)
        findings = result.findings.without_maps()
        identity = series_of(result, self._files)
        self.series.append(StoredSeries(findings, identity, shown, preview))


def series_of(result: "Result", files: Path) -> SeriesIdentity:
    """Return what identifies a series to a reader, as far as it is known.

    Args:
        result: Scan with its findings.
        files: Folder of the study's files.

    Returns:
        The identity, with the name of the stored file.
    """
    findings, scan, identity = result.findings, result.scan, result.identity
    path = Path(findings.scan)
    return SeriesIdentity(
        uid=identity.series_uid or "",
        number=identity.series_number,
        description=clean_text(identity.description),
        file=str(path.relative_to(files)) if path.is_relative_to(files) else "",
        sequence=findings.sequence,
        plane=scan.view.plane if scan else None,
        slices=len(scan) if scan else None,
        status=findings.status,
        reason=findings.reason,
    )


def write_preview(result: "Result", out: Path, number: int) -> str:
    """Write a picture of the stored images of a series that was refused before it became a scan.

    Args:
        result: Series that was refused.
        out: Output folder.
        number: Index of the series in its study, from 0.

    Returns:
        File name of the picture; empty where no image can be read.
    """
    from meninx._render.thumbnail import contact_sheet

    source = result.source
    images = source.stored_images(_MAX_PREVIEWED) if isinstance(source, Unread) else []
    if not images:
        return ""
    name = f"{number}-preview.png"
    contact_sheet(images).save(out / name)
    return name


class _ObjectsWriter:
    """A writer of DICOM objects, and of the source series that reports of readers refer to.

    Args:
        folder: Folder of the objects, in the one that the viewer shows.
    """

    def __init__(self, folder: Path) -> None:
        from meninx._clinic.results import earlier_reports

        self._folder, self._earlier = folder, earlier_reports(folder)
        self.counts: list[int] = []

    def write(self, result: "Result") -> None:
        """Write the objects of one series, and append their number to `counts`."""
        from meninx._clinic.results import write_dicom_results
        from meninx._clinic.source_series import source_series

        number, source = len(self.counts), source_series(result)
        if source is not None:
            path = self._folder.parent / SOURCE.format(number)
            path.write_text(source.as_json(), encoding="utf-8")
        made = write_dicom_results(result, self._folder, earlier=self._earlier)
        self.counts.append(len(made))


def _objects_writer(folder: Path) -> _ObjectsWriter | None:
    """Return a writer of DICOM objects; none without the extra `hospital`."""
    return _ObjectsWriter(folder) if importlib.util.find_spec("highdicom") else None


def _chosen_of(findings: Sequence[Findings]) -> tuple[int, str]:
    """Return the index of the finding to show first, and the reason in words."""

    def rank(index: int) -> tuple[bool, bool, float, int]:
        found = findings[index]
        scored, refused = found.status == "scored", found.status == "refused"
        return (scored, refused, found.probability or 0.0, -index)

    chosen = max(range(len(findings)), key=rank)
    return chosen, WHY[findings[chosen].status]


def _write_viewer_files(scan: Scan, result: "Result", out: Path, number: int) -> Shown:
    """Write a scan, its heat map and a picture of its hottest slice.

    Args:
        scan: A scan.
        result: Findings, heat map and pictures of the scan.
        out: Output folder.
        number: Index of the scan in its study, from 0.

    Returns:
        What the viewer needs: plane, shape, axis of slices, names of the files.
    """
    from meninx._render.thumbnail import FIRST_IMAGE, THUMBNAIL, thumbnail
    from meninx._scan.nifti import write_nifti
    from meninx._web.studies.slice_files import SLICES, write_slices

    # A picture has no geometry; with an identity affine it is shown as it is stored.
    with_affine = scan
    if scan.affine is None:
        with_affine = Scan(scan.name, scan.voxels, np.eye(4), slice_axis=2)
    first = _first_slice(scan, result.findings)
    write_slices(_as_stored(scan.voxels), with_affine, out / f"{number}{SLICES}", first)
    thumbnail(scan, result.findings, THUMBNAIL).save(out / f"{number}-thumb.png")
    thumbnail(scan, result.findings, FIRST_IMAGE).save(out / f"{number}-first.jpg", quality=85)
    i, j, k = scan.voxels.shape
    shown = Shown(
        volume=f"{number}{SLICES}",
        gray=_gray_values(scan.voxels),
        thumb=f"{number}-thumb.png",
        first=f"{number}-first.jpg",
        shape=(i, j, k),
        slice_axis=scan.view.slice_axis,
        geometry=scan.affine is not None and not scan.geometry_estimated,
        plane=scan.view.plane,
        midline_mm=midline_of(scan),
        affine=_rows(scan),
        spacing_mm=_spacing(scan),
    )
    if not result.scored:
        return shown
    result.picture.save(out / f"{number}.png")
    shown = replace(shown, picture=f"{number}.png", withheld=result.withheld)
    if result.heat is None:
        return shown
    write_nifti(result.heat, with_affine, out / f"{number}-heat.nii{PACKED}")
    return replace(shown, heat=f"{number}-heat.nii", regions=result.regions)


def _rows(scan: Scan) -> tuple[tuple[float, ...], ...] | None:
    """Return the affine of a scan as rows; None without geometry."""
    if scan.affine is None:
        return None
    return tuple(tuple(map(float, row)) for row in np.round(scan.affine, 6))


def _spacing(scan: Scan) -> tuple[float, float, float] | None:
    """Return the distances between voxels, mm; None where they can't be believed."""
    if scan.spacing_mm is None or scan.geometry_estimated:
        return None
    i, j, k = (round(float(spacing), 4) for spacing in scan.spacing_mm)
    return i, j, k


def _first_slice(scan: Scan, findings: Findings) -> int:
    """Return the index of the slice that the viewer shows first: the hottest, else the middle."""
    hottest = max(findings.slices, key=lambda scored: scored.probability, default=None)
    return hottest.index if hottest else len(scan) // 2


def _gray_values(voxels: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Return the lowest value of a volume, its automatic window, and its highest value.

    Args:
        voxels: Voxels.

    Returns:
        Minimum, lower and upper end of the window, maximum. The window has 96 % of the values of
        the middle half along each axis; of its values other than 0 if most are 0, as around a head
        without skull.
    """
    middle = voxels[tuple(slice(side // 4, side - side // 4) for side in voxels.shape)]
    tissue = middle[middle != 0]
    is_masked = tissue.size < _MOSTLY * middle.size
    low, high = np.percentile(tissue if is_masked and tissue.size else middle, (2, 98))
    lowest, highest = float(voxels.min()), float(voxels.max())
    low = min(float(low), 0.0) if is_masked else float(low)
    if low >= high:
        return lowest, lowest, highest, highest
    return lowest, low, float(high), highest


def _as_stored(voxels: NDArray[np.float32]) -> NDArray[np.generic]:
    """Return voxels as integers of 8 or 16 bits if they are whole numbers of that range."""
    if (voxels != np.rint(voxels)).any():
        return voxels
    for kind in (np.uint8, np.int16):
        if np.iinfo(kind).min <= voxels.min() and voxels.max() <= np.iinfo(kind).max:
            return voxels.astype(kind)
    return voxels
