"""Put a detector into the package, with the calibration of held-out people.

Copies DETECTOR.onnx and the weights beside it to the package, and writes the detector in
8-bit integers and the SHA-256 of all files. Afterwards run recognize.py, lab/evidence/volumes.py,
lab/speed/speed.py and lab/pictures/figures. Run: python -m lab.release.ship DETECTOR MANIFEST
--fold N --calibration FILE --packs PACK ... --heads FOLDER [--weights FOLDER]
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.release.packing import unpack, without_folds
from lab.release.rounded_gate import refit_gate
from meninx._data.facts import sha256_of
from meninx._data.manifest import Picture, read_manifest
from meninx._detect.detector import Detector
from meninx._detect.model_card import calibration_of
from meninx._learn.file.export import recalibrate
from meninx._learn.file.formats import export
from meninx._learn.input.dataset import SliceDataset
from meninx._synthesis.packed_heads import packed_heads

WEIGHTS = Path(__file__).parents[2] / "src" / "meninx" / "weights"
MAX_MB = 25
# Number of pictures that calibrate and check the 8-bit format.
PICTURES = 400


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy, calibrate, check sizes, and write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", type=Path, help="detector file, its weights beside it")
    parser.add_argument("manifest", type=Path, help="its pictures fix ranges in 8 bits")
    parser.add_argument("--fold", type=int, required=True, help="that it did not learn from")
    parser.add_argument("--calibration", type=Path, required=True, help="of held_out_people.py")
    parser.add_argument("--packs", type=Path, nargs="+", required=True, help="of its training")
    parser.add_argument("--unpacked", type=Path, default=Path("runs/unpacked"))
    parser.add_argument("--heads", type=Path, required=True, help="folder of packed heads")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder to write to")
    options = parser.parse_args(arguments)
    folder = options.weights
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in (".onnx", ".safetensors"):
        source, target = options.detector.with_suffix(suffix), folder / f"meninx{suffix}"
        megabytes = source.stat().st_size / 1e6
        if megabytes > MAX_MB:
            raise SystemExit(f"{source}: {megabytes:.1f} MB, expected at most {MAX_MB} MB")
        shutil.copyfile(source, target)
        print(f"{target.name}: {megabytes:.1f} MB")
    fitted = json.loads(options.calibration.read_text(encoding="utf-8"))
    recalibrate(
        folder / "meninx.onnx",
        calibration_of(fitted["calibration"]),
        ood_threshold=fitted["ood_threshold"],
    )
    learned = without_folds(unpack(options.packs, options.unpacked), {options.fold})
    heads = [head.path for head in packed_heads(options.heads) if head.fold != options.fold]
    # Slices of stacks may be blank.
    pictures = [
        row
        for row in read_manifest(options.manifest).without_fold(options.fold)
        if not row.stack and not row.is_volume
    ]
    write_8_bits(folder, pictures, learned, heads, fitted["ood_threshold"])
    write_sums(folder)
    card = Detector(folder / "meninx.onnx").card
    print(f"{card.name}, {len(card.seen)} files seen, {card.calibration}")


def write_8_bits(
    folder: Path,
    pictures: Sequence[Picture],
    known: SliceDataset,
    heads: Sequence[Path],
    ood_threshold: float,
) -> None:
    """Write the detector in 8-bit integers, with a gate fitted on its own features.

    Args:
        folder: Folder of the detector, to which the file is written.
        pictures: Pictures that it learned from, which set the ranges and check the change.
        known: Slices that it learned from.
        heads: Packed real heads, for slices without brain.
        ood_threshold: Out-of-distribution score above which it refuses, in the gate's own unit.
    """
    target = folder / "meninx-int8.onnx"
    step = max(1, len(pictures) // PICTURES)
    change = export(folder / "meninx.onnx", target, "int8", pictures[::step])
    preprocessing = Detector(target).card.preprocessing
    refit_gate(target, known.resized(preprocessing.size), preprocessing, heads)
    recalibrate(target, Detector(target).card.calibration, ood_threshold=ood_threshold)
    print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB, {change}")


def write_sums(folder: Path) -> None:
    """Write the SHA-256 of a folder's detector files beside them."""
    lines = [f"{sha256_of(path)}  {path.name}" for path in sorted(folder.glob("meninx*.*"))]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
