"""Put a run's detector into the package: `make ship RUN=runs/meninx`.

Copies detector.onnx and detector.safetensors to src/meninx/weights and writes their SHA-256 beside
them. Then measure again: benchmarks/volumes.py, speed.py and figures.py.
"""

import argparse
import shutil
from pathlib import Path

from meninx.data.facts import sha256_of
from meninx.detect.detector import Detector

WEIGHTS = Path(__file__).parents[1] / "src" / "meninx" / "weights"
LARGEST_MB = 25


def main() -> None:
    """Copy, check sizes, and write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    lines = []
    for suffix in (".onnx", ".safetensors"):
        source, target = run / f"detector{suffix}", WEIGHTS / f"meninx{suffix}"
        megabytes = source.stat().st_size / 1e6
        if megabytes > LARGEST_MB:
            raise SystemExit(f"{source}: {megabytes:.1f} MB, at most {LARGEST_MB} go in")
        shutil.copyfile(source, target)
        lines.append(f"{sha256_of(target)}  {target.name}")
        print(f"{target.name}: {megabytes:.1f} MB")
    (WEIGHTS / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="ascii")
    card = Detector(WEIGHTS / "meninx.onnx").card
    print(f"{card.name}, {len(card.seen)} files seen, {card.calibration}")


if __name__ == "__main__":
    main()
