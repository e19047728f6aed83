"""Score one study, and write what the viewer shows and the findings' DICOM objects.

`write_study` runs in a worker process: a broken or hostile file ends that process at worst.
"""

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meninx.detect.findings import Findings
from meninx.errors import InputError
from meninx.sandbox import Sandbox
from meninx.scan.geometry import spacing_from_text
from meninx.scan.scan import Scan
from meninx.web.settings import Settings
from meninx.web.studies import PACKED, RESULTS, SOURCE

if TYPE_CHECKING:
    from meninx.render.bundle import Bundle

WHY = {
    "scored": "of all scored series it has the highest probability",
    "refused": "no series could be scored",
    "failed": "no series could be read",
}

# Images of a refused series that its preview shows.
MAX_PREVIEWED = 9


def score_study(
    files: Path, out: Path, settings: Settings, sandbox: Sandbox, spacing: str = ""
) -> dict[str, Any]:
    """Score a study in a worker process.

    Args:
        files: Folder of the study's files.
        out: Output folder for what the viewer shows.
        settings: Settings of the server, with the detector's file.
        sandbox: Worker process, with its limits of memory and time.
        spacing: Voxel size of volumes whose files lost it, such as `0.9,0.9,6.5`; or empty.

    Returns:
        `findings`, the public JSON of each scan with what the viewer needs; `chosen`, the index of
        the scan to show first, and `why` in words; and `answer`, the study's answer from all scans.
        One failed scan if the process ended badly.
    """
    try:
        return sandbox.call(write_study, files, out, settings.model, spacing)
    except InputError as error:
        finding = Findings.of_error(error, {})
        return {
            "findings": [finding.as_json()], "chosen": 0, "why": WHY["failed"], "answer": None,
        }  # fmt: skip


def write_study(files: Path, out: Path, model: Path | None, spacing: str = "") -> dict[str, Any]:
    """Score every scan and write volumes, heat maps, pictures and DICOM objects.

    Args:
        files: Folder of the study's files.
        out: Output folder, which is emptied first.
        model: Detector file; None for the shipped one.
        spacing: Voxel size of volumes whose files lost it; or empty.

    Returns:
        The values that `score_study` describes.
    """
    # Imported here: the server imports this module too, and never scores.
    from meninx.detect.loading import cached_detector
    from meninx.render.bundle import bundles

    write_results = _results_writer(files, out)  # it looks for reports that are there
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    detector = cached_detector(model)
    size = spacing_from_text(spacing) if spacing else None
    responses: list[dict[str, Any]] = []
    found: list[Findings] = []
    for number, (findings, scan, bundle) in enumerate(bundles(detector, files, size)):
        found.append(findings)
        name = f"series {number + 1}"
        response = findings.as_json() | {"scan": name}
        response["series"] = series_of(findings, scan, files)
        response["objects"] = write_results(scan, findings, bundle, number)
        if scan is not None:
            response["viewer"] = write_viewer_files(scan, findings, bundle, out, number)
        elif findings.status == "refused":
            response["preview"] = write_preview(findings, files, out, number)
        responses.append(response)
    chosen, why = chosen_of(responses)
    answer = detector.score_study(found, "")
    names = {own.scan: one["scan"] for one, own in zip(responses, found, strict=True)}
    answer = replace(
        answer,
        series=tuple(names[scan] for scan in answer.series),
        weighed=tuple(replace(weight, scan=names[weight.scan]) for weight in answer.weighed),
    )
    return {"findings": responses, "chosen": chosen, "why": why, "answer": answer.as_json()}


def series_of(findings: Findings, scan: Scan | None, files: Path) -> dict[str, Any]:
    """Return what identifies a series to a reader, as far as the scan has it.

    Args:
        findings: Findings of the scan.
        scan: The scan; None if it could not be read.
        files: Folder of the study's files.

    Returns:
        UID, stored file name, sequence, plane, number of slices, status and reason; number and
        description are filled in from the headers by `answer_study`.
    """
    path = Path(findings.scan)
    return {
        "uid": findings.identity.get("series_instance_uid", ""), "number": None, "description": "",
        "file": str(path.relative_to(files)) if path.is_relative_to(files) else "",
        "sequence": findings.sequence, "plane": scan.view.plane if scan else None,
        "slices": len(scan) if scan else None, "status": findings.status,
        "reason": findings.reason,
    }  # fmt: skip


