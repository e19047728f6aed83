"""Score a study's files and write the DICOM objects of the findings, in the worker process."""

import json
import shutil
from pathlib import Path
from typing import Any

from meninx.clinic.result_context import Headers
from meninx.clinic.results import earlier_reports, write_results
from meninx.detect.loading import cached_detector
from meninx.render.bundle import bundles

FINDINGS = "findings.json"


def judge(files: Path, out: Path, model: Path | None) -> list[dict[str, Any]]:
    """Score a study's files and write its results.

    Args:
        files: Folder of the instances.
        out: Folder of the results; new ones replace those there once all are written.
        model: Detector file; None for the one that ships.

    Returns:
        The public JSON of each scan; `out` holds it too, beside the DICOM objects.
    """
    detector = cached_detector(model)
    earlier = earlier_reports(out)
    new = out.with_name(f"{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    headers = Headers(files)
    found: list[dict[str, Any]] = []
    for findings, scan, bundle in bundles(detector, files):
        write_results(headers, scan, findings, bundle, new, earlier=earlier)
        found.append(findings.as_json() | {"scan": f"series {len(found) + 1}"})
    (new / FINDINGS).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    new.rename(out)
    return found
