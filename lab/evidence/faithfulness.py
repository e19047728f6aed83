"""Measure the faithfulness of heat maps: the detector's cells and Grad-CAM.

On tumors of the held-out fold, and on held-out volumes: two slices of each patient, the slice with
the largest tumor area and one with half of it. Run: python
-m lab.evidence.faithfulness MANIFEST [--json FILE] [--maps FOLDER] with MENINX_DATA; figures.py
writes the table into docs/explanation.md.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from lab.evidence.heatmap_faithfulness import (
    NOISE,
    Faithfulness,
    deleted_and_inserted,
    hottest_inside,
    means_of,
    rank_correlation,
    rank_overlap,
)
from lab.evidence.volumes import OUTLINE, SETS
from meninx._data.manifest import read_manifest
from meninx._detect.detector import Detector
from meninx._detect.loading import load_detector
from meninx._detect.neighbors import OWN_CHANNEL
from meninx._learn.file.export import load_weights
from meninx._learn.model.attribution import (
    METHODS,
    Attribution,
    as_input,
    randomized,
    slice_logits_of,
)
from meninx._learn.model.network import CellNetwork
from meninx._render.heatmap import gray_picture, overlay
from meninx._scan.reading import read_one, read_scans

FOLD = 1
FloatImage = NDArray[np.float32]
Explain = Callable[[torch.Tensor], FloatImage]
PANEL = 260


@dataclass(frozen=True, eq=False)
class Lesion:
    """A slice as network input, and the mask of its lesion, both of shape (s, s)."""

    name: str
    unit: FloatImage
    truth: NDArray[np.bool_]


def of_pictures(detector: Detector, manifest: Path, count: int) -> Iterator[Lesion]:
    """Yield tumors with masks of the held-out fold, at regular intervals."""
    fold = [p for p in read_manifest(manifest).pictures if p.fold == FOLD and p.mask]
    for picture in fold[:: max(1, len(fold) // count)][:count]:
        scan = read_one(picture.picture)
        with Image.open(picture.mask) as opened:
            outline = np.asarray(opened.convert("L")) > 0
        (unit,), placement = detector.input_stack(scan, [scan.slice(0)])
        truth = detector.card.preprocessing.resample(outline.astype(np.float32), placement) > 0.5
        if truth.any():
            yield Lesion(picture.id, unit, truth)


def of_volumes(detector: Detector, root: Path, image: str, mask: str) -> Iterator[Lesion]:
    """Yield two slices of every patient: with the largest tumor area, and with about half."""
    for patient in sorted(root.iterdir()):
        (scan,) = read_scans(patient / f"{image}.nii.gz")
        (outline,) = read_scans(patient / f"{mask}.nii.gz")
        slices = [scan.slice(found.index) for found in detector.score(scan).slices]
        units, placement = detector.input_stack(scan, slices)
        cuts = [scan.view.cut(outline.voxels > 0, plane.index) for plane in slices]
        area = np.array([cut.sum() for cut in cuts])
        fullest = int(area.argmax())
        for chosen in {fullest, int(np.abs(area - area[fullest] / 2).argmin())}:
            cut = cuts[chosen].astype(np.float32)
            truth = detector.card.preprocessing.resample(cut, placement) > 0.5
            if truth.any():
                name = f"{patient.name} {image} slice {slices[chosen].index}"
                yield Lesion(name, units[chosen], truth)


def blind(x: torch.Tensor) -> FloatImage:
    """Return the slice itself, smoothed, as a baseline map without a network."""
    return ndimage.gaussian_filter(x[0, OWN_CHANNEL].numpy(), 4.0)


class Measure:
    """Measure maps of one detector.

    Args:
        detector: Detector whose heat maps are explained.
        network: The same weights in PyTorch.
    """

    def __init__(self, detector: Detector, network: CellNetwork) -> None:
        self.detector = detector
        self.logits = slice_logits_of(network)
        self.ways: dict[str, list[Explain]] = {
            method: [
                Attribution(model, method)
                for model in (network, randomized(network, 1), randomized(network, 4))
            ]
            for method in METHODS
        }
        self.ways["brightness alone"] = [blind] * 3

    def probability(self, units: list[FloatImage]) -> float:
        """Return the mean probability of some slices."""
        scale = self.detector.card.calibration.picture
        logits = self.logits(as_input(self.detector, np.stack(units)))
        return float(np.mean([scale.probability(float(logit)) for logit in logits]))

    def of(self, lesion: Lesion, way: str) -> Faithfulness:
        """Return all figures of a map."""
        explain, top, every = self.ways[way]
        x = as_input(self.detector, lesion.unit[None])
        heat = explain(x)
        # Pixels are removed from a slice and from its neighbors.
        parts = [deleted_and_inserted(channel, heat) for channel in lesion.unit]
        without, alone = (
            [np.stack(steps) for steps in zip(*side, strict=True)]
            for side in zip(*parts, strict=True)
        )
        noise = np.random.default_rng(0).normal(0, NOISE, lesion.unit.shape).astype(np.float32)
        noisy = as_input(self.detector, np.clip(lesion.unit + noise, 0, 1)[None])
        return Faithfulness(
            peak=hottest_inside(heat, lesion.truth),
            overlap=rank_overlap(heat, lesion.truth),
            deletion=self.probability(without),
            insertion=self.probability(alone),
            top_randomized=rank_correlation(heat, top(x)),
            all_randomized=rank_correlation(heat, every(x)),
            noise=rank_correlation(heat, explain(noisy)),
            mirror=rank_correlation(heat, explain(x.flip(-1))[:, ::-1]),
        )


def drawn(lesion: Lesion, heats: dict[str, FloatImage]) -> Image.Image:
    """Return a slice, and beside it the map of each method with the lesion's outline."""
    edge = lesion.truth ^ ndimage.binary_erosion(lesion.truth)
    panels = [("slice", gray_picture(lesion.unit[OWN_CHANNEL]))]
    for name, heat in heats.items():
        warm = overlay(lesion.unit[OWN_CHANNEL], heat / max(float(heat.max()), 1e-6))
        warm[edge] = OUTLINE
        panels.append((name, warm))
    sheet = Image.new("RGB", (PANEL * len(panels), PANEL))
    for number, (name, pixels) in enumerate(panels):
        sheet.paste(Image.fromarray(pixels).resize((PANEL, PANEL)), (number * PANEL, 0))
        caption = lesion.name if name == "slice" else name
        ImageDraw.Draw(sheet).text((number * PANEL + 4, 4), caption, fill="white")
    return sheet


