"""Checks of inputs, and files that several verbs write: findings and DICOM objects."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.writable import check_folder, unwritable
from meninx._errors import OptionError, counted

if TYPE_CHECKING:
    from meninx._cli.table import StudyRows
    from meninx._detect.detector import Detector
    from meninx._detect.findings import Findings
    from meninx._render.result import Result
    from meninx._scoring.writers import JsonLines

# Exit status if a scan was refused, failed or is incomplete.
SOME_NOT_SCORED = 1


def all_answered(findings: "Iterable[Findings]") -> bool:
    """Return whether every scan was scored and is complete."""
    return all(scan.status == "scored" and not scan.incomplete for scan in findings)


def score_studies(detector: "Detector", findings: "Sequence[Findings]") -> "list[StudyRows]":
    """Return findings grouped by study, with the answer of each study.

    Args:
        detector: Detector of the scores.
        findings: Findings of all scans; the series of a study may be under several paths.

    Returns:
        Findings and answer of each study, in the order of its first series.
    """
    from meninx._detect.study_grouping import grouped_by_study

    return [
        (series, None if name is None else detector.score_study(series, name))
        for name, series in grouped_by_study(findings)
    ]


class DicomFolder:
    """A writer of the DICOM objects of each finding.

    Args:
        folder: Output folder, with a subfolder for each series.

    Raises:
        OptionError: If the extra is missing, or the folder can't be made.
    """

    def __init__(self, folder: Path) -> None:
        with needs_extra("hospital"):
            pass
        make_folder(folder, "--dicom-out")
        self._folder = folder
        # Whether all objects were written so far, and how many.
        self.complete, self._count = True, 0

    def write(self, result: "Result") -> None:
        """Write the objects of a result, and report those that could not be made."""
        from meninx._clinic.results import reason_of, write_dicom_results
        from meninx._scoring.writers import file_stem

        findings, faults = result.findings, []

        def on_fault(kind: str, error: Exception) -> None:
            faults.append(f"no {kind}: {reason_of(error)}")

        inside = self._folder / file_stem(findings.scan)
        for kind in ("SR", "SC", "SEG"):  # delete those of an earlier run
            for path in inside.glob(f"{kind}-*.dcm"):
                path.unlink()
        if not write_dicom_results(result, inside, on_fault):
            if not findings.identity:
                typer.echo(
                    f"meninx: {findings.scan}: not DICOM, so no DICOM objects of it", err=True
                )
                return
            faults = faults or ["no DICOM objects: a UID in its headers is empty"]
        self._count += len(list(inside.glob("*.dcm")))
        for fault in faults:
            typer.echo(f"meninx: {findings.scan}: {fault}", err=True)
        self.complete = self.complete and not faults

    @property
    def summary(self) -> str:
        """Number of objects that were written, and where."""
        return f"{counted(self._count, 'DICOM object')} in {self._folder}"


def make_folder(folder: Path, option: str) -> None:
    """Make the folder that an option names.

    Args:
        folder: Folder to make; it may exist.
        option: Name of the option, for the message.

    Raises:
        OptionError: If the folder can't be made.
    """
    check_folder(folder, option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(option, folder, error) from error


def distinct_paths(paths: Sequence[str]) -> list[str]:
    """Return the paths to score, and say on standard error which were given repeatedly.

    Args:
        paths: Paths as the user gave them.

    Returns:
        Each path once, in the order given.

    Raises:
        OptionError: If a path is empty, which would otherwise mean the current folder.
    """
    if not all(paths):
        raise OptionError('an empty path ""; is a variable of your shell unset?')
    # Links to one file are one path, too.
    counts = Counter(Path(path).resolve() for path in paths)
    for path, count in counts.items():
        if count > 1:
            typer.echo(f"meninx: {path}: given {count} times, scored once", err=True)
    first = {Path(path).resolve(): path for path in reversed(paths)}
    return [first[path] for path in counts]


def _write_line(line: str, file: TextIO) -> None:
    file.write(f"{line}\n")
    file.flush()


@contextmanager
def findings_file(folder: Path) -> Iterator["JsonLines"]:
    """Open findings.jsonl for writing.

    Args:
        folder: Folder of the file, made if missing.

    Yields:
        A writer of its lines, which flushes each.

    Raises:
        OptionError: If it can't be written.
    """
    from meninx._scoring.writers import JsonLines

    make_folder(folder, "--output")
    try:
        file = (folder / "findings.jsonl").open("w", encoding="utf-8")
    except OSError as error:
        raise unwritable("--output", folder, error) from error
    with file:
        yield JsonLines(lambda line: _write_line(line, file))