def write_preview(findings: Findings, files: Path, out: Path, number: int) -> str | None:
    """Write a picture of the stored images of a series that was refused before it became a scan.

    Args:
        findings: Findings of the series.
        files: Folder of the study's files.
        out: Output folder.
        number: Index of the series in its study, from 0.

    Returns:
        File name of the picture; None where no image can be read.
    """
    from meninx.render.thumbnail import contact_sheet
    from meninx.scan.reading import stored_images

    uid = findings.identity.get("series_instance_uid", "")
    images = stored_images(files, uid, MAX_PREVIEWED) if uid else []
    if not images:
        return None
    name = f"{number}-preview.png"
    contact_sheet(images).save(out / name)
    return name


def _results_writer(files: Path, out: Path) -> Any:
    """Return a function that writes a scan's DICOM objects and returns their number.

    Without the extra `hospital` it writes none. It also writes the source series that reports on
    readers' measurements refer to.
    """
    if importlib.util.find_spec("highdicom") is None:
        return lambda scan, findings, bundle, number: 0  # noqa: ARG005
    from meninx.clinic.result_context import Headers
    from meninx.clinic.results import earlier_reports, write_results
    from meninx.clinic.source_series import source_series

    headers, earlier = Headers(files), earlier_reports(out / RESULTS)

    def write(scan: Scan | None, findings: Findings, bundle: "Bundle | None", number: int) -> int:
        source = source_series(headers, scan, findings) if scan is not None else None
        if source is not None:
            (out / SOURCE.format(number)).write_text(source.as_json(), encoding="utf-8")
        made = write_results(headers, scan, findings, bundle, out / RESULTS, earlier=earlier)
        return len(made)

    return write


def chosen_of(findings: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Return the index of the finding to show first, and the reason in words."""

    def rank(index: int) -> tuple[int, int, float, int]:
        one = findings[index]
        scored = one["status"] == "scored"
        return (scored, one["status"] == "refused", one["probability"] or 0.0, -index)

    chosen = max(range(len(findings)), key=rank)
    return chosen, WHY[findings[chosen]["status"]]


def write_viewer_files(
    scan: Scan, findings: Findings, bundle: "Bundle | None", out: Path, number: int
) -> dict[str, Any]:
    """Write a scan, its heat map and a picture of its hottest slice.

    Args:
        scan: A scan.
        findings: Findings of the scan.
        bundle: Heat map and pictures of the scan; None if it was not scored.
        out: Output folder.
        number: Index of the scan in its study, from 0.

    Returns:
        What the viewer needs: plane, sequence, shape, axis of slices, names of the files.
    """
    from meninx.render.region import describe_region, midline_of
    from meninx.render.thumbnail import thumbnail
    from meninx.scan.nifti import write_nifti

    # A picture has no geometry; with an identity affine it is shown as it is stored.
    with_affine = scan
    if scan.affine is None:
        with_affine = Scan(scan.name, scan.voxels, np.eye(4), slice_axis=2)
    write_nifti(_as_stored(scan.voxels), with_affine, out / f"{number}.nii{PACKED}")
    thumbnail(scan, findings).save(out / f"{number}-thumb.png")
    viewer: dict[str, Any] = {
        "volume": f"{number}.nii", "thumb": f"{number}-thumb.png", "heat": None,
        "picture": None, "plane": scan.view.plane, "sequence": scan.sequence,
        "shape": list(scan.voxels.shape), "slice_axis": scan.view.slice_axis,
        "geometry": scan.affine is not None and not scan.geometry_estimated,
        "withheld": None, "region": None, "midline_mm": midline_of(scan),
        "affine": None if scan.affine is None else np.round(scan.affine, 6).tolist(),
        "spacing_mm": np.round(scan.spacing_mm, 4).tolist()
        if scan.spacing_mm is not None and not scan.geometry_estimated
        else None,
    }  # fmt: skip
    if bundle is not None:
        bundle.picture().save(out / f"{number}.png")
        viewer |= {"picture": f"{number}.png", "withheld": bundle.withheld}
        heat = bundle.heat()
        if heat is not None:
            write_nifti(heat, with_affine, out / f"{number}-heat.nii{PACKED}")
            viewer["heat"] = f"{number}-heat.nii"
            region = describe_region(scan, heat)
            viewer["region"] = None if region is None else region.as_json()
    return viewer


def _as_stored(voxels: NDArray[np.float32]) -> NDArray[np.generic]:
    """Return voxels as 16-bit integers if they are whole numbers of that range: half the bytes."""
    if np.abs(voxels).max() < 2**15 and (voxels == np.rint(voxels)).all():
        return voxels.astype(np.int16)
    return voxels
