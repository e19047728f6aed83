"""Measure what the detector refuses: known slices wrongly, foreign pictures rightly, damaged ones.

Known: the fold that was not learned from, slices of real volumes, whole real scans. Foreign: noise,
shapes, photographs, other organs (foreign.py), and slices of real heads that show no brain.
Damaged: pictures of that fold, turned, inverted, blurred and so on, by strength. Run:
python -m lab.evidence.refusals MANIFEST [--model FILE] [--json FILE], with MENINX_DATA.
"""

import argparse
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from lab.evidence.foreign import all_kinds
from meninx._assess.metrics import auroc
from meninx._assess.plots import RED, SKY, drawing
from meninx._data.manifest import Picture, read_manifest
from meninx._detect.detector import Detector
from meninx._detect.head_slices import brain_areas
from meninx._detect.loading import load_detector
from meninx._errors import UnsupportedScan
from meninx._scan.raster import read_gray
from meninx._scan.reading import read_scans
from meninx._scan.scan import Scan

FOLD = 1
VOLUMES = ("volumes/brats18", "volumes/brats13")
WHOLE_HEADS = (
    "templates/colin27-t1.nii.gz",
    "dicom/healthy-child-t1",
    "dicom/healthy-adult-sagittal-t1",
)
# Slices of each volume that are looked at by themselves.
SLICES = 12
# Pictures of each class that are damaged.
DAMAGED = 75
# Below this share of the fullest slice a head shows crown, neck or air.
NO_BRAIN, BRAIN = 0.10, 0.50
Image2D = NDArray[np.float32]
Damage = Callable[[Image2D], Image2D]


def refused(detector: Detector, images: list[Image2D]) -> dict[str, Any]:
    """Return how many pictures are refused, and why."""
    reasons = Counter()
    for image in images:
        try:
            scan = Scan("picture", image.T[..., None].astype(np.float32))
        except UnsupportedScan as error:  # blank
            reasons[error.reason] += 1
            continue
        reasons[detector.score(scan).reason or "scored"] += 1
    count = len(images)
    return {
        "pictures": count,
        "refused": (count - reasons["scored"]) / max(count, 1),
        "reasons": dict(reasons),
    }


def slices_of(scan: Scan, low: float, high: float, count: int) -> list[Image2D]:
    """Return slices whose share of the fullest slice's area lies in a range, evenly spread."""
    areas = brain_areas(scan)
    share = areas / areas.max()
    found = np.flatnonzero((share >= low) & (share <= high))
    if not len(found):
        return []
    chosen = np.unique(found[np.linspace(0, len(found) - 1, count).astype(int)])
    return [scan.slice(int(index)).image for index in chosen]


def volumes(data: Path) -> Iterator[tuple[str, Scan]]:
    """Yield the real volumes with the name of their set."""
    for folder in VOLUMES:
        for path in sorted((data / folder).glob("*/*.nii.gz")):
            if "tumor" not in path.name:
                (scan,) = read_scans(path)
                yield f"{Path(folder).name} {path.name.removesuffix('.nii.gz')}", scan


def known_and_foreign(detector: Detector, data: Path, pictures: list[Picture]) -> dict[str, Any]:
    """Return what is refused of each kind."""
    table = {
        "known: fold 1 of curated": refused(detector, [read_gray(p.picture) for p in pictures])
    }
    alone: dict[str, list[Image2D]] = {}
    whole: Counter[str] = Counter()
    for name, scan in volumes(data):
        alone.setdefault(name, []).extend(slices_of(scan, BRAIN, 1.0, SLICES))
        whole[detector.score(scan).reason or "scored"] += 1
    table |= {f"known: slices of {name}": refused(detector, own) for name, own in alone.items()}
    count = sum(whole.values())
    table["known: whole volumes"] = {
        "pictures": count,
        "refused": 1 - whole["scored"] / count,
        "reasons": dict(whole),
    }
    empty: list[Image2D] = []
    for name in WHOLE_HEADS:
        (scan,) = read_scans(data / name)
        table[f"known: slices of {Path(name).name}"] = refused(
            detector, slices_of(scan, BRAIN, 1.0, SLICES)
        )
        empty += slices_of(scan, 0.0, NO_BRAIN, SLICES)
    table["foreign: slices without brain"] = refused(detector, empty)
    kinds = all_kinds()
    table |= {f"foreign: {name}": refused(detector, own) for name, own in kinds.items()}
    return table


def _draws(image: Image2D) -> np.random.Generator:
    """Return random numbers that are a picture's own."""
    return np.random.default_rng(int(image.sum()))


def _rotated(degrees: float) -> Damage:
    return lambda image: ndimage.rotate(image, degrees, reshape=False, order=1)


def _inverted(image: Image2D) -> Image2D:
    return image.max() - image


def _blurred(sigma: float) -> Damage:
    return lambda image: ndimage.gaussian_filter(image, sigma * len(image) / 256)


def _noisy(share: float) -> Damage:
    def damage(image: Image2D) -> Image2D:
        sigma = share * float(np.percentile(image, 99))
        real, imaginary = _draws(image).normal(0, sigma, (2, *image.shape))
        return np.hypot(image + real, imaginary).astype(np.float32)

    return damage


