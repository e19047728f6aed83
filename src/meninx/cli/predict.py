"""Find tumors in scans: `meninx predict PATH...`."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TextIO

import typer

from meninx.cli.detector_options import ModelOption, PathsArgument, RuntimeOption
from meninx.cli.extras import needs_extra
from meninx.detect.calibration import DEFAULT_COVERAGE, OperatingPoint
from meninx.errors import OptionError

if TYPE_CHECKING:
    from PIL import Image

    from meninx.cli.table import Study
    from meninx.detect.detector import Detector
    from meninx.detect.findings import Findings, StudyFindings
    from meninx.scan.scan import Scan

SOME_NOT_SCORED = 1


def predict(
    paths: PathsArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object a line instead of a table.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write findings.jsonl and a heat map of each scored scan here."),
    ] = None,
    with_studies: Annotated[
        bool,
        typer.Option(
            "--studies",
            help="With --json, and in findings.jsonl, write a line for each study too, after those "
            "of all scans: one answer from all its series. The table has it anyway. DICOM series "
            "are one study by their StudyInstanceUID, NIfTI files if they lie in one folder and "
            "their names differ in the sequence alone (sub-01_T1w, sub-01_FLAIR).",
        ),
    ] = False,
    dicom_out: Annotated[
        Path | None,
        typer.Option(
            help="Write DICOM objects of each finding here, for a PACS: a structured report, a "
            "segmentation of the heat map's region and a picture. For scans that are DICOM."
        ),
    ] = None,
    model: ModelOption = None,
    operating_point: Annotated[
        OperatingPoint,
        typer.Option(
            help="Without a coverage, what is called a tumor: balanced, at the best Youden index; "
            "sensitive, so that 95 % of tumors were found; specific, so that 95 % without a tumor "
            "were not called."
        ),
    ] = "balanced",
    coverage: Annotated[
        float,
        typer.Option(
            help="Share of tumors, and of scans without one, whose own answer must not be ruled "
            "out, above 0 and below 1; scans that leave both answers open are referred. It holds "
            "for scans like those of the calibration. 0 refers nothing.",
        ),
    ] = DEFAULT_COVERAGE,
    runtime: RuntimeOption = "onnxruntime",
) -> None:
    """Find tumors in scans, and show where.

    Exit status: 0 if every scan was scored, 1 if some were refused or could not be read, 2 for
    wrong usage. For research, not for diagnosis.
    """
    from meninx.detect.detector import load_detector

    check_paths(paths)
    if not 0 <= coverage < 1:
        raise OptionError(f"--coverage {coverage:g}: expected 0, or a share below 1 such as 0.95")
    detector = load_detector(
        model, operating_point=operating_point, coverage=coverage or None, runtime=runtime
    )
    write_dicom = dicom_writer(paths, dicom_out, detector) if dicom_out else None
    kept = []
    with Results(output, detector) as results:
        for scan, findings in with_progress(detector, paths):
            if as_json:
                typer.echo(json.dumps(findings.as_json(), allow_nan=False))
            results.add(scan, findings)
            if write_dicom is not None:
                write_dicom(scan, findings)
            kept.append(without_maps(findings))
        studies = answered_studies(detector, kept)
        for _, study in studies if with_studies else ():
            if study is not None:
                if as_json:
                    typer.echo(json.dumps(study.as_json(), allow_nan=False))
                results.add_study(study)
    if not as_json:
        from meninx.cli.table import print_table

        print_table(studies)
    if any(findings.status != "scored" for findings in kept):
        raise typer.Exit(SOME_NOT_SCORED)


def answered_studies(detector: "Detector", findings: "Sequence[Findings]") -> "list[Study]":
    """Return findings by study, with the answer of each.

    Args:
        detector: That scored them.
        findings: Of all scans: series of a study may come from several paths.

    Returns:
        In the order of each study's first series.
    """
    from meninx.detect.studies import grouped_by_study

    return [
        (series, None if name is None else detector.score_study(series, name))
        for name, series in grouped_by_study(findings)
    ]


def dicom_writer(
    paths: Sequence[str], folder: Path, detector: "Detector"
) -> "Callable[[Scan | None, Findings], None]":
    """Return what writes the DICOM objects of a finding.

    Args:
        paths: That are scored.
        folder: To write into; each series gets a folder of its own.
        detector: That scores.

    Returns:
        A function of a scan and its findings.

    Raises:
        OptionError: If the extra is missing, or the folder can't be made.
    """
    with needs_extra("hospital"):
        from meninx.clinic.origin import Headers
        from meninx.clinic.results import write_results
    make_folder(folder, "--dicom-out")
    headers = Headers(*paths)
    size = detector.card.preprocessing.size

    def write(scan: "Scan | None", findings: "Findings") -> None:
        inside = folder / file_stem(findings.scan)
        if not write_results(headers, scan, findings, size, inside):
            typer.echo(f"meninx: {findings.scan}: not DICOM, so no DICOM objects of it", err=True)

    return write


def make_folder(folder: Path, option: str) -> None:
    """Make a folder for what an option asks for.

    Args:
        folder: To make; it may be there.
        option: Its name, for the message.

    Raises:
        OptionError: If it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{option} {folder}: can't be written: {error}") from error


