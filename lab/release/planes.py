"""Pack tumor-free heads in planes other than the scanned one.

Nearly all whole scans are axial, and all single pictures in other planes have a tumor: a network
that learns from no other sagittal or coronal heads takes these for tumors. Volumes of fine voxels
are cut along their other two axes. Run: python -m lab.release.planes PEOPLE.csv --output PACK
"""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lab.release.packing import write_pack
from meninx._data.manifest import Picture, read_manifest
from meninx._learn.input.dataset import Example, examples_of_volume
from meninx._learn.recipe import read_recipe
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan

RECIPE = Path(__file__).parents[2] / "recipes" / "meninx.toml"
# Source of these slices, on which no person is scored: they are not scans as they were taken.
OTHER_PLANES = "tumor-free, other planes"
# Largest voxel and smallest side of a volume that can be cut along any axis, mm.
MAX_VOXEL_MM, MIN_SIDE_MM = 2.1, 100.0
# Distance between slices, mm, as in clinical scans.
GAP_MM = 6.0


def in_other_planes(scan: Scan) -> Iterator[Scan]:
    """Yield a scan cut along each of its other two axes; nothing where its voxels are coarse."""
    spacing = scan.spacing_mm
    if spacing is None or max(spacing) > MAX_VOXEL_MM:
        return
    if (np.array(spacing) * scan.voxels.shape).min() < MIN_SIDE_MM:
        return
    for axis in sorted({0, 1, 2} - {scan.view.slice_axis}):
        step = max(1, round(GAP_MM / spacing[axis]))
        affine = np.array(scan.affine)
        affine[:3, axis] *= step
        places = [slice(None)] * 3
        places[axis] = slice(step // 2, None, step)
        affine[:3, 3] += affine[:3, axis] * (step // 2) / step
        yield dataclasses.replace(
            scan, voxels=scan.voxels[tuple(places)], affine=affine, slice_axis=axis
        )


def examples(pictures: tuple[Picture, ...]) -> Iterator[Example]:
    """Yield the slices of the tumor-free volumes of a manifest in their other planes."""
    for picture in pictures:
        if picture.tumor or not picture.is_volume:
            continue
        row = dataclasses.replace(picture, source=OTHER_PLANES)
        for scan in in_other_planes(read_one(picture.picture)):
            yield from examples_of_volume(scan, row)


def main() -> None:
    """Write the pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    recipe, manifest = read_recipe(RECIPE), read_manifest(options.manifest)
    learned = manifest.without_fold(recipe.training.test_fold)
    size = write_pack(examples(learned), recipe.training_canvas, options.output)
    print(f"{options.output}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
