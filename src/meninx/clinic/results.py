"""Make and write the DICOM objects of a finding."""

from collections.abc import Mapping
from pathlib import Path

from pydicom import Dataset

from meninx import __version__
from meninx.clinic.origin import Headers, Origin
from meninx.clinic.secondary_capture import secondary_capture
from meninx.clinic.segmentation import segmentation
from meninx.clinic.structured_report import structured_report
from meninx.detect.findings import Findings
from meninx.render.bundle import Bundle
from meninx.scan.scan import Scan


def result_objects(origin: Origin, bundle: Bundle | None) -> Mapping[str, Dataset]:
    """Return all objects of a finding.

    Args:
        origin: The instances and what was found in them.
        bundle: Of the scan; None where it was not scored.

    Returns:
        By kind: `SR` always, `SC` for what was scored, `SEG` unless the answer is no tumor or the
        heat map failed its check.
    """
    made: dict[str, Dataset] = {"SR": structured_report(origin, bundle)}
    if bundle is None:
        return made
    made["SC"] = secondary_capture(origin, bundle)
    region = None
    if origin.findings.decision != "no_tumor":
        region = segmentation(origin, bundle)
    if region is not None:
        made["SEG"] = region
    return made


def write_results(
    headers: Headers, scan: Scan | None, findings: Findings, bundle: Bundle | None, folder: Path
) -> list[Path]:
    """Write the objects of a finding.

    Args:
        headers: Of the files that were scored.
        scan: That was read; None where it could not be.
        findings: Of it.
        bundle: Of the scan; None where it was not scored.
        folder: Made if missing; the objects of a rerun replace those before.

    Returns:
        The files, named by kind and instance UID; none if the scan was not DICOM.
    """
    instances = scan.identity.instance_uids if scan is not None else ()
    origin = headers.origin_of(findings, instances, __version__)
    if origin is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, dataset in result_objects(origin, bundle).items():
        path = folder / f"{kind}-{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
