"""Make and write the DICOM objects of a finding."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
from pydicom import Dataset

from meninx._clinic.result_context import ResultContext, context_of
from meninx._clinic.secondary_capture import secondary_capture
from meninx._clinic.segmentation import segmentation
from meninx._clinic.structured_report import structured_report
from meninx._errors import MeninxError
from meninx._render.result import Result

OnFault = Callable[[str, Exception], None]

log = logging.getLogger(__name__)


def reason_of(error: Exception) -> str:
    """Return why an object could not be made, without messages that may quote a name."""
    if isinstance(error, MeninxError):
        return str(error)
    return f"its headers do not allow it ({type(error).__name__})"


@dataclass(frozen=True, eq=False)
class EarlierReport:
    """A report of an earlier run.

    Args:
        sources: SOPInstanceUIDs of its images.
        documents: UIDs of the report, and of those that it replaced.
    """

    sources: frozenset[str]
    documents: tuple[Dataset, ...]


def earlier_reports(folder: Path) -> list[EarlierReport]:
    """Return the reports in a folder of results, before they are replaced.

    Args:
        folder: Folder of `write_dicom_results`; it may be missing.

    Returns:
        The reports; unreadable files are logged.
    """
    reports = []
    for path in sorted(folder.glob("SR-*.dcm")):
        try:
            report = pydicom.dcmread(path)
            sources = _referenced(report.CurrentRequestedProcedureEvidenceSequence)
            replaced = _referenced(report.get("PredecessorDocumentsSequence") or ())
            reports.append(
                EarlierReport(
                    frozenset(str(source.SOPInstanceUID) for source in sources), (report, *replaced)
                )
            )
        except Exception as error:  # noqa: BLE001 - such as a file that a killed process left
            log.warning("an earlier report can't be read: %s", type(error).__name__)
    return reports


def _referenced(studies: Sequence[Dataset]) -> Iterator[Dataset]:
    """Yield the UIDs of each referenced instance (PS3.3 C.17.2.1)."""
    for study in studies:
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                uids = Dataset()
                uids.StudyInstanceUID = study.StudyInstanceUID
                uids.SeriesInstanceUID = series.SeriesInstanceUID
                uids.SOPClassUID = reference.ReferencedSOPClassUID
                uids.SOPInstanceUID = reference.ReferencedSOPInstanceUID
                yield uids


def _log_fault(kind: str, error: Exception) -> None:
    """Log that an object could not be made."""
    log.warning("no %s of a scan: %s", kind, reason_of(error))


def _result_objects(
    context: ResultContext, result: Result, on_fault: OnFault = _log_fault
) -> Mapping[str, Dataset]:
    """Return the objects of a finding that its headers allow.

    Args:
        context: Source instances and their findings.
        result: Scan with its pictures.
        on_fault: Called with each kind that could not be made, and the error.

    Returns:
        Objects by kind: `SR` always, `SC` for a scored scan, `SEG` unless the answer is no tumor or
        the heat map failed its check. Empty if the patient's identifiers can't be read.
    """
    try:
        context.check_names()
    except MeninxError as error:
        on_fault("DICOM objects", error)
        return {}
    makers: dict[str, Callable[[], Dataset | None]] = {
        "SR": lambda: structured_report(context, result)
    }
    if result.scored:
        makers["SC"] = lambda: secondary_capture(context, result)
        if context.findings.decision != "no_tumor":
            makers["SEG"] = lambda: segmentation(context, result)
    objects: dict[str, Dataset] = {}
    for kind, make in makers.items():
        try:
            # Warnings of libraries quote values of attributes.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = make()
        except Exception as error:  # noqa: BLE001 - headers that lie make highdicom raise anything
            on_fault(kind, error)
            continue
        if dataset is not None:
            objects[kind] = dataset
    return objects


def write_dicom_results(
    result: Result,
    folder: Path,
    on_fault: OnFault = _log_fault,
    earlier: Sequence[EarlierReport] = (),
) -> list[Path]:
    """Write the objects of a result.

    Args:
        result: Scan with its findings and pictures.
        folder: Output folder, made if missing.
        on_fault: Called with each kind that could not be made, and the error.
        earlier: Earlier reports; the new report names those on the same images as replaced.

    Returns:
        Paths of the files, named by kind and instance UID; empty if the scan is not DICOM.
    """
    context = context_of(result)
    if context is None:
        return []
    images = {str(header.SOPInstanceUID) for header in context.headers}
    replaced = {
        str(document.SOPInstanceUID): document
        for report in earlier
        if not images.isdisjoint(report.sources)
        for document in report.documents
    }
    context = replace(context, earlier=tuple(replaced.values()))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, dataset in _result_objects(context, result, on_fault).items():
        path = folder / f"{kind}-{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


class ResultWriter:
    """A writer of DICOM objects into a folder; it logs those that can't be made.

    Args:
        folder: Output folder, made if missing.
        earlier: Earlier reports, which new reports name as replaced.
    """

    def __init__(self, folder: Path, earlier: Sequence[EarlierReport] = ()) -> None:
        self._folder, self._earlier = folder, earlier

    def write(self, result: Result) -> None:
        """Write the objects of a result."""
        write_dicom_results(result, self._folder, earlier=self._earlier)
