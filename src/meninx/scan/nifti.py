"""Read and write NIfTI volumes."""

import gzip
import io
import logging
import warnings
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from meninx.errors import GeometryError, OptionError, UnreadableFile, UnsupportedScan
from meninx.scan.geometry import FloatArray
from meninx.scan.kinds import GZIP_MAGIC, HEADER_BYTES, is_nifti
from meninx.scan.limits import DEFAULT_LIMITS, Limits
from meninx.scan.scan import Scan
from meninx.scan.sequence import sequence_from_text
from meninx.scan.source import Source, reading

# nibabel writes a line to standard error for each oddity that it mends; what can't be mended is
# raised all the same.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)

# NIfTI is RAS: x to the right, y to the front. DICOM and meninx use LPS. Its own inverse.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_nifti(source: Source, limits: Limits = DEFAULT_LIMITS) -> Scan:
    """Read a NIfTI file.

    Args:
        source: `.nii` or `.nii.gz`, 3-D or 4-D with one volume.
        limits: Checked on the header, before the voxels are read.

    Returns:
        Voxels in the file's own axis order, the affine turned to LPS.

    Raises:
        UnreadableFile: If it is damaged or truncated.
        UnsupportedScan: If it holds several volumes, colors or complex numbers.
        GeometryError: If its affine is singular or sheared.
        LimitExceeded: If it is too large.
    """
    with reading(source.name, "the NIfTI file"):
        packed = source.read(limits)
        is_packed = packed.startswith(GZIP_MAGIC)
        head = _unpack(packed, HEADER_BYTES) if is_packed else packed[:HEADER_BYTES]
        if not is_nifti(head):
            raise UnreadableFile("no NIfTI header where one is expected")
        kind = nibabel.Nifti2Image if head[4:8] == b"n+2\0" else nibabel.Nifti1Image
        header = kind.header_class(head[: kind.header_class.sizeof_hdr], check=False)
        shape = _volume_shape(tuple(int(side) for side in header.get_data_shape()))
        limits.check_shape(shape)
        if header.get_data_dtype().kind not in "iuf":
            raise UnsupportedScan(
                f"voxels of type {header.get_data_dtype()}; expected plain numbers",
                reason="not_gray",
            )
        start = int(header["vox_offset"])
        if not 0 <= start <= 64 * 1024**2:
            raise UnreadableFile(f"the voxels are said to begin at byte {start}")
        expected = start + int(np.prod(shape)) * header.get_data_dtype().itemsize
        data = _unpack(packed, expected) if is_packed else packed
        if len(data) < expected:
            raise UnreadableFile(
                f"truncated: {len(data):,} bytes unpacked, the header promises {expected:,}; copy "
                "the file again"
            )
        image, voxels = _parse(kind, data)
        _check_spacing(header)
        single = [axis for axis, side in enumerate(shape) if side == 1]
        return Scan(
            name=source.name,
            voxels=voxels.reshape(shape),
            affine=_affine(image),
            sequence=sequence_from_text(source.name.rsplit("/", 1)[-1]),
            slice_axis=single[-1] if single else None,
        )


def _parse(
    kind: type[nibabel.Nifti1Image], data: bytes
) -> tuple[nibabel.Nifti1Image, NDArray[np.float32]]:
    """Return the image and its voxels, nibabel's own errors translated."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = kind.from_bytes(data)
            return image, np.asarray(image.dataobj, dtype=np.float32)
    except (HeaderDataError, WrapStructError, ImageFileError) as error:
        raise UnreadableFile(f"the header contradicts itself: {error}") from error


def _affine(image: nibabel.Nifti1Image) -> FloatArray:
    """Return the affine in LPS, mm."""
    header = image.header
    unit = header.get_xyzt_units()[0]
    millimeters = {"meter": 1000.0, "micron": 0.001}.get(unit, 1.0)
    chosen = np.asarray(image.affine, dtype=np.float64)
    if int(header["sform_code"]) > 0 and not np.abs(chosen[:3, :3]).any():
        # An sform of zeros says nothing; ITK takes the qform then, too.
        chosen = np.asarray(header.get_qform(), dtype=np.float64)
    affine = RAS_TO_LPS @ chosen
    affine[:3] *= millimeters
    return np.asarray(affine)


def _check_spacing(header: nibabel.Nifti1Header) -> None:
    """Check the header's own spacing where no sform gives another: nibabel takes 1 mm for 0."""
    if int(header["sform_code"]) > 0:
        return
    spacing = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not (np.abs(spacing) > 0).all():
        sides = ", ".join(f"{side:g}" for side in spacing)
        raise GeometryError(
            f"pixdim {sides}, and no sform: nothing says how large a voxel is; expected three "
            "numbers above 0, in mm: export the volume again"
        )


def _volume_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the three sides of the one volume that a file must hold."""
    if any(side < 1 for side in shape):
        raise UnreadableFile(f"the header gives the impossible shape {shape}")
    if len(shape) > 3 and max(shape[3:]) > 1:
        raise UnsupportedScan(
            f"{'x'.join(map(str, shape))}: {int(np.prod(shape[3:]))} volumes in one file, expected "
            "one; save each volume as its own file",
            reason="several_volumes",
        )
    i, j, k = (*shape, 1, 1)[:3]
    return i, j, k


def _unpack(packed: bytes, count: int) -> bytes:
    """Return at most the first `count` bytes of gzip data: a bomb stops there."""
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        parts = bytearray()
        while len(parts) < count:
            part = file.read(min(count - len(parts), 16 * 1024**2))
            if not part:
                break
            parts += part
        return bytes(parts)


def write_nifti(voxels: NDArray[np.generic], scan: Scan, path: Path) -> None:
    """Write voxels as NIfTI on a scan's grid, the affine turned from LPS to RAS.

    Args:
        voxels: Shape of the scan, any type that NIfTI knows.
        scan: Gives the affine, which it must have.
        path: `.nii` or `.nii.gz`; its folder is made if missing.

    Raises:
        OptionError: If the scan is a picture without geometry.
    """
    image = nibabel.Nifti1Image(voxels, RAS_TO_LPS @ affine_of(scan))
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def affine_of(scan: Scan) -> NDArray[np.float64]:
    """Return the affine of a scan, shape (4, 4), LPS, mm.

    Args:
        scan: A volume.

    Raises:
        OptionError: If it is a picture without geometry.

    Returns:
        From voxel indices to millimeters in the patient.
    """
    if scan.affine is None:
        raise OptionError(f"{scan.name}: a picture without geometry can't be written as a volume")
    return scan.affine
