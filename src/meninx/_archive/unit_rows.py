"""Score a unit's files into rows of the table; runs in a worker process, and imports little."""

import dataclasses
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from meninx._detect.findings import Findings
from meninx._detect.loading import cached_detector
from meninx._errors import InputError, printable
from meninx._render.result import Result
from meninx._scan.dicom.acquisition import facts_of
from meninx._scan.dicom.file import read_dataset
from meninx._scan.frame import SeriesFacts
from meninx._scan.kinds import is_dicom
from meninx._scan.source import Source
from meninx._scoring.loop import score_files, write_all

Rows = list[dict[str, Any]]


def preload_detector(model: Path | None) -> None:
    """Load a detector before the first unit.

    Args:
        model: Detector file; None for the one that ships.
    """
    cached_detector(model, threads=1)


def score_unit(
    files: Sequence[Path],
    model: Path | None,
    maps: bool,
    size: int,
    context: Sequence[Path] = (),
) -> Rows:
    """Return the rows of a unit's files; runs in the worker process.

    Args:
        files: Files of the unit.
        model: Detector file; None for the one that ships.
        maps: Whether to store the heat map of each hottest slice.
        size: Size of the files, bytes; -1 if unknown.
        context: Files that say what else belongs to them: notes of incomplete fetches, DICOMDIRs.

    Returns:
        One row per scan, in the order of reading; see `row_of`.
    """
    detector = cached_detector(model, threads=1)
    writer = _RowWriter(files, size, maps=maps)
    for _ in write_all(score_files(detector, [*files, *context]), [writer]):
        pass
    return writer.rows


class _RowWriter:
    """A writer of the rows of a unit's scans.

    Args:
        files: Files of the unit.
        size: Size of the files, bytes; -1 if unknown.
        maps: Whether to store the heat map of each hottest slice.
    """

    def __init__(self, files: Sequence[Path], size: int, *, maps: bool) -> None:
        self.rows: Rows = []
        self._files, self._size, self._maps = files, size, maps

    def write(self, result: Result) -> None:
        """Add the row of a scan."""
        scan, findings = result.scan, result.findings
        facts = self._facts_of(result)
        row = row_of(findings, _detail(findings, self._files), facts, self._files, self._size)
        row["kind"] = None if scan is None else "volume" if scan.is_volume else "picture"
        if self._maps and result.scored:
            row |= {"heatmap": _heatmap(result), "heatmap_withheld": result.withheld}
        self.rows.append(row)

    def _facts_of(self, result: Result) -> SeriesFacts:
        """Return the facts of a scan's header, or of the unit's first file without a scan."""
        if result.scan is None:
            return self._facts
        headers, sequence = result.headers, result.scan.sequence
        facts = facts_of(headers.first_by_name) if headers else SeriesFacts()
        return dataclasses.replace(facts, sequence=sequence)

    @cached_property
    def _facts(self) -> SeriesFacts:
        path = min(self._files)
        with path.open("rb") as file, suppress(InputError):  # reading the scan reports it
            if is_dicom(file.read(256)):
                return facts_of(read_dataset(Source(str(path), path, path.stat().st_size)))
        return SeriesFacts()


def _detail(findings: Findings, files: Sequence[Path]) -> str:
    """Return the part of a scan's name after the path of its files, such as " (series 3)"."""
    place = printable(os.path.commonpath(files))
    return findings.scan.removeprefix(place) if findings.scan.startswith(place) else ""


def row_of(
    findings: Findings, detail: str, facts: SeriesFacts, files: Sequence[Path], size: int
) -> dict[str, Any]:
    """Return a row for the table.

    Args:
        findings: Findings of the scan.
        detail: Part of the scan's name after the path of its files, such as " (series 3)".
        facts: Facts of the scan's header.
        files: Files of the scan's unit.
        size: Size of the files, bytes; -1 if unknown.

    Returns:
        The scan's public JSON without its name, with its logit and facts.
    """
    row = findings.as_json()
    del row["scan"]
    folder = printable(f"{os.path.commonpath([file.parent for file in files])}/")
    message = row["message"]
    # The temporary folder is meaningless to a reader, and differs between runs.
    row["message"] = message.replace(folder, "") if message else message
    return (
        row
        | dataclasses.asdict(facts)
        | {
            "detail": detail,
            "files": len(files),
            "bytes": size if size >= 0 else None,
            "logit": findings.logit,
            "kind": None,
            "heatmap": None,
            "heatmap_withheld": None,
        }
    )


def _heatmap(result: Result) -> str | None:
    """Return the hottest slice as PNG, in hexadecimal digits; None if its map may not be shown."""
    if result.withheld:
        return None
    picture = io.BytesIO()
    result.picture.save(picture, "PNG")
    return picture.getvalue().hex()
