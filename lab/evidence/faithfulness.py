"""Measure how faithful heat maps are: the detector's cells and Grad-CAM.

Measured on tumors of the test fold, and on two slices of each patient of held-out volumes: the one
with the largest tumor area, and one with half of it. Run: python
-m lab.evidence.faithfulness MANIFEST [--json FILE] [--maps FOLDER] with MENINX_DATA;
lab.pictures.figures writes the table into docs/log/2026-11-25-heat-maps.md.

Legend: s side of the network's input in pixels.
"""

import argparse
import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage, sparse
from scipy.stats import spearmanr
from torch import nn

from lab.evidence.volumes import OUTLINE, SETS
from meninx._data.manifest import read_manifest
from meninx._detect.detector import Detector
from meninx._detect.loading import load_detector
from meninx._detect.neighbors import OWN_CHANNEL
from meninx._detect.preprocessing import FloatImage
from meninx._learn.file.export import load_weights
from meninx._learn.model.attribution import Attribution, Method, as_input
from meninx._learn.model.network import Backbone, CellNetwork, picture_logit
from meninx._render.heatmap import gray_picture, overlay
from meninx._scan.reading import read_one, read_scans

METHODS: tuple[Method, ...] = get_args(Method)
FOLD = 1
Explain = Callable[[torch.Tensor], FloatImage]
PANEL = 260
# Shares of the picture that are removed or kept, the hottest pixels first.
SHARES = (0.02, 0.05, 0.10, 0.20, 0.40)
# Standard deviation of the noise under which a map should stay the same; intensities are 0..1.
NOISE = 0.02
# Neighbors from which a pixel is filled in: those beside it have twice the weight of diagonal ones.
NEIGHBORS = tuple(
    (row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)
)
STRAIGHT, DIAGONAL = 1 / 6, 1 / 12
# Standard deviation of the noise that is added, as in the paper's own code.
IMPUTED_NOISE = 0.01


@dataclass(frozen=True)
class Faithfulness:
    """Measurements of one heat map, or the means of many.

    Args:
        peak: Whether the hottest pixel lies in the lesion.
        overlap: Share of the lesion among as many hottest pixels as the lesion has.
        deletion: Mean probability while the hottest pixels are filled in; low is good.
        insertion: Mean probability while all but the hottest pixels are filled in; high is good.
        top_randomized: Rank correlation with the map of a network whose last stage is random.
        all_randomized: Rank correlation with the map of a network whose four stages are all random;
            near 0 is good, as for `top_randomized`.
        noise: Rank correlation with the map of the slice under faint noise; near 1 is good.
        mirror: Rank correlation with the map of the mirrored slice, mirrored back; near 1
            is good.
    """

    peak: float
    overlap: float
    deletion: float
    insertion: float
    top_randomized: float
    all_randomized: float
    noise: float
    mirror: float


NAMES = tuple(field.name for field in fields(Faithfulness))


def hottest_inside(heat: FloatImage, truth: NDArray[np.bool_]) -> bool:
    """Return whether the hottest pixel lies in the lesion, both of shape (s, s)."""
    return bool(truth.flat[int(heat.argmax())])


def rank_overlap(heat: FloatImage, truth: NDArray[np.bool_]) -> float:
    """Return the share of the lesion among the hottest pixels, as many as the lesion has.

    Args:
        heat: Heat map, shape (s, s).
        truth: Mask of the lesion, not empty, shape (s, s).

    Returns:
        Share 0..1, independent of any threshold.

    References:
        Arras et al. 2022, CLEVR-XAI: relevance rank accuracy.
    """
    hottest = ranking(heat)[: int(truth.sum())]
    return float(truth.ravel()[hottest].mean())


def ranking(heat: FloatImage) -> NDArray[np.intp]:
    """Return the flat indices of a map's pixels, the hottest first, ties in random order."""
    ties = np.random.default_rng(0).random(heat.size)
    return np.lexsort((ties, -heat.ravel()))


def hottest_share(heat: FloatImage, share: float) -> NDArray[np.bool_]:
    """Return the hottest pixels that make a share of the map, shape (s, s)."""
    chosen = np.zeros(heat.size, dtype=np.bool_)
    chosen[ranking(heat)[: round(share * heat.size)]] = True
    return chosen.reshape(heat.shape)


def deleted_and_inserted(
    unit: FloatImage, heat: FloatImage
) -> tuple[list[FloatImage], list[FloatImage]]:
    """Return a slice without its hottest pixels, and with these alone.

    Args:
        unit: Intensities 0..1, shape (s, s).
        heat: Heat map, shape (s, s).

    Returns:
        Two lists of slices, one slice for each of `SHARES`: without the hottest pixels, and with
        these alone. Removed pixels are filled in.

    References:
        Petsiuk et al. 2018 (deletion and insertion); Rong et al. 2022 (filling in).
    """
    masks = [hottest_share(heat, share) for share in SHARES]
    return [imputed(unit, mask) for mask in masks], [imputed(unit, ~mask) for mask in masks]


