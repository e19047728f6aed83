"""Score a study's files and write the DICOM objects of its findings, in a worker process."""

import json
import shutil
from pathlib import Path
from typing import Any

from meninx._clinic.results import ResultWriter, earlier_reports
from meninx._detect.loading import cached_detector
from meninx._scoring.study import score_study

_FINDINGS = "findings.json"


def score_and_write(files: Path, out: Path, model: Path | None) -> list[dict[str, Any]]:
    """Score a study's files and write its results.

    Args:
        files: Folder of the instances.
        out: Folder of the results; it is replaced once all new results are written.
        model: Detector file; None for the one that ships.

    Returns:
        The public JSON of each scan, which `out` contains too, beside the DICOM objects.
    """
    earlier = earlier_reports(out)
    new = out.with_name(f"{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    study = score_study(cached_detector(model), files, [ResultWriter(new, earlier)])
    found = [findings.as_json() for findings in study.findings]
    (new / _FINDINGS).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    new.rename(out)
    return found