def write_maps(measure: Measure, sets: dict[str, list[Lesion]], folder: Path) -> None:
    """Draw ten slices, of all sets, with every method's map."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [lesions[n] for lesions in sets.values() for n in (0, len(lesions) // 3, -1)][:10]
    for number, lesion in enumerate(chosen):
        x = as_input(measure.detector, lesion.unit[None])
        heats = {way: measure.ways[way][0](x) for way in METHODS}
        drawn(lesion, heats).save(folder / f"{number}.png")


def main() -> None:
    """Print a table, write it as JSON, draw ten slices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--maps", type=Path, help="folder for ten slices with every map")
    parser.add_argument("--pictures", type=int, default=40)
    options = parser.parse_args()
    detector, network = load_detector(), CellNetwork()
    weights = Path(__file__).parents[2] / "src" / "meninx" / "weights" / "meninx.safetensors"
    load_weights(network, weights)
    data = Path(os.environ["MENINX_DATA"]) / "volumes"
    sets = {"Cheng, fold 1": list(of_pictures(detector, options.manifest, options.pictures))}
    for name, (folder, image, mask) in SETS.items():
        sets[name] = list(of_volumes(detector, data / folder, image, mask))
    measure = Measure(detector, network)
    if options.maps:
        write_maps(measure, sets, options.maps)
    table: dict[str, Any] = {}
    for name, lesions in sets.items():
        table[name] = {"slices": len(lesions), "methods": {}}
        for way in measure.ways:
            found = means_of([measure.of(lesion, way) for lesion in lesions])
            table[name]["methods"][way] = found
            figures = "  ".join(f"{key} {value:.3f}" for key, value in found.items())
            print(f"{name:14} {way:17} {figures}", flush=True)
    if options.json:
        report = {"model": detector.model, "sets": table}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
