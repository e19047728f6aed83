"""Files that commands write: findings, pictures, DICOM objects."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO, TypeAlias

import typer

from meninx.cli.extras import needs_extra
from meninx.cli.writable import check_folder, unwritable
from meninx.errors import OptionError

if TYPE_CHECKING:
    from PIL import Image

    from meninx.cli.table import StudyRows
    from meninx.detect.detector import Detector
    from meninx.detect.findings import Findings, StudyFindings
    from meninx.render.bundle import Bundle
    from meninx.scan.scan import Scan

    # Returns whether all objects could be written.
    DicomWriter: TypeAlias = Callable[[Scan | None, Findings, Bundle | None], bool]

# Exit status where a scan was refused or could not be read.
SOME_NOT_SCORED = 1


def answered_studies(detector: "Detector", findings: "Sequence[Findings]") -> "list[StudyRows]":
    """Return findings by study, with the answer of each.

    Args:
        detector: Detector that scored the scans.
        findings: Findings of all scans: series of a study may come from several paths.

    Returns:
        Findings and answer of each study, in the order of its first series.
    """
    from meninx.detect.study_grouping import grouped_by_study

    return [
        (series, None if name is None else detector.score_study(series, name))
        for name, series in grouped_by_study(findings)
    ]


def dicom_writer(paths: Sequence[str], folder: Path) -> "DicomWriter":
    """Return a function that writes the DICOM objects of a finding.

    Args:
        paths: Files, folders or archives that are scored.
        folder: Output folder; one subfolder a series.

    Returns:
        A function of a scan, its findings and its bundle.

    Raises:
        OptionError: If the extra is missing, or the folder can't be made.
    """
    with needs_extra("hospital"):
        from meninx.clinic.result_context import Headers
        from meninx.clinic.results import reason_of, write_results
    make_folder(folder, "--dicom-out")
    headers = Headers(*paths)

    def write(scan: "Scan | None", findings: "Findings", bundle: "Bundle | None") -> bool:
        faults: list[str] = []

        def on_fault(kind: str, error: Exception) -> None:
            faults.append(f"no {kind}: {reason_of(error)}")

        inside = folder / file_stem(findings.scan)
        for kind in ("SR", "SC", "SEG"):  # of an earlier run, perhaps with another answer
            for path in inside.glob(f"{kind}-*.dcm"):
                path.unlink()
        if not write_results(headers, scan, findings, bundle, inside, on_fault):
            if not findings.identity:
                typer.echo(
                    f"meninx: {findings.scan}: not DICOM, so no DICOM objects of it", err=True
                )
                return True
            faults = faults or ["no DICOM objects: a UID in its headers is empty"]
        for fault in faults:
            typer.echo(f"meninx: {findings.scan}: {fault}", err=True)
        return not faults

    return write


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


def check_paths(paths: Sequence[str]) -> None:
    """Check that no path is empty.

    Args:
        paths: Paths as the user gave them.

    Raises:
        OptionError: If a path is empty: it would mean the current folder, which is seldom meant.
    """
    if not all(paths):
        raise OptionError('an empty path ""; is a variable of your shell unset?')


class Results:
    """A folder that findings.jsonl and pictures are written into, as they come.

    Args:
        folder: Folder to write into, made if missing; None to write nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._folder is not None:
            make_folder(self._folder, "--output")
            try:
                self._file = (self._folder / "findings.jsonl").open("w", encoding="utf-8")
            except OSError as error:
                raise unwritable("--output", self._folder, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, findings: "Findings", bundle: "Bundle | None") -> Path | None:
        """Write the findings of one scan.

        Args:
            findings: Findings of the scan.
            bundle: Scan with its pictures; None where it was not scored.

        Returns:
            Path of the picture of its hottest slice; None if there is none.
        """
        if self._file is None or self._folder is None:
            return None
        self._write(findings)
        if bundle is None:
            return None
        return save_picture(bundle.picture(), bundle, self._folder)

    def add_study(self, study: "StudyFindings") -> None:
        """Write the findings of a study."""
        self._write(study)

    def _write(self, findings: "Findings | StudyFindings") -> None:
        if self._file is not None:
            self._file.write(json.dumps(findings.as_json(), allow_nan=False) + "\n")
            self._file.flush()


def save_picture(picture: "Image.Image", bundle: "Bundle", folder: Path) -> Path:
    """Write a picture of a finding, marked so that it is never taken for a scan.

    Args:
        picture: Picture to write.
        bundle: Bundle that the picture was drawn of.
        folder: Folder to write into.

    Returns:
        Path of the PNG file.
    """
    from PIL.PngImagePlugin import PngInfo

    from meninx.scan.raster import HEATMAP_KEY

    path = folder / f"{file_stem(bundle.findings.scan)}.png"
    mark = PngInfo()
    mark.add_text(HEATMAP_KEY, bundle.findings.scan)
    if bundle.withheld:
        mark.add_text("Comment", bundle.withheld)
    picture.save(path, pnginfo=mark)
    return path


def without_maps(findings: "Findings") -> "Findings":
    """Return findings without their slices: a table of thousands of scans must not hold maps."""
    hottest = findings.hottest
    return replace(findings, slices=(hottest,) if hottest else ())


def file_stem(name: str) -> str:
    """Return a scan's name as a file name: its last parts, safe on every system."""
    tail = "_".join(Path(name).parts[-2:])
    safe = re.sub(r"[^A-Za-z0-9.-]+", "_", tail).strip("._")[:80]
    # Scans of the same last parts in different folders must not overwrite each other.
    return f"{safe}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:6]}"
