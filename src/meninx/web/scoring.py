"""Score one study in a process of its own, with limits, and leave what the viewer shows.

Run by the worker: python -m meninx.web.scoring FILES OUT [MODEL]. What is broken or hostile in a
file ends this process at worst.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meninx.detect.findings import Findings
from meninx.errors import InputError, LimitExceeded, UnreadableFile
from meninx.scan.scan import Scan
from meninx.web.settings import Settings

RESULT = "result.json"
WHY = {
    "scored": "of all series that could be scored it has the highest probability",
    "refused": "no series could be scored",
    "failed": "no series could be read",
}


def score_study(files: Path, out: Path, settings: Settings) -> dict[str, Any]:
    """Score a study in a new process.

    Args:
        files: Folder of the study's files.
        out: Folder for what the viewer shows.
        settings: Say how much memory and time it may take, and which detector.

    Returns:
        `findings`, the public JSON of each scan with what the viewer needs, and `chosen`, the index
        of the one to show first; one failed scan if the process ended badly.
    """
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "meninx.web.scoring", str(files), str(out)]
    if settings.model is not None:
        command.append(str(settings.model))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (settings.worker_bytes, settings.worker_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    try:
        done = subprocess.run(
            command, capture_output=True, timeout=settings.worker_seconds, check=False,
            preexec_fn=limited,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _failure(LimitExceeded(f"took longer than {settings.worker_seconds} s"))
    if done.returncode or not (out / RESULT).is_file():
        return _failure(UnreadableFile("the files could not be decoded; export them again"))
    result: dict[str, Any] = json.loads((out / RESULT).read_text(encoding="utf-8"))
    return result


def _failure(error: InputError) -> dict[str, Any]:
    finding = Findings.of_error(error, {})
    return {"findings": [finding.as_json()], "chosen": 0, "why": WHY["failed"]}


def write_study(files: Path, out: Path, model: Path | None) -> None:
    """Score every scan and write `result.json`, volumes, heat maps and pictures.

    Args:
        files: Folder of the study's files.
        out: Folder to write into.
        model: A detector file; None for the one that ships.
    """
    from meninx.detect.detector import load_detector, score_path

    detector = load_detector(model)
    size = detector.card.preprocessing.size
    told = []
    for number, (scan, findings) in enumerate(score_path(detector, files)):
        told.append(findings.as_json() | {"scan": f"series {number + 1}"})
        if scan is not None:
            told[-1]["viewer"] = write_viewer_files(scan, findings, size, out, number)
    chosen, why = chosen_of(told)
    result = {"findings": told, "chosen": chosen, "why": why}
    # The whole file or none: the worker may be stopped at any moment.
    (out / "partial.json").write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
    (out / "partial.json").rename(out / RESULT)


def chosen_of(findings: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Return the index of the finding to show first, and why in words."""

    def telling(index: int) -> tuple[int, int, float, int]:
        one = findings[index]
        scored = one["status"] == "scored"
        return (scored, one["status"] == "refused", one["probability"] or 0.0, -index)

    chosen = max(range(len(findings)), key=telling)
    return chosen, WHY[findings[chosen]["status"]]


def write_viewer_files(
    scan: Scan, findings: Findings, size: int, out: Path, number: int
) -> dict[str, Any]:
    """Write a scan, its heat map and a picture of its hottest slice.

    Args:
        scan: That was read.
        findings: Of it.
        size: Side of the network's input, pixels.
        out: Folder to write into.
        number: Of the scan in its study.

    Returns:
        What the viewer must know: plane, sequence, shape, axis of slices, names of the files.
    """
    from meninx.detect.explanation import heat_volume, picture_of_hottest
    from meninx.phantom.writing import write_nifti

    # A picture has no geometry; as a slice of its own it is shown as it is stored.
    placed = scan
    if scan.affine is None:
        placed = Scan(scan.name, scan.voxels, np.eye(4), slice_axis=2)
    write_nifti(_as_stored(scan.voxels), placed, out / f"{number}.nii")
    viewer: dict[str, Any] = {
        "volume": f"{number}.nii", "heat": None, "picture": None, "plane": scan.view.plane,
        "sequence": scan.sequence, "shape": list(scan.voxels.shape),
        "slice_axis": scan.view.slice_axis, "geometry": scan.affine is not None,
    }  # fmt: skip
    if findings.status == "scored":
        write_nifti(heat_volume(scan, findings, size), placed, out / f"{number}-heat.nii")
        picture_of_hottest(scan, findings, size).save(out / f"{number}.png")
        viewer |= {"heat": f"{number}-heat.nii", "picture": f"{number}.png"}
    return viewer


def _as_stored(voxels: NDArray[np.float32]) -> NDArray[np.generic]:
    """Return whole numbers of 16 bits as such: half the bytes to send."""
    if np.abs(voxels).max() < 2**15 and (voxels == np.rint(voxels)).all():
        return voxels.astype(np.int16)
    return voxels


if __name__ == "__main__":
    write_study(
        Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None
    )
