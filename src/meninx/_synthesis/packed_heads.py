"""Store real heads, from which augmented heads are made, as small NumPy files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from meninx._scan.scan import Scan

PACKED_HEAD_SUFFIX = ".npz"
# Finer voxels are packed with this spacing: simulated slices have pixels of 1 mm and more.
_PACKED_SPACING_MM = 2.0
# Clipping the brightest voxels, in vessels, lets 8 bits resolve gray and white matter.
_PACKED_PERCENTILE = 99.9


class RealHead(NamedTuple):
    """A real head for augmented heads.

    Args:
        path: Whole, tumor-free head in T1: a volume, a DICOM folder or a packed head.
        person: Name of the person; empty if unknown.
        fold: Fold of the person's scans; 0 for none.
    """

    path: Path
    person: str = ""
    fold: int = 0


def pack_head(scan: Scan, head: RealHead, path: Path) -> None:
    """Write a head as a small NumPy file.

    Args:
        scan: Scan of the head, with an affine.
        head: Person and fold of the head.
        path: `.npz` file to write.
    """
    affine = np.asarray(scan.affine, dtype=np.float64).copy()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    zoom = np.minimum(1.0, spacing / _PACKED_SPACING_MM)
    top = float(np.percentile(scan.voxels, _PACKED_PERCENTILE))
    values = np.clip(scan.voxels / top, 0, 1) * 255
    small = ndimage.zoom(ndimage.gaussian_filter(values, 0.4 * (1 / zoom - 1)), zoom, order=1)
    # zoom preserves the centers of the first and last voxels.
    stretch = (np.array(scan.voxels.shape) - 1) / np.maximum(np.array(small.shape) - 1, 1)
    affine[:3, :3] *= stretch
    np.savez_compressed(
        path,
        voxels=np.rint(small).astype(np.uint8),
        affine=affine,
        person=np.array(head.person),
        fold=np.array(head.fold),
    )


def read_packed_head(path: Path) -> Scan:
    """Return a packed head as a scan."""
    with np.load(path) as file:
        return Scan(path.stem, file["voxels"].astype(np.float32), file["affine"], "T1")


def packed_heads(folder: Path) -> list[RealHead]:
    """Return the packed heads of a folder, in the order of their names."""
    found = []
    for path in sorted(folder.glob(f"*{PACKED_HEAD_SUFFIX}")):
        with np.load(path) as file:
            found.append(RealHead(path, str(file["person"]), int(file["fold"])))
    return found
