"""Pack the training data of the shipped detector: slices of all people and pictures, real heads.

Run: python -m lab.release.pack PEOPLE.csv --data FOLDER --output RUNS
[--recipe FILE]; then simulate.py.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lab.release.heads import heads_of
from lab.release.packing import write_pack
from meninx._data.manifest import read_manifest
from meninx._learn.input.dataset import examples_of
from meninx._learn.recipe import read_recipe
from meninx._scan.reading import read_one
from meninx._synthesis.packed_heads import PACKED_HEAD_SUFFIX, RealHead, pack_head

RECIPE = Path(__file__).parents[2] / "recipes" / "meninx.toml"
# Tumor-free heads that belong to no collection.
SINGLE_HEADS = {"colin27": "templates/colin27-t1.nii.gz", "child": "dicom/healthy-child-t1"}
# WebP quality with which the slices of all people take 43 MiB.
QUALITY = 66


def main(arguments: Sequence[str] | None = None) -> None:
    """Write runs/real.pack and runs/heads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    options = parser.parse_args(arguments)
    recipe, manifest = read_recipe(options.recipe), read_manifest(options.manifest)
    heads = [RealHead(options.data / path, name) for name, path in SINGLE_HEADS.items()]
    heads += heads_of(manifest.pictures)
    folder = options.output / "heads"
    folder.mkdir(parents=True, exist_ok=True)
    for head in heads:
        path = folder / f"{head.person}{PACKED_HEAD_SUFFIX}"
        if not path.is_file():
            pack_head(read_one(head.path), head, path)
    learned = manifest.without_fold(recipe.training.test_fold)
    path = options.output / "real.pack"
    size = write_pack(
        examples_of(learned, unmasked=True), recipe.training_canvas, path, quality=QUALITY
    )
    print(f"{path}: {size / 2**20:.1f} MiB; {len(heads)} heads in {folder}")


if __name__ == "__main__":
    main()
