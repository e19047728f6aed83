"""Score tumor-free heads in planes other than the scanned one, and healthy phantoms.

The detector scores phantoms. The network of each half, with the detector's calibration, scores the
heads of its held-out people. Run: python -m lab.release.other_planes PEOPLE.csv DETECTOR
--halves FIRST.onnx SECOND.onnx --json FILE [--also OTHER.onnx, for comparison]
"""

import argparse
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.release.held_out_people import FOLDS
from lab.release.planes import in_other_planes
from meninx._data.manifest import Manifest, read_manifest
from meninx._detect.detector import Detector
from meninx._learn.file.export import recalibrate
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan
from meninx._synthesis.phantom_studies import make_studies

# Healthy phantoms, of seeds without another use.
PHANTOMS, FIRST_SEED = 40, 8_000_000


def scans_of(manifest: Manifest, folds: Iterable[int]) -> Iterator[Scan]:
    """Yield the tumor-free volumes of some folds in their other planes."""
    for fold in folds:
        for picture in manifest.fold(fold):
            if picture.is_volume and not picture.tumor:
                yield from in_other_planes(read_one(picture.picture))


def answers(detector: Detector, scans: Iterable[Scan]) -> Counter[str]:
    """Count the answers of a detector and its reasons to refuse, of all scans and by plane."""
    found: Counter[str] = Counter()
    for scan in scans:
        findings = detector.score(scan)
        answer = findings.decision or findings.reason or findings.status
        found[f"{scan.view.plane}: {answer}"] += 1
        found[answer] += 1
    return found


def phantoms() -> Iterator[Scan]:
    """Yield healthy phantoms."""
    for study in make_studies(2 * PHANTOMS, FIRST_SEED):
        if study.lesion is None:
            yield study.scan


def main() -> None:
    """Score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("detector", type=Path)
    parser.add_argument("--halves", type=Path, nargs=2, required=True)
    parser.add_argument("--also", type=Path, help="a detector that may have learned from them")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    manifest, detector = read_manifest(options.manifest), Detector(options.detector)
    held_out: Counter[str] = Counter()
    for path, fold in zip(options.halves, FOLDS, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            half = Path(folder) / path.name
            shutil.copyfile(path, half)
            recalibrate(half, detector.card.calibration)
            held_out += answers(Detector(half), scans_of(manifest, (fold,)))
    found = {"people": held_out, "phantoms": answers(detector, phantoms())}
    if options.also is not None:
        other = Detector(options.also)
        found["people, the other detector"] = answers(other, scans_of(manifest, FOLDS))
        found["phantoms, the other detector"] = answers(other, phantoms())
    stored = {name: dict(sorted(own.items())) for name, own in found.items()}
    options.json.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(stored, indent=1))


if __name__ == "__main__":
    main()
