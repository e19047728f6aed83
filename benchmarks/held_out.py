"""Judge a detector by what chooses among ideas: measures that a picture's source can't help.

Cells of held-out tumors against other cells of the same pictures; held-out tumor-free pictures with
and without a held-out tumor pasted in; simulated volumes of unseen seeds. Nothing of volumes/ is
looked at. Run: python benchmarks/held_out.py MODEL MANIFEST --fold 1 [--json FILE]
"""

import argparse
import json
import os
import pickle
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from meninx.assess.metrics import auroc
from meninx.assess.volumes import measure_findings, peak_share, pooled_auroc, within_auroc
from meninx.data.manifest import read_manifest
from meninx.data.prepare import read_one
from meninx.detect.calibration import slice_logits
from meninx.detect.detector import Detector
from meninx.detect.engine import Engine
from meninx.learn.augmentation import Batch, paste
from meninx.learn.dataset import SliceDataset, examples_of, to_batch
from meninx.learn.losses import cell_targets
from meninx.learn.measured_head import MeasuredHead, template_of
from meninx.learn.recipe import AugmentationRecipe
from meninx.learn.validation import Validation
from meninx.phantom.lesion import KINDS
from meninx.phantom.phantom import Phantom, grid_of
from meninx.scan.scan import Scan, Sequence

HEADS = ("templates/colin27-t1.nii.gz", "dicom/healthy-child-t1")
SEQUENCES: tuple[Sequence, ...] = ("FLAIR", "T1", "T1c", "T2")
FIRST_SEED = 5_000_000


def pictures(detector: Detector, engine: Engine, manifest: Path, fold: int) -> dict[str, float]:
    """Return the figures of one fold's pictures."""
    held_out = SliceDataset(
        examples_of(read_manifest(manifest).fold(fold)), detector.card.preprocessing
    )
    validation = Validation()
    pasted: dict[bool, list[float]] = defaultdict(list)
    torch.manual_seed(0)
    loader = DataLoader(held_out, batch_size=48, shuffle=True)
    for items in loader:
        batch = to_batch(items)
        cells, types = _run(detector, engine, batch)
        validation.add(
            torch.from_numpy(slice_logits(cells)), batch.tumor, torch.from_numpy(types),
            batch.tumor_type, (torch.from_numpy(cells), *cell_targets(batch.mask)),
        )  # fmt: skip
    free = torch.nonzero(held_out.mask.flatten(1).amax(1) < 128).flatten()
    sick = torch.nonzero(held_out.mask.flatten(1).amax(1) >= 128).flatten()
    for start in range(0, len(free), 16):
        for turn in range(3):
            donors = sick[torch.randint(len(sick), (16,))]
            chosen = torch.cat([free[start : start + 16], donors])
            batch = to_batch({k: v[chosen] for k, v in vars(held_out).items()})
            count = len(chosen) - 16
            changed = paste(batch, AugmentationRecipe(paste=1.0, decoy=0.0))
            got = changed.tumor[:count]
            logits = slice_logits(_run(detector, engine, changed)[0])[:count]
            pasted[True] += logits[got.numpy()].tolist()
            if turn == 0:
                pasted[False] += slice_logits(_run(detector, engine, batch)[0])[:count].tolist()
    scores = np.array(pasted[False] + pasted[True])
    truth = np.array([False] * len(pasted[False]) + [True] * len(pasted[True]))
    return validation.figures() | {"pasted": auroc(truth, scores)}


def _run(detector: Detector, engine: Engine, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    return engine.run(detector.card.preprocessing.normalize(batch.image.numpy()))[:2]


def studies(data: Path) -> Iterator[tuple[str, Scan, np.ndarray, bool]]:
    """Yield simulated volumes: two kinds of heads, every sequence, half of them with a lesion."""
    templates = [template_of(read_one(data / head)) for head in HEADS]
    number = 0
    for turn in range(4):
        for sequence in SEQUENCES:
            for sick in (True, False):
                for source in ("shapes", "real"):
                    seed = FIRST_SEED + number
                    number += 1
                    head = MeasuredHead(templates[turn % 2], seed) if source == "real" else None
                    kind = KINDS[(0, 0, 1, 0)[turn]] if sick else None
                    phantom = Phantom(seed, kind, head)
                    grid = grid_of("axial", (144, 176, 30), (1.3, 1.3, 4.5))
                    scan, mask = phantom.render(sequence, grid, strip=turn % 2 == 1)
                    yield f"{source} {sequence}", scan, mask > 0, sick


def kept_studies(data: Path, cache: Path | None) -> list[tuple[str, Scan, np.ndarray, bool]]:
    """Return the simulated volumes, from a file where an earlier run left them."""
    if cache is not None and cache.is_file():
        return pickle.loads(cache.read_bytes())
    made = list(studies(data))
    if cache is not None:
        cache.write_bytes(pickle.dumps(made))
    return made


def volumes(detector: Detector, data: Path, cache: Path | None) -> dict[str, dict[str, float]]:
    """Return the figures of simulated volumes, by the head's making and by sequence."""
    results, scores = defaultdict(list), defaultdict(list)
    for name, scan, mask, sick in kept_studies(data, cache):
        findings = detector.score(scan)
        for key in (name.split()[0], name.split()[1]):
            scores[key].append((sick, findings.probability))
            if sick and mask.any():
                results[key].append(
                    measure_findings(findings, scan, mask, detector.card.preprocessing.size)
                )
    return {
        key: {
            "pooled": pooled_auroc(results[key]),
            "within": within_auroc(results[key]),
            "peak": peak_share(results[key]),
            "study": auroc(*map(np.array, zip(*scores[key], strict=True))),
        }
        for key in scores
    }


def main() -> None:
    """Print the figures and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--fold", type=int, default=1, help="that the detector never learned from")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cache", type=Path, help="keeps the simulated volumes for the next run")
    options = parser.parse_args()
    data = Path(os.environ["MENINX_DATA"])
    detector, engine = Detector(options.model), Engine(options.model)
    figures = {"pictures": pictures(detector, engine, options.manifest, options.fold)}
    figures |= volumes(detector, data, options.cache)
    for name, part in figures.items():
        print(f"{name:9}", "  ".join(f"{key} {value:.3f}" for key, value in part.items()))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
