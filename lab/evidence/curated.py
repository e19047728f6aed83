"""Measure a detector on the fold of curated/ that it never learned from.

Figures that hang on an operating point are left out: that fold fitted them once these were
measured. All others depend on the order of answers alone, so they come out alike from the shipped
file. Run: python -m lab.evidence.curated MANIFEST [--model FILE] [--json FILE]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from meninx._assess.cases import score_cases, unscored_cases
from meninx._assess.evaluation import evaluate_cases
from meninx._data.manifest import read_manifest
from meninx._detect.detector import Detector
from meninx._detect.loading import load_detector

FOLD = 1
CHENG = "cheng-2017"
FIGURES = ("auroc", "average_precision")
TYPES = ("accuracy", "macro_f1")


def measured(detector: Detector, manifest: Path) -> dict[str, Any]:
    """Return the figures of one fold, the shortcut probe's beside them."""
    pictures = read_manifest(manifest).pictures
    own = [picture for picture in pictures if picture.fold == FOLD]
    rest = [picture for picture in pictures if picture.fold != FOLD]
    cases = score_cases(detector, own, workers=2)
    result = evaluate_cases(
        cases, [detector.model], others=unscored_cases(detector.model, rest)
    ).as_json()
    # The Kaggle sets' types are disputed, and most of their tumors have none.
    named = [case for case in cases if case.picture.source == CHENG]
    types = evaluate_cases(named, [detector.model]).as_json()["types"]
    return {
        "model": detector.model,
        **{
            key: result[key] for key in ("cases", "tumors", "unscored", "shortcuts", "segmentation")
        },
        "auroc_less_best_shortcut": result["auroc_less_best_shortcut"],
        "figures": {name: result["figures"][name] for name in FIGURES},
        "types": {name: types[name] for name in ("truth", "answer", "counts", *TYPES)},
    }


def main() -> None:
    """Print the figures and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, help="meninx prepare --split mend wrote it")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measured(load_detector(options.model, threads=1), options.manifest)
    for part, names in (("figures", FIGURES), ("types", TYPES)):
        for name in names:
            figure = found[part][name]
            print(
                f"curated {name}: {figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
            )
    for name, figure in found["shortcuts"].items():
        print(f"curated, shortcut probe, {name}: AUROC {figure['value']:.3f}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
