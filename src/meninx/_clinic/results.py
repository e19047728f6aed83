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
    """Return why an object could not be made, without a person's name: libraries quote values."""
    if isinstance(error, MeninxError):
        return str(error)
    return f"its headers do not allow it ({type(error).__name__})"


@dataclass(frozen=True, eq=False)
class EarlierReport:
    """A report that was written before.

    Args:
        sources: SOPInstanceUIDs of the images that it is about.
        documents: UIDs of the report, and of those that it replaced itself.
    """

    sources: frozenset[str]
    documents: tuple[Dataset, ...]


def earlier_reports(folder: Path) -> list[EarlierReport]:
    """Return the reports in a folder of results, for those that will replace them.

    Args:
        folder: Folder that `write_dicom_results` wrote into; it may be missing.

    Returns:
        The reports; none of files that can't be read.
    """
    found = []
    for path in sorted(folder.glob("SR-*.dcm")):
        try:
            report = pydicom.dcmread(path)
            sources = _referenced(report.CurrentRequestedProcedureEvidenceSequence)
            before = _referenced(report.get("PredecessorDocumentsSequence") or ())
            found.append(
                EarlierReport(
                    frozenset(str(source.SOPInstanceUID) for source in sources), (report, *before)
                )
            )
        except Exception as error:  # noqa: BLE001 - cut short when the process ended
            log.warning("an earlier report can't be read: %s", type(error).__name__)
    return found


def _referenced(studies: Sequence[Dataset]) -> Iterator[Dataset]:
    """Yield what a sequence of references names, each with its UIDs (PS3.3 C.17.2.1)."""
    for study in studies:
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                named = Dataset()
                named.StudyInstanceUID = study.StudyInstanceUID
                named.SeriesInstanceUID = series.SeriesInstanceUID
                named.SOPClassUID = reference.ReferencedSOPClassUID
                named.SOPInstanceUID = reference.ReferencedSOPInstanceUID
                yield named


def passed_over(kind: str, error: Exception) -> None:
    """Log that an object could not be made."""
    log.warning("no %s of a scan: %s", kind, reason_of(error))


def result_objects(
    context: ResultContext, result: Result, on_fault: OnFault = passed_over
) -> Mapping[str, Dataset]:
    """Return all objects of a finding that its headers allow.

    Args:
        context: Source instances and the findings of them.
        result: Scan with its pictures.
        on_fault: Called with each kind that could not be made, and the error.

    Returns:
        Objects by kind: `SR` always, `SC` for a scored scan, `SEG` unless the answer is no tumor or
        the heat map failed its check. None where the patient's name can't be read.
    """
    try:
        context.check_names()
    except MeninxError as error:
        on_fault("DICOM objects", error)
        return {}
    wanted: dict[str, Callable[[], Dataset | None]] = {
        "SR": lambda: structured_report(context, result)
    }
    if result.scored:
        wanted["SC"] = lambda: secondary_capture(context, result)
        if context.findings.decision != "no_tumor":
            wanted["SEG"] = lambda: segmentation(context, result)
    made: dict[str, Dataset] = {}
    for kind, make in wanted.items():
        try:
            # Libraries warn with values of attributes in their text.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = make()
        except Exception as error:  # noqa: BLE001 - headers that lie make highdicom raise anything
            on_fault(kind, error)
            continue
        if found is not None:
            made[kind] = found
    return made


def write_dicom_results(
    result: Result,
    folder: Path,
    on_fault: OnFault = passed_over,
    earlier: Sequence[EarlierReport] = (),
) -> list[Path]:
    """Write the objects of a result.

    Args:
        result: Scan with its findings and pictures.
        folder: Output folder, made if missing.
        on_fault: Called with each kind that could not be made, and the error.
        earlier: Reports of before; the new one names those on the same images as replaced.

    Returns:
        Paths of the files, named by kind and instance UID; none if the scan was not DICOM.
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
    made = result_objects(context, result, on_fault)
    for kind, dataset in made.items():
        path = folder / f"{kind}-{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


class ResultWriter:
    """A writer of DICOM objects into one folder; those that can't be made are logged.

    Args:
        folder: Output folder, made if missing.
        earlier: Reports of before, which new ones name as replaced.
    """

    def __init__(self, folder: Path, earlier: Sequence[EarlierReport] = ()) -> None:
        self._folder, self._earlier = folder, earlier

    def write(self, result: Result) -> None:
        """Write the objects of one result."""
        write_dicom_results(result, self._folder, earlier=self._earlier)