def check_paths(paths: Sequence[str]) -> None:
    """Check that no path is empty.

    Args:
        paths: As the user gave them.

    Raises:
        OptionError: The current folder, which an empty path means elsewhere, is seldom what was
            meant.
    """
    if not all(paths):
        raise OptionError('an empty path ""; is a variable of your shell unset?')


class Results:
    """Write findings.jsonl and heat maps into a folder, as they come.

    Args:
        folder: Made if missing; None to write nothing.
        detector: That scores.
    """

    def __init__(self, folder: Path | None, detector: "Detector") -> None:
        self._folder, self._detector = folder, detector
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._folder is not None:
            make_folder(self._folder, "--output")
            try:
                self._file = (self._folder / "findings.jsonl").open("w", encoding="utf-8")
            except OSError as error:
                raise OptionError(f"--output {self._folder}: can't be written: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, scan: "Scan | None", findings: "Findings") -> Path | None:
        """Write the findings of one scan.

        Args:
            scan: That was scored; None where it could not be read.
            findings: Of it.

        Returns:
            Its heat map, of the hottest slice; None if it was not scored or nothing is written.
        """
        if self._file is None or self._folder is None:
            return None
        self._write(findings)
        if scan is None or findings.status != "scored":
            return None
        from meninx.detect.explanation import picture_of_hottest

        picture = picture_of_hottest(scan, findings, self._detector.card.preprocessing.size)
        return save_picture(picture, findings, self._folder)

    def add_study(self, study: "StudyFindings") -> None:
        """Write the findings of a study."""
        self._write(study)

    def _write(self, findings: "Findings | StudyFindings") -> None:
        if self._file is not None:
            self._file.write(json.dumps(findings.as_json(), allow_nan=False) + "\n")
            self._file.flush()


def save_picture(picture: "Image.Image", findings: "Findings", folder: Path) -> Path:
    """Write a picture of a finding, marked so that it is never taken for a scan.

    Args:
        picture: To write.
        findings: That it shows.
        folder: To write into.

    Returns:
        The PNG file.
    """
    from PIL.PngImagePlugin import PngInfo

    from meninx.scan.raster import HEATMAP_KEY

    path = folder / f"{file_stem(findings.scan)}.png"
    mark = PngInfo()
    mark.add_text(HEATMAP_KEY, findings.scan)
    picture.save(path, pnginfo=mark)
    return path


def with_progress(
    detector: "Detector", paths: Sequence[str | Path]
) -> Iterator[tuple["Scan | None", "Findings"]]:
    """Yield what is found, with a bar on standard error where that is a terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from meninx.cli.console import errors_console
    from meninx.detect.detector import score_path

    console = errors_console()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as progress:
        task = progress.add_task("reading", total=None)
        count = 0
        for path in paths:
            for scan, findings in score_path(detector, path):
                count += 1
                progress.update(task, description=f"{count} scans, last {findings.scan}")
                yield scan, findings


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
