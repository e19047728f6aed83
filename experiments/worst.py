"""Draw the slices of people held out that a detector gets most wrong, for somebody to look at.

Twenty of each kind: tumor-free people's hottest slices, and tumor slices that stay coldest, by
sequence; each beside itself with the heat map and, in green, the mask's outline. Real scans stay
where they are: the sheets go into a folder that is not in the repository. Run: python
experiments/worst.py PEOPLE.csv FIRST.onnx SECOND.onnx --output evidence/worst
"""

import argparse
import heapq
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from volumes import heat_picture, write_sheet

from meninx.assess.cases import units_of
from meninx.assess.volumes import MIN_TUMOR
from meninx.data.manifest import read_manifest
from meninx.data.prepare import read_stack
from meninx.detect.detector import Detector
from meninx.errors import InputError
from meninx.scan.reading import read_one

FOLDS = (6, 7)
WORST = 20
# Of a scan no more than so many: twenty slices of one head tell no more than two.
OF_A_SCAN = 2


def main() -> None:
    """Write a sheet for each kind and sequence, and say whose slices are on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("detectors", type=Path, nargs=2)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    manifest = read_manifest(options.manifest)
    kept: dict[str, list[tuple[float, str, Image.Image]]] = defaultdict(list)
    for path, fold in zip(options.detectors, FOLDS, strict=True):
        detector = Detector(path)
        for row, members in units_of(manifest.fold(fold)):
            scan, mask = read_stack(members) if members else (read_one(row.picture), None)
            try:
                findings = detector.score(scan)
            except InputError:
                continue
            ranked = []
            for found in findings.slices:
                cut = None if mask is None else scan.view.cut(mask, found.index)
                sick = cut is not None and cut.mean() >= MIN_TUMOR
                if sick or not row.tumor:
                    wrong = -found.probability if sick else found.probability
                    ranked.append((wrong, found, cut, "missed" if sick else "false"))
            for wrong, found, cut, kind in sorted(ranked, key=lambda one: -one[0])[:OF_A_SCAN]:
                own = kept[f"{kind} {row.sequence}"]
                if len(own) == WORST and wrong <= own[0][0]:
                    continue
                truth = np.zeros(scan.slice(found.index).image.shape, bool) if cut is None else cut
                name = f"{row.id} slice {found.index}"
                entry = (
                    wrong,
                    name,
                    heat_picture(found, scan, truth),
                )
                (heapq.heappushpop if len(own) == WORST else heapq.heappush)(own, entry)
    for kind, own in kept.items():
        worst = sorted(own, key=lambda entry: -entry[0])
        write_sheet([picture for _, _, picture in worst], options.output / f"{kind}.png")
        for wrong, name, _ in worst:
            print(f"{kind}: {name}: {abs(wrong):.2f}")


if __name__ == "__main__":
    main()