def _ghosted(share: float) -> Damage:
    def damage(image: Image2D) -> Image2D:
        ghost = np.roll(image, len(image) // 4, 0) + np.roll(image, -(len(image) // 4), 0)
        return (image * (1 - share) + share * ghost).astype(np.float32)

    return damage


def _moved(lines: int) -> Damage:
    """Shift the head by up to 5 % while some blocks of k-space are read."""

    def damage(image: Image2D) -> Image2D:
        space = np.fft.fft2(image)
        rows, rng = np.fft.fftfreq(len(image))[:, None], _draws(image)
        for _ in range(lines):
            start = int(rng.integers(len(image)))
            block = np.arange(start, start + len(image) // 16) % len(image)
            shift = rng.uniform(-0.05, 0.05) * len(image)
            space[block] *= np.exp(-2j * np.pi * rows[block] * shift)
        return np.abs(np.fft.ifft2(space)).astype(np.float32)

    return damage


def _cropped(share: float) -> Damage:
    def damage(image: Image2D) -> Image2D:
        cut = image.copy()
        rows, columns = (round(side * share / 2) for side in image.shape)
        cut[:rows], cut[len(cut) - rows :] = 0, 0
        cut[:, :columns], cut[:, cut.shape[1] - columns :] = 0, 0
        return cut

    return damage


def _jpeg(quality: int) -> Damage:
    def damage(image: Image2D) -> Image2D:
        buffer = io.BytesIO()
        gray = np.clip(image / max(float(image.max()), 1) * 255, 0, 255).astype(np.uint8)
        Image.fromarray(gray).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer), dtype=np.float32)

    return damage


def _coarse(times: int) -> Damage:
    def damage(image: Image2D) -> Image2D:
        height, width = image.shape
        small = Image.fromarray(image).resize((width // times, height // times))
        return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))

    return damage


DAMAGES: dict[str, Damage] = {
    "none": lambda image: image,
    **{f"rotated by {degrees} degrees": _rotated(degrees) for degrees in (10, 30, 90, 180)},
    "inverted": _inverted,
    **{f"blurred, sigma {sigma} of 256 px": _blurred(sigma) for sigma in (1, 2, 4)},
    **{f"motion, {count} blocks of k-space": _moved(count) for count in (1, 3, 8)},
    **{f"noise, {share:.0%} of the brightest": _noisy(share) for share in (0.05, 0.1, 0.2)},
    **{f"ghosting, {share:.0%}": _ghosted(share) for share in (0.1, 0.2, 0.4)},
    **{f"cropped, {share:.0%} of each side": _cropped(share) for share in (0.1, 0.3, 0.5)},
    **{f"JPEG, quality {quality}": _jpeg(quality) for quality in (50, 20, 5)},
    **{f"resolution, one {times}th": _coarse(times) for times in (2, 4, 8)},
}


def damaged(detector: Detector, pictures: list[Picture]) -> dict[str, Any]:
    """Return, of each damage, what is refused, and what the rest is worth."""
    sick = [p for p in pictures if p.mask is not None][::-1]
    step = max(1, len(sick) // DAMAGED)
    chosen = sick[::step][:DAMAGED] + [p for p in pictures if not p.tumor][:DAMAGED]
    loaded = [(p, read_gray(p.picture), _mask(p)) for p in chosen]
    table = {}
    for name, damage in DAMAGES.items():
        scores, labels, hits, count = [], [], [], 0
        for picture, image, mask in loaded:
            changed = damage(image)
            # The outline turns with the picture.
            truth = damage(mask.astype(np.float32)) > 0.5 if "rotated" in name else mask
            found = detector.score(Scan(picture.id, changed.T[..., None].astype(np.float32)))
            if found.probability is None or found.hottest is None:
                count += 1
                continue
            scores.append(found.probability)
            labels.append(picture.tumor)
            if picture.tumor:
                column, row, _ = found.hottest.peak
                hits.append(bool(truth[row, column]))
        table[name] = {
            "pictures": len(loaded),
            "refused": count / len(loaded),
            "auroc": _finite(auroc(np.array(labels), np.array(scores))) if labels else None,
            "hottest pixel in the tumor": _finite(float(np.mean(hits)) if hits else float("nan")),
        }
    return table


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _mask(picture: Picture) -> NDArray[np.bool_]:
    if picture.mask is None:
        with Image.open(picture.picture) as opened:
            return np.zeros((opened.height, opened.width), dtype=bool)
    with Image.open(picture.mask) as opened:
        return np.asarray(opened.convert("L")) > 0


def plot_damages(table: dict[str, Any], stem: Path) -> None:
    """Draw what is refused of damaged pictures, and what the rest is worth.

    Args:
        table: Shares by kind of damage, from `damaged`.
        stem: Path without a suffix.
    """
    names = list(table)
    with drawing(stem, (7.5, 7.0)) as axes:
        for row, name in enumerate(names):
            axes.barh(
                row, table[name]["refused"], color=SKY, label="share refused" if not row else None
            )
            if table[name]["auroc"] is not None:
                label = "AUROC of what is scored" if not row else None
                axes.plot(table[name]["auroc"], row, "o", color=RED, label=label)
        axes.axvline(0.5, color="#888888", linestyle=":")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.02)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def main() -> None:
    """Print tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="without a suffix")
    options = parser.parse_args()
    data = Path(os.environ["MENINX_DATA"])
    detector = load_detector(options.model)
    pictures = [p for p in read_manifest(options.manifest).pictures if p.fold == FOLD]
    found = {
        "model": detector.model,
        "refused": known_and_foreign(detector, data, pictures),
        "damaged": damaged(detector, pictures),
    }
    for name, row in found["refused"].items():
        print(f"{name:48} {row['pictures']:4}  refused {row['refused']:.3f}  {row['reasons']}")
    for name, row in found["damaged"].items():
        values = [row[key] for key in ("refused", "auroc", "hottest pixel in the tumor")]
        shares = "  ".join("   - " if value is None else f"{value:.3f}" for value in values)
        print(f"{name:48} {shares}")
    if options.plot:
        plot_damages(found["damaged"], options.plot)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
