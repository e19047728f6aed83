"""Put a run's detector into the package.

Fits the calibrator of pictures on a fold that the run left out, copies detector.onnx and
detector.safetensors to src/meninx/weights, and writes the detector in 8-bit integers and the
SHA-256 of all files. Measure on that fold before, and afterwards run lab/evidence/volumes.py,
lab/speed/speed.py and lab/pictures/figures. MANIFEST must hold only pictures, because slices of
stacks may be blank. Run: python -m lab.release.ship RUN MANIFEST
--fold N --packs PACK ... --heads FOLDER
"""

import argparse
import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lab.release.packing import unpack, without_folds
from lab.release.rounded_gate import refit_gate
from meninx._assess.cases import score_cases, unseen
from meninx._data.descriptors import descriptors_of, seen_slices
from meninx._data.facts import sha256_of
from meninx._data.manifest import Picture, read_manifest
from meninx._detect.detector import Detector
from meninx._detect.head_slices import brain_slices
from meninx._detect.model_card import calibration_of
from meninx._learn.file.export import recalibrate
from meninx._learn.file.formats import export
from meninx._learn.fit.crossvalidation import fit_pictures
from meninx._learn.input.dataset import SliceDataset
from meninx._scan.reading import read_one
from meninx._synthesis.packed_heads import packed_heads

WEIGHTS = Path(__file__).parents[2] / "src" / "meninx" / "weights"
MAX_MB = 25
# Number of pictures that calibrate and check the 8-bit format.
PICTURES = 400


def main() -> None:
    """Copy, calibrate, check sizes, and write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--calibration", type=Path, help="of volumes: held_out_people.py wrote it")
    parser.add_argument("--refused", type=float, default=0.02, help="share of the fold, 0..1")
    parser.add_argument("--packs", type=Path, nargs="+", required=True, help="of its training")
    parser.add_argument("--unpacked", type=Path, default=Path("runs/unpacked"))
    parser.add_argument("--heads", type=Path, required=True, help="folder of packed heads")
    options = parser.parse_args()
    for suffix in (".onnx", ".safetensors"):
        source, target = options.run / f"detector{suffix}", WEIGHTS / f"meninx{suffix}"
        megabytes = source.stat().st_size / 1e6
        if megabytes > MAX_MB:
            raise SystemExit(f"{source}: {megabytes:.1f} MB, expected at most {MAX_MB} MB")
        shutil.copyfile(source, target)
        if suffix == ".onnx":
            if options.calibration is not None:
                pictures = read_manifest(options.manifest).fold(options.fold)
                recalibrate(
                    target,
                    calibration_of(json.loads(options.calibration.read_text())),
                    ood_threshold=ood_threshold(Detector(target), pictures, options.refused),
                )
            calibrate(target, options.manifest, options.fold)
        print(f"{target.name}: {megabytes:.1f} MB")
    learned = without_folds(unpack(options.packs, options.unpacked), {options.fold})
    heads = [head.path for head in packed_heads(options.heads) if head.fold != options.fold]
    write_8_bits(options.manifest, options.fold, learned, heads, options.refused)
    write_sums()
    card = Detector(WEIGHTS / "meninx.onnx").card
    print(f"{card.name}, {len(card.seen)} files seen, {card.calibration}")


def ood_threshold(detector: Detector, pictures: Sequence[Picture], share: float) -> float:
    """Return the threshold that refuses at most a share of known pictures, 0..1; at least 1."""
    scores = []
    for picture in pictures:
        scan = read_one(picture.picture)
        stack, _ = detector.input_stack(scan, brain_slices(scan))
        scores.append(float(np.median(detector.ood_scores(stack))))
    return max(1.0, round(float(np.quantile(scores, 1 - share)), 2))


def write_8_bits(
    manifest: Path, fold: int, known: SliceDataset, heads: Sequence[Path], refused: float
) -> None:
    """Write the detector in 8-bit integers, with a gate fitted on its own features.

    Args:
        manifest: Pictures; those that it learned from set the ranges and check the change.
        fold: Fold that it did not learn from, which sets the gate's threshold.
        known: Slices that it learned from.
        heads: Packed real heads, for slices without brain.
        refused: Share of the fold that the gate refuses, 0..1.
    """
    collection = read_manifest(manifest)
    learned = collection.without_fold(fold)
    step = max(1, len(learned) // PICTURES)
    target = WEIGHTS / "meninx-int8.onnx"
    change = export(WEIGHTS / "meninx.onnx", target, "int8", learned[::step])
    preprocessing = Detector(target).card.preprocessing
    refit_gate(target, known.resized(preprocessing.size), preprocessing, heads)
    threshold = ood_threshold(Detector(target), collection.fold(fold), refused)
    recalibrate(target, Detector(target).card.calibration, ood_threshold=threshold)
    print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB, {change}, gate from {threshold:g}")


def write_sums() -> None:
    """Write the SHA-256 of all files beside them."""
    lines = [f"{sha256_of(path)}  {path.name}" for path in sorted(WEIGHTS.glob("meninx*.*"))]
    (WEIGHTS / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="ascii")


def calibrate(path: Path, manifest: Path, fold: int) -> None:
    """Fit the calibrator of pictures on a fold that the detector was not fitted on."""
    detector = Detector(path, threads=1)
    collection = read_manifest(manifest)
    pictures = collection.fold(fold)
    held_out = {picture.id for picture in unseen(detector.card, collection, fold=fold).pictures}
    if missing := {picture.id for picture in pictures} - held_out:
        raise SystemExit(f"{path}: {len(missing)} pictures of fold {fold} were learned from")
    calibrator = fit_pictures(score_cases(detector, pictures, workers=2))
    recalibrate(
        path,
        dataclasses.replace(detector.card.calibration, picture=calibrator),
        [sha256_of(picture.picture) for picture in pictures],
        seen_slices=seen_slices(descriptors_of(pictures), detector.card.seen_slices),
    )


if __name__ == "__main__":
    main()
