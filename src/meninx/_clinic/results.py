"""Make and write the DICOM objects of a finding."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pydicom
from pydicom import Dataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from meninx._clinic.key_objects import key_images, rejection_note
from meninx._clinic.result_context import ResultContext, context_of
from meninx._clinic.secondary_capture import secondary_capture
from meninx._clinic.segmentation import segmentation
from meninx._clinic.structured_report import structured_report
from meninx._errors import MeninxError
from meninx._render.result import Result

# SOP class of each kind of result.
RESULT_CLASSES: Mapping[str, UID] = MappingProxyType(
    {
        "SR": Comprehensive3DSRStorage,
        "SEG": SegmentationStorage,
        "SC": SecondaryCaptureImageStorage,
        "KO": KeyObjectSelectionDocumentStorage,
        "REJECTED": KeyObjectSelectionDocumentStorage,
    }
)
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
        objects: Headers of all results on these images, the report among them.
    """

    sources: frozenset[str]
    documents: tuple[Dataset, ...]
    objects: tuple[Dataset, ...] = ()


def earlier_reports(folder: Path) -> list[EarlierReport]:
    """Return the reports in a folder of results, before they are replaced.

    Args:
        folder: Folder of `write_dicom_results`; it may be missing.

    Returns:
        The reports; unreadable files are logged.
    """
    objects: list[tuple[Dataset, frozenset[str]]] = []
    for path in sorted(folder.glob("*.dcm")):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            objects.append((header, _all_referenced(header)))
        except Exception as error:  # noqa: BLE001 - such as a file that a killed process left
            log.warning("an earlier result can't be read: %s", type(error).__name__)
    return [
        report
        for header, _ in objects
        if header.Modality == "SR" and (report := _earlier_report(header, objects)) is not None
    ]


def _earlier_report(
    header: Dataset, objects: Sequence[tuple[Dataset, frozenset[str]]]
) -> EarlierReport | None:
    """Return a report with the results on its images; None if it lacks what a report has."""
    try:
        evidence = _referenced(header.CurrentRequestedProcedureEvidenceSequence)
        sources = frozenset(str(source.SOPInstanceUID) for source in evidence)
        replaced = tuple(_referenced(header.get("PredecessorDocumentsSequence") or ()))
    except AttributeError as error:
        log.warning("an earlier report can't be read: %s", type(error).__name__)
        return None
    # A rejection note refers to results, never to images.
    same = tuple(other for other, named in objects if not named.isdisjoint(sources))
    return EarlierReport(sources, (header, *replaced), same)


def _all_referenced(header: Dataset) -> frozenset[str]:
    """Return the UIDs of all instances that a result refers to."""
    return frozenset(
        str(element.value)
        for element in header.iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    )


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
    context: ResultContext,
    result: Result,
    on_fault: OnFault = _log_fault,
    earlier: Sequence[Dataset] = (),
) -> Mapping[str, Dataset]:
    """Return the objects of a finding that its headers allow.

    Args:
        context: Source instances and their findings.
        result: Scan with its pictures.
        on_fault: Called with each kind that could not be made, and the error.
        earlier: Headers of earlier results on these images.

    Returns:
        Objects by kind: `SR` always, `SC` for a scored scan; `KO` and `SEG` unless the answer is no
        tumor or the heat map failed its check; `REJECTED` if earlier results are replaced. Empty if
        the patient's identifiers can't be read.
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
        makers["KO"] = lambda: key_images(context, result)
        if context.findings.decision != "no_tumor":
            makers["SEG"] = lambda: segmentation(context, result)
    objects: dict[str, Dataset] = {}

    def add(kind: str, make: Callable[[], Dataset | None]) -> None:
        try:
            # Warnings of libraries quote values of attributes.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = make()
        except Exception as error:  # noqa: BLE001 - headers that lie make highdicom raise anything
            on_fault(kind, error)
            return
        if dataset is not None:
            objects[kind] = dataset

    for kind, make in makers.items():
        add(kind, make)
    # A rerun makes the same instances: these stay valid.
    made = {str(dataset.SOPInstanceUID) for dataset in objects.values()}
    if rejected := [header for header in earlier if str(header.SOPInstanceUID) not in made]:
        add("REJECTED", lambda: rejection_note(context, rejected))
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
    replaced = [report for report in earlier if not images.isdisjoint(report.sources)]
    documents = _by_uid(document for report in replaced for document in report.documents)
    objects = _by_uid(header for report in replaced for header in report.objects)
    context = replace(context, earlier=documents)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, dataset in _result_objects(context, result, on_fault, objects).items():
        path = folder / f"{kind}-{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _by_uid(datasets: Iterable[Dataset]) -> tuple[Dataset, ...]:
    """Return datasets, each instance once."""
    return tuple({str(dataset.SOPInstanceUID): dataset for dataset in datasets}.values())


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