def imputed(unit: FloatImage, removed: NDArray[np.bool_], seed: int = 0) -> FloatImage:
    """Return a slice whose removed pixels are filled in from their neighbors.

    Args:
        unit: Intensities 0..1, shape (s, s).
        removed: Pixels to fill in, shape (s, s).
        seed: Seed of the noise that is added to them.

    Returns:
        The slice, shape (s, s). A linear system makes each filled pixel the weighted mean of the
        eight around it, so that the network can't see the shape of the hole.

    Raises:
        ValueError: If all pixels are removed.

    References:
        Rong et al. 2022, A consistent and efficient evaluation strategy for attribution methods
        (ROAD), equation 3.
    """
    if removed.all():
        raise ValueError("nothing is left to fill a slice in from")
    count = int(removed.sum())
    number = np.full(np.array(unit.shape) + 2, -1)  # -1: known, or beyond the border
    number[1:-1, 1:-1][removed] = np.arange(count)
    inside = np.pad(np.ones(unit.shape, dtype=np.bool_), 1)
    known = np.pad(unit, 1)
    rows, columns = np.nonzero(np.pad(removed, 1))
    own = np.arange(count)
    total, right = np.zeros(count), np.zeros(count)
    entries = []
    for row, column in NEIGHBORS:
        place = (rows + row, columns + column)
        weight = np.where(inside[place], STRAIGHT if 0 in (row, column) else DIAGONAL, 0.0)
        other = number[place]
        total += weight
        right += np.where(other < 0, weight * known[place], 0.0)
        unknown = other >= 0
        entries.append((-weight[unknown], own[unknown], other[unknown]))
    entries.append((total, own, own))
    values, first, second = (np.concatenate(part) for part in zip(*entries, strict=True))
    system = sparse.csc_array((values, (first, second)), shape=(count, count))
    filled = unit.copy()
    noise = np.random.default_rng(seed).normal(0, IMPUTED_NOISE, count)
    filled[removed] = sparse.linalg.spsolve(system, right) + noise
    return filled


def rank_correlation(first: FloatImage, second: FloatImage) -> float:
    """Return the rank correlation of two maps of one shape; 0 where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def means_of(found: Sequence[Faithfulness]) -> dict[str, float]:
    """Return the mean of each figure."""
    return {name: float(np.mean([getattr(measured, name) for measured in found])) for name in NAMES}


@dataclass(frozen=True, eq=False)
class Lesion:
    """A slice as network input, and the mask of its lesion, both of shape (s, s)."""

    name: str
    unit: FloatImage
    truth: NDArray[np.bool_]


def of_pictures(detector: Detector, manifest: Path, count: int) -> Iterator[Lesion]:
    """Yield tumors with a mask from the test fold, evenly spaced."""
    fold = [p for p in read_manifest(manifest).pictures if p.fold == FOLD and p.mask]
    for picture in fold[:: max(1, len(fold) // count)][:count]:
        scan = read_one(picture.picture)
        with Image.open(picture.mask) as opened:
            mask = np.asarray(opened.convert("L")) > 0
        (unit,), placement = detector.input_stack(scan, [scan.slice(0)])
        truth = detector.card.preprocessing.resample(mask.astype(np.float32), placement) > 0.5
        if truth.any():
            yield Lesion(picture.id, unit, truth)


def of_volumes(detector: Detector, root: Path, image: str, mask: str) -> Iterator[Lesion]:
    """Yield two slices of each patient: the largest tumor area, and about half of that."""
    for patient in sorted(root.iterdir()):
        (scan,) = read_scans(patient / f"{image}.nii.gz")
        (outline,) = read_scans(patient / f"{mask}.nii.gz")
        slices = [scan.slice(found.index) for found in detector.score(scan).slices]
        units, placement = detector.input_stack(scan, slices)
        cuts = [scan.view.cut(outline.voxels > 0, slice_.index) for slice_ in slices]
        area = np.array([cut.sum() for cut in cuts])
        fullest = int(area.argmax())
        for chosen in {fullest, int(np.abs(area - area[fullest] / 2).argmin())}:
            cut = cuts[chosen].astype(np.float32)
            truth = detector.card.preprocessing.resample(cut, placement) > 0.5
            if truth.any():
                name = f"{patient.name} {image} slice {slices[chosen].index}"
                yield Lesion(name, units[chosen], truth)


def randomized(network: Backbone, stages: int, seed: int = 0) -> Backbone:
    """Return a copy whose heads and last stages have random weights.

    Args:
        network: The trained network.
        stages: Number of stages to randomize, from the last one backwards, 0..4.
        seed: Seed of the random weights.

    Returns:
        The copy. A map that does not change with it explains the picture, not the network.

    References:
        Adebayo et al. 2018, Sanity checks for saliency maps.
    """
    changed = copy.deepcopy(network)
    parts = [changed.cell_head, changed.type_head, *list(changed.stages)[::-1][:stages]]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for part in parts:
            for module in part.modules():
                if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                    module.reset_parameters()
    return changed


def blind(x: torch.Tensor) -> FloatImage:
    """Return the blurred slice itself as a map, a baseline that uses no network."""
    return ndimage.gaussian_filter(x[0, OWN_CHANNEL].numpy(), 4.0)


class Measure:
    """Measure maps of one detector.

    Args:
        detector: Detector whose heat maps are explained.
        network: The same weights in PyTorch.
    """

    def __init__(self, detector: Detector, network: CellNetwork) -> None:
        self.detector = detector
        self.network = network.eval()
        self.ways: dict[str, list[Explain]] = {
            method: [
                Attribution(variant, method)
                for variant in (network, randomized(network, 1), randomized(network, 4))
            ]
            for method in METHODS
        }
        self.ways["brightness alone"] = [blind] * 3

    def probability(self, units: list[FloatImage]) -> float:
        """Return the mean probability of some slices."""
        scale = self.detector.card.calibration.picture
        with torch.inference_mode():
            cells, _ = self.network(as_input(self.detector, np.stack(units)))
        logits = picture_logit(cells, self.network.top_cells)
        return float(np.mean([scale.probability(float(logit)) for logit in logits]))

    def of(self, lesion: Lesion, way: str) -> Faithfulness:
        """Return all figures of a map."""
        explain, top, every = self.ways[way]
        x = as_input(self.detector, lesion.unit[None])
        heat = explain(x)
        # Pixels that are removed from a slice are removed from its neighbors too.
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
        measured = {"model": detector.model, "sets": table}
        options.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
