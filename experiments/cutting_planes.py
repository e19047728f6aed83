"""Score heads that were scanned in 3-D, cut into slices of each plane in turn.

Simulated heads of seeds that nothing else uses, every other one with a lesion; or a healthy head;
or the FLAIR and T1 volumes of the known set, which is a look at it. Run: python
experiments/cutting_planes.py --json FILE [--heads 72 | --healthy SCAN | --volumes FOLDER]
"""

import argparse
import dataclasses
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meninx.data.volume_masks import read_mask
from meninx.detect.detector import Detector
from meninx.detect.loading import load_detector
from meninx.scan.geometry import plane_along
from meninx.scan.reading import read_one
from meninx.scan.scan import Scan, Sequence
from meninx.synthesis.head_template import AugmentedHead, HeadTemplate, template_of
from meninx.synthesis.lesion import LesionKind
from meninx.synthesis.phantom import Phantom, grid_of

DATA = Path(os.environ.get("MENINX_DATA", "../shared/data"))
FIRST_SEED = 9_500_000
SEQUENCES: tuple[Sequence, ...] = ("FLAIR", "T1", "T1c")
KINDS: tuple[LesionKind, ...] = ("glioma", "glioma", "glioma", "meningioma", "pituitary")
# Shapes alone every second time, else one of these real heads.
TEMPLATES = (
    None, "templates/colin27-t1.nii.gz", None, "tumor-free/nichart-03-t1.nii.gz", None,
    "tumor-free/nichart-09-t1.nii.gz",
)  # fmt: skip
SHAPE, SPACING = (144, 176, 136), (1.25, 1.25, 1.25)


@cache
def template(name: str) -> HeadTemplate:
    """Return the template of a real head."""
    return template_of(read_one(DATA / name))


def simulated(count: int) -> Iterator[tuple[str, Scan, NDArray[np.bool_] | None]]:
    """Yield what each head is made of, its scan and its lesion; None where it has none."""
    for number in range(count):
        pair, seed = number // 2, FIRST_SEED + number
        name = TEMPLATES[pair % len(TEMPLATES)]
        head = None if name is None else AugmentedHead(template(name), seed)
        kind = KINDS[pair % len(KINDS)] if number % 2 == 0 else None
        sequence = SEQUENCES[(pair + number // 12) % len(SEQUENCES)]
        grid = grid_of("axial", SHAPE, SPACING)
        scan, mask = Phantom(seed, kind, head).render(sequence, grid, noise=0.03)
        yield "shapes" if name is None else "real head", scan, mask > 0 if kind else None


def known(folder: Path) -> Iterator[tuple[str, Scan, NDArray[np.bool_] | None]]:
    """Yield the FLAIR and T1 volumes of patients, with the masks of their tumors."""
    for patient in sorted(folder.glob("case-*")):
        for name in ("flair", "t1"):
            scan = read_one(patient / f"{name}.nii.gz")
            yield "patient", scan, read_mask(patient / "tumor-mask.nii.gz", scan)


def answers(
    detector: Detector, scan: Scan, lesion: NDArray[np.bool_] | None
) -> dict[str, dict[str, Any]]:
    """Return what the detector answers of a scan in each plane."""
    found = {}
    for axis in range(3):
        cut = dataclasses.replace(scan, slice_axis=axis)
        findings = detector.score(cut)
        hottest = findings.hottest
        found[plane_along(cut.affine, axis)] = {
            "decision": findings.decision or findings.reason,
            "probability": findings.probability,
            "slices": len(findings.slices),
            "inside": None if lesion is None or hottest is None else bool(lesion[hottest.peak]),
        }
    return found


def main() -> None:
    """Score and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--heads", type=int, default=72)
    what.add_argument("--healthy", type=Path, help="a scan without tumor")
    what.add_argument("--volumes", type=Path, help="folder of patients")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    detector = load_detector()
    scans = simulated(options.heads)
    if options.healthy is not None:
        scans = iter([("healthy", read_one(options.healthy), None)])
    elif options.volumes is not None:
        scans = known(options.volumes)
    rows = []
    for head, scan, lesion in scans:
        rows.append({"head": head, "sequence": scan.sequence, "tumor": lesion is not None,
                     "planes": answers(detector, scan, lesion)})  # fmt: skip
        print(len(rows), rows[-1], flush=True)
    options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
