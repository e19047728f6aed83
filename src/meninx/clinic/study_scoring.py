"""Score a study's files and write the DICOM objects of the findings, in the worker process."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meninx.clinic.result_context import Headers
from meninx.clinic.results import EarlierReport, earlier_reports, write_results
from meninx.detect.loading import cached_detector
from meninx.render.result import Result
from meninx.scoring.study import score_study

FINDINGS = "findings.json"


class ObjectsWriter:
    """A writer of DICOM objects into one folder.

    Args:
        headers: Headers of the files that are scored.
        folder: Output folder, made if missing.
        earlier: Reports of before, which new ones name as replaced.
    """

    def __init__(self, headers: Headers, folder: Path, earlier: Sequence[EarlierReport]) -> None:
        self._headers, self._folder, self._earlier = headers, folder, earlier

    def write(self, result: Result) -> None:
        """Write the objects of one result; those that its headers do not allow are logged."""
        write_results(self._headers, result, self._folder, earlier=self._earlier)


def judge(files: Path, out: Path, model: Path | None) -> list[dict[str, Any]]:
    """Score a study's files and write its results.

    Args:
        files: Folder of the instances.
        out: Folder of the results; new ones replace those there once all are written.
        model: Detector file; None for the one that ships.

    Returns:
        The public JSON of each scan; `out` holds it too, beside the DICOM objects.
    """
    earlier = earlier_reports(out)
    new = out.with_name(f"{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    writer = ObjectsWriter(Headers(files), new, earlier)
    study = score_study(cached_detector(model), files, [writer])
    found = [findings.as_json() for findings in study.findings]
    (new / FINDINGS).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    new.rename(out)
    return found
