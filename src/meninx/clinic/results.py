"""Make and write the DICOM objects of a finding."""

import logging
import warnings
from collections.abc import Callable, Mapping
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

OnFault = Callable[[str, Exception], None]

log = logging.getLogger(__name__)


def passed_over(kind: str, error: Exception) -> None:
    """Log that an object could not be made: its kind and the error's, which name nobody."""
    log.warning("no %s of a scan: %s", kind, type(error).__name__)


def result_objects(
    origin: Origin, bundle: Bundle | None, on_fault: OnFault = passed_over
) -> Mapping[str, Dataset]:
    """Return all objects of a finding that its headers allow.

    Args:
        origin: The instances and what was found in them.
        bundle: Of the scan; None where it was not scored.
        on_fault: Told of each kind that could not be made, and why.

    Returns:
        By kind: `SR` always, `SC` for what was scored, `SEG` unless the answer is no tumor or the
        heat map failed its check.
    """
    wanted: dict[str, Callable[[], Dataset | None]] = {
        "SR": lambda: structured_report(origin, bundle)
    }
    if bundle is not None:
        wanted["SC"] = lambda: secondary_capture(origin, bundle)
        if origin.findings.decision != "no_tumor":
            wanted["SEG"] = lambda: segmentation(origin, bundle)
    made: dict[str, Dataset] = {}
    for kind, make in wanted.items():
        try:
            # Libraries warn with values of attributes in their text.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = make()
        except Exception as error:  # noqa: BLE001 - what headers that lie make highdicom raise
            on_fault(kind, error)
            continue
        if found is not None:
            made[kind] = found
    return made


def write_results(
    headers: Headers,
    scan: Scan | None,
    findings: Findings,
    bundle: Bundle | None,
    folder: Path,
    on_fault: OnFault = passed_over,
) -> list[Path]:
    """Write the objects of a finding.

    Args:
        headers: Of the files that were scored.
        scan: That was read; None where it could not be.
        findings: Of it.
        bundle: Of the scan; None where it was not scored.
        folder: Made if missing; the objects of a rerun replace those before.
        on_fault: As for `result_objects`.

    Returns:
        The files, named by kind and instance UID; none if the scan was not DICOM.
    """
    instances = scan.identity.instance_uids if scan is not None else ()
    origin = headers.origin_of(findings, instances, __version__)
    if origin is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    made = result_objects(origin, bundle, on_fault)
    for kind in {"SC", "SEG"} - set(made):
        # Of a run before, whose answer was another.
        (folder / f"{kind}-{origin.uid(kind)}.dcm").unlink(missing_ok=True)
    for kind, dataset in made.items():
        path = folder / f"{kind}-{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
