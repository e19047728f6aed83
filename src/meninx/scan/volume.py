"""Check the headers of volumes, and make the scan: the same for all their formats."""

import numpy as np
from numpy.typing import NDArray

from meninx.errors import UnreadableFile, UnsupportedScan
from meninx.scan.geometry import Float64Array
from meninx.scan.map_names import map_by_bids_name, map_warning
from meninx.scan.scan import Scan
from meninx.scan.sequence import sequence_from_text
from meninx.scan.source import Source
from meninx.scan.warning import ScanWarning


def volume_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the three sides of the one volume that a file must hold.

    Args:
        shape: Shape in the header, any number of sides.

    Returns:
        Number of voxels along i, j and k.

    Raises:
        UnreadableFile: If a side is not above 0.
        UnsupportedScan: If there are several volumes.
    """
    if not shape or any(side < 1 for side in shape):
        raise UnreadableFile(f"shape {shape}, expected sides above 0; export the volume again")
    if len(shape) > 3 and max(shape[3:]) > 1:
        raise UnsupportedScan(
            f"{'x'.join(map(str, shape))}: {int(np.prod(shape[3:]))} volumes in one file, expected "
            "one; save each volume as its own file",
            reason="several_volumes",
        )
    i, j, k = (*shape, 1, 1)[:3]
    return i, j, k


def check_numbers(kind: np.dtype[np.generic]) -> None:
    """Check that voxels are plain numbers.

    Args:
        kind: Type of one voxel.

    Raises:
        UnsupportedScan: If they are colors, complex numbers or anything else.
    """
    if kind.kind not in "iuf":
        raise UnsupportedScan(f"voxels of type {kind}; expected plain numbers", reason="not_gray")


def check_size(found: int, expected: int) -> None:
    """Check that a file holds what its header promises.

    Args:
        found: Bytes found, unpacked.
        expected: Bytes that the header promises.

    Raises:
        UnreadableFile: If the file holds fewer.
    """
    if found < expected:
        raise UnreadableFile(
            f"truncated: {found:,} bytes unpacked, the header promises {expected:,}; copy the file "
            "again"
        )


def data_file_beside(source: Source, name: str) -> Source:
    """Return the file that holds the voxels of a header.

    Args:
        source: Header.
        name: Name of the file in the header; the file may be packed, with `.gz` behind its name.

    Returns:
        File of the same folder.

    Raises:
        UnreadableFile: If the file is missing or in another folder.
    """
    names = (name, f"{name}.gz", name.replace(".img", ".IMG"))
    found = next((one for one in map(source.beside, names) if one is not None), None)
    if found is None:
        raise UnreadableFile(
            f"its voxels are in {name!r}, which is not beside it; put both into one folder or zip"
        )
    return found


def volume_scan(
    source: Source,
    voxels: NDArray[np.float32],
    affine: Float64Array,
    warnings: tuple[ScanWarning, ...] = (),
    set_aside: UnsupportedScan | None = None,
) -> Scan:
    """Return the scan of a volume.

    Args:
        source: File of the volume; its name may tell the sequence, or that it is a map.
        voxels: Intensities, axes [i, j, k] as the file has them.
        affine: Voxel index to LPS mm, shape (4, 4).
        warnings: Oddities that do not prevent a judgment.
        set_aside: Why the header says that the volume is no image to judge.

    Returns:
        The scan; the slices of a flat volume lie along its flat side.

    Raises:
        InputError: If the voxels or the affine are no scan's.
    """
    file_name = source.name.rsplit("/", 1)[-1]
    set_aside = set_aside or map_by_bids_name(file_name)
    doubt = map_warning(file_name) if set_aside is None else None
    if set_aside is not None:
        set_aside = UnsupportedScan(str(set_aside), place=source.name, reason=set_aside.reason)
    single = [axis for axis, side in enumerate(voxels.shape) if side == 1]
    return Scan(
        name=source.name,
        voxels=voxels,
        affine=affine,
        sequence=sequence_from_text(file_name),
        slice_axis=single[-1] if single else None,
        warnings=warnings if doubt is None else (*warnings, doubt),
        set_aside=set_aside,
    )
