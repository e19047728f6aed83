"""Pack heads in planes other than the scanned one.

Nearly all whole scans are axial, and all single pictures in other planes have a tumor: a network
that learns from no other sagittal or coronal heads takes these for tumors. Tumor-free volumes of
fine voxels, and the patients' stacks of thin slices, are cut along their other two axes.
Run: python -m lab.release.planes PEOPLE.csv --output PACK [--recipe FILE]
"""

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lab.release.packing import write_pack
from meninx._data.manifest import Picture, read_manifest
from meninx._data.stacks import read_stack
from meninx._learn.input.dataset import Example, examples_of_volume
from meninx._learn.recipe import read_recipe
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan

RECIPE = Path(__file__).parents[2] / "recipes" / "meninx.toml"
# Largest voxel and smallest side of a volume that can be cut along any axis, mm.
MAX_VOXEL_MM, MIN_SIDE_MM = 2.1, 100.0
# Thickest slices of a patient's stack that is cut: 15 of 79 patients have such, and nobody else a
# tumor in another plane and a tumor-free slice beside it.
MAX_STACK_MM = 3.0
# Distance between slices, mm, as in clinical scans.
GAP_MM = 6.0


def source_of(source: str, plane: str) -> str:
    """Return the source of slices cut in another plane, for strata of a recipe."""
    return f"{source}, {plane}"


def plane_of(source: str) -> str:
    """Return the plane in which slices of a source were cut; empty for scans as they were taken."""
    return source.partition(", ")[2]


def in_other_planes(scan: Scan, max_voxel_mm: float = MAX_VOXEL_MM) -> Iterator[Scan]:
    """Yield a scan cut along each of its other two axes; nothing where its voxels are coarse."""
    spacing = scan.spacing_mm
    if spacing is None or max(spacing) > max_voxel_mm:
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
    """Yield the slices of tumor-free volumes and of patients' stacks in their other planes."""
    stacks: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        if picture.stack and (picture.gap_mm or np.inf) <= MAX_STACK_MM:
            stacks[picture.stack].append(picture)
        if not picture.tumor and picture.is_volume:
            for scan in in_other_planes(read_one(picture.picture)):
                yield from examples_of_volume(scan, _in_plane(picture, scan))
    for members in stacks.values():
        scan, mask = read_stack(members)
        marked = dataclasses.replace(scan, voxels=mask.astype(np.float32))
        row = dataclasses.replace(members[0], tumor=True)
        for cut, place in zip(
            in_other_planes(scan, MAX_STACK_MM), in_other_planes(marked, MAX_STACK_MM), strict=True
        ):
            yield from examples_of_volume(cut, _in_plane(row, cut), place.voxels > 0.5)


def _in_plane(picture: Picture, scan: Scan) -> Picture:
    return dataclasses.replace(picture, source=source_of(picture.source, str(scan.view.plane)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    options = parser.parse_args(arguments)
    recipe, manifest = read_recipe(options.recipe), read_manifest(options.manifest)
    learned = manifest.without_fold(recipe.training.test_fold)
    size = write_pack(examples(learned), recipe.training_canvas, options.output)
    print(f"{options.output}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
