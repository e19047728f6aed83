"""Read NIfTI, Analyze and MGH volumes with nibabel, and write NIfTI."""

import io
import logging
import warnings
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.freesurfer.mghformat import MGHImage
from nibabel.spatialimages import HeaderDataError, SpatialImage
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from meninx._errors import GeometryError, OptionError, UnreadableFile, UnsupportedScan
from meninx._scan.geometry import RAS_TO_LPS, Float64Array, Spacing
from meninx._scan.kinds import ANALYZE_HEADER_BYTES, HEADER_BYTES, data_file_of, is_nifti
from meninx._scan.limits import DEFAULT_LIMITS, MIB, Limits
from meninx._scan.scan import Scan
from meninx._scan.source import Source, reading
from meninx._scan.volume import (
    check_numbers,
    check_size,
    data_file_beside,
    promised_bytes,
    volume_scan,
    volume_shape,
)
from meninx._scan.warning import ScanWarning

# nibabel logs every irregularity that it corrects, and raises the others.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)

# Bytes before the voxels of a NIfTI-1 file without extensions.
NIFTI_1_BYTES = 352
MGH_HEADER_BYTES, GOOD_RAS_AT = 284, 28
# After the voxels, FreeSurfer writes TR, flip angle, TE and tags such as commands.
_MGH_FOOTER_BYTES = MIB
# Position of `orient` in an Analyze header, and the axes of each value in LPS, as ITK reads them; 0
# is also the value of an unset field.
_ORIENT_AT = 252
_ANALYZE_AXES = {
    0: ((1, 0, 0), (0, -1, 0), (0, 0, 1)),  # axial
    1: ((1, 0, 0), (0, 0, 1), (0, -1, 0)),  # coronal
    2: ((0, -1, 0), (0, 0, 1), (1, 0, 0)),  # sagittal
}
_ANALYZE_ORIENTATION = (
    "an Analyze header does not define the orientation of its volume; it was read as stored from "
    "the patient's right to left, back to front, bottom to top. To be sure of the sides, convert "
    "it to NIfTI with the program that wrote it"
)
_NIFTI_ORIENTATION = (
    "the file defines no orientation (qform_code and sform_code are 0); it was read as stored from "
    "the patient's right to left, back to front, bottom to top. To be sure of the sides, convert "
    "the scan again from DICOM"
)
_TWO_ORIENTATIONS = (
    "the file has two orientations that contradict each other: {difference}. The qform was used, "
    "which says how the head lay in the scanner; the sform may lead to an atlas. To be sure of the "
    "sides, convert the scan again from DICOM"
)
_MGH_ORIENTATION = (
    "the file does not define the orientation of its volume; it was read as coronal, as FreeSurfer "
    "does"
)
# Relative difference of voxel sizes, and cosine between axes, from which sform and qform differ.
# A registration to another scan of the head turns it by less.
_SIZE_TOLERANCE, _SMALLEST_COSINE = 0.01, 0.7
# Bits of `xyzt_units` for the unit of space, and the length of each unit, mm (NIfTI-1, nifti1.h); 0
# is unset. The other bits are the unit of time.
_UNIT_BITS = 0x07
_MILLIMETERS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_UNKNOWN_UNIT = (
    "xyzt_units names the unit of space {unit}, which NIfTI does not define; the voxel size was "
    "read in mm. To be sure of it, convert the scan again from DICOM"
)
# Intents of images: none, dimensionless and time series (NIfTI-1, nifti1.h).
_IMAGE_INTENTS = frozenset((0, 1011, 2001))


def read_nifti(
    source: Source, limits: Limits = DEFAULT_LIMITS, spacing_mm: Spacing | None = None
) -> Scan:
    """Read a NIfTI file.

    Args:
        source: `.nii` or `.nii.gz` file, 3-D or 4-D with one volume.
        limits: Checked on the header, before the voxels are read.
        spacing_mm: Voxel size that replaces the file's; None for the file's.

    Returns:
        Voxels in the axis order of the file, the affine converted to LPS; with a warning if the
        file defines no orientation, or two that contradict each other.

    Raises:
        UnreadableFile: If it is damaged or truncated.
        UnsupportedScan: If it holds several volumes, colors or complex numbers.
        GeometryError: If its affine is singular or sheared.
        LimitExceeded: If it is too large.
    """
    with reading(source.name, "the NIfTI file"):
        head = source.head(HEADER_BYTES, limits)
        if not is_nifti(head):
            raise UnreadableFile("no NIfTI header where one is expected")
        kind = nibabel.Nifti2Image if head[4:8] == b"n+2\0" else nibabel.Nifti1Image
        header = kind.header_class(head[: kind.header_class.sizeof_hdr], check=False)
        exclusion = _not_an_image(header)
        start, first = int(header["vox_offset"]), int(header.single_vox_offset)
        # Some writers leave the offset at 0; voxels can't begin in the header (NIfTI-1, nifti1.h).
        is_unset = start == 0
        shape, expected = _promised(header, first if is_unset else start, limits)
        data = promised_bytes(source, expected, 0 if is_unset else _slice_bytes(header), limits)
        if is_unset:
            header["vox_offset"] = first
            data = header.binaryblock + data[len(header.binaryblock) :]
        image, voxels = _parse(kind, {"image": data})
        affine, warnings = _affine(image, spacing_mm)
        return volume_scan(
            source, voxels.reshape(shape), affine, warnings, exclusion, spacing_mm=spacing_mm
        )


def read_pair(
    source: Source, limits: Limits = DEFAULT_LIMITS, spacing_mm: Spacing | None = None
) -> Scan:
    """Read a NIfTI or Analyze pair.

    Args:
        source: `.hdr` file in the folder of its `.img`.
        limits: Checked on the header, before the voxels are read.
        spacing_mm: Voxel size that replaces the file's; None for the file's.

    Returns:
        Voxels in the axis order of the file, the affine converted to LPS; with a warning if the
        orientation is doubtful, as it always is in Analyze.

    Raises:
        InputError: If the pair can't be used, see `read_nifti`, or the `.img` is missing.
    """
    with reading(source.name, "the pair"):
        head = source.head(ANALYZE_HEADER_BYTES, limits)
        is_analyze = head[344:348] != b"ni1\0"
        kind = nibabel.AnalyzeImage if is_analyze else nibabel.Nifti1Pair
        header = kind.header_class(head, check=False)
        exclusion = None if is_analyze else _not_an_image(header)
        shape, expected = _promised(header, int(header["vox_offset"]), limits)
        data_file = data_file_beside(source, data_file_of(head, source.name) or "")
        data = promised_bytes(data_file, expected, _slice_bytes(header), limits)
        image, voxels = _parse(kind, {"header": head, "image": data})
        if is_analyze:
            affine = _analyze_affine(header, head[_ORIENT_AT], shape, spacing_mm)
            warnings = _doubt(_ANALYZE_ORIENTATION)
        else:
            affine, warnings = _affine(image, spacing_mm)
        return volume_scan(
            source, voxels.reshape(shape), affine, warnings, exclusion, spacing_mm=spacing_mm
        )


def read_mgh(
    source: Source, limits: Limits = DEFAULT_LIMITS, spacing_mm: Spacing | None = None
) -> Scan:
    """Read an MGH volume of FreeSurfer.

    Args:
        source: `.mgh` or `.mgz` file with one frame.
        limits: Checked on the header, before the voxels are read.
        spacing_mm: Voxel size that replaces the file's; None for the file's.

    Returns:
        Voxels in the axis order of the file, the affine converted to LPS; with a warning if the
        file does not define its orientation.

    Raises:
        InputError: If the file can't be used, see `read_nifti`.
    """
    with reading(source.name, "the MGH file"):
        head = source.head(MGH_HEADER_BYTES, limits)
        check_size(len(head), MGH_HEADER_BYTES, 0)
        header = MGHImage.header_class(head, check=False)
        shape, expected = _promised(header, MGH_HEADER_BYTES, limits)
        data = promised_bytes(source, expected, _MGH_FOOTER_BYTES, limits)
        image, voxels = _parse(MGHImage, {"image": data})
        affine = RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64)
        warnings: tuple[ScanWarning, ...] = ()
        # nibabel sets the flag if it is missing.
        if head[GOOD_RAS_AT : GOOD_RAS_AT + 2] != b"\0\1":
            warnings = _doubt(_MGH_ORIENTATION)
        return volume_scan(source, voxels.reshape(shape), affine, warnings, spacing_mm=spacing_mm)


def _not_an_image(header: nibabel.Nifti1Header) -> UnsupportedScan | None:
    """Return why `intent_code` excludes a volume: labels, statistics, vectors.

    Args:
        header: Header of the file.

    Returns:
        The refusal; None for an image.

    Raises:
        UnsupportedScan: If each voxel holds several numbers, as a vector does.

    References:
        NIfTI-1, nifti1.h: NIFTI_INTENT_CODES; nibabel has the later ones of FSL and CIFTI.
    """
    code = int(header["intent_code"])
    intents = nibabel.nifti1.intent_codes
    if code in _IMAGE_INTENTS or code not in intents.code:
        return None
    exclusion = UnsupportedScan(
        f"its intent_code {code} says {intents.label[code].strip()!r}: numbers computed from "
        "images, not an image; choose the scan itself",
        reason="derived",
    )
    if np.prod(header.get_data_shape()[3:], dtype=int) > 1:
        raise exclusion
    return exclusion


def _promised(
    header: nibabel.analyze.AnalyzeHeader, start: int, limits: Limits
) -> tuple[tuple[int, int, int], int]:
    """Return the shape of the volume that a header promises, and the bytes up to its end."""
    shape = volume_shape(tuple(int(side) for side in header.get_data_shape()))
    limits.check_shape(shape)
    kind = header.get_data_dtype()
    check_numbers(kind)
    if not 0 <= start <= 64 * MIB:
        raise UnreadableFile(
            f"the header says that the voxels begin at byte {start}, expected 0 to {64 * MIB}; "
            "export the volume again"
        )
    return shape, start + int(np.prod(shape)) * kind.itemsize


def _slice_bytes(header: nibabel.analyze.AnalyzeHeader) -> int:
    """Return the largest padding of a file, bytes: one less than a slice."""
    sides = volume_shape(tuple(int(side) for side in header.get_data_shape()))
    return sides[0] * sides[1] * int(header.get_data_dtype().itemsize) - 1


def _parse(
    kind: type[SpatialImage], files: dict[str, bytes]
) -> tuple[SpatialImage, NDArray[np.float32]]:
    """Return the image and its voxels; translate errors of nibabel."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = {name: FileHolder(fileobj=io.BytesIO(data)) for name, data in files.items()}
            image = kind.from_file_map(opened)
            return image, np.asarray(image.dataobj, dtype=np.float32)
    except (HeaderDataError, WrapStructError, ImageFileError) as error:
        raise UnreadableFile(f"the header contradicts itself: {error}") from error


def _analyze_affine(
    header: nibabel.analyze.AnalyzeHeader,
    orient: int,
    shape: tuple[int, int, int],
    spacing_mm: Spacing | None,
) -> Float64Array:
    """Return an affine with its origin in the middle of the volume, LPS, mm."""
    spacing = np.abs(np.asarray(spacing_mm or header["pixdim"][1:4], dtype=np.float64))
    if not (spacing > 0).all():
        raise _no_spacing(spacing)
    affine = np.eye(4)
    affine[:3, :3] = np.array(_ANALYZE_AXES.get(orient, _ANALYZE_AXES[0])).T * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _affine(
    image: nibabel.Nifti1Image, spacing_mm: Spacing | None
) -> tuple[Float64Array, tuple[ScanWarning, ...]]:
    """Return the affine in LPS, mm, and a warning if it is doubtful; raise if no size is given."""
    header = image.header
    if spacing_mm is None:
        _check_spacing(header)
    chosen, warnings = _orientation(header)
    unit = int(header["xyzt_units"]) & _UNIT_BITS
    if unit not in _MILLIMETERS and spacing_mm is None:
        text = _UNKNOWN_UNIT.format(unit=unit)
        warnings = (*warnings, ScanWarning("geometry_doubtful", text))
    affine = RAS_TO_LPS @ chosen
    affine[:3] *= _MILLIMETERS.get(unit, 1.0)
    return np.asarray(affine, dtype=np.float64), warnings


def _orientation(header: nibabel.Nifti1Header) -> tuple[Float64Array, tuple[ScanWarning, ...]]:
    """Return the affine to RAS that a header defines, in its unit, and whether it is doubtful.

    The sform counts if it can be used and agrees with the qform, else the qform, which is rigid and
    has the voxel size of `pixdim`.

    References:
        NIfTI-1, nifti1.h: methods 1 to 3. ITK too uses the qform if the sform is sheared or zero.
    """
    sform, qform = header.get_sform(coded=True)[0], _qform(header)
    if not _is_usable(sform) and (qform is not None or sform is None or not sform[:3, :3].any()):
        if qform is None:
            return header.get_base_affine(), _doubt(_NIFTI_ORIENTATION)
        return qform, ()
    if qform is None:
        return sform, ()
    difference = _difference(sform, qform)
    if difference is None:
        return sform, ()
    return qform, _doubt(_TWO_ORIENTATIONS.format(difference=difference))


def _qform(header: nibabel.Nifti1Header) -> Float64Array | None:
    """Return the affine of the qform; None if it is not defined or can't be used."""
    try:
        qform = header.get_qform(coded=True)[0]
    except HeaderDataError:
        return None
    return qform if _is_usable(qform) else None


def _is_usable(affine: Float64Array | None) -> bool:
    """Return whether an affine is defined, finite and not singular."""
    if affine is None or not np.isfinite(affine).all():
        return False
    return bool(np.linalg.matrix_rank(affine[:3, :3]) == 3)


def _difference(sform: Float64Array, qform: Float64Array) -> str | None:
    """Return in words how two affines contradict each other; None if they agree.

    Places are not compared: they change no distance and no side.
    """
    sizes = [np.linalg.norm(affine[:3, :3], axis=0) for affine in (sform, qform)]
    if not np.allclose(sizes[0], sizes[1], rtol=_SIZE_TOLERANCE):
        shown = [" x ".join(f"{side:.4g}" for side in size) for size in sizes]
        return f"voxels of {shown[0]} mm in the sform, of {shown[1]} mm in the qform"
    if np.sign(np.linalg.det(sform[:3, :3])) != np.sign(np.linalg.det(qform[:3, :3])):
        return "left and right are exchanged between sform and qform"
    cosines = (sform[:3, :3] / sizes[0] * (qform[:3, :3] / sizes[1])).sum(axis=0)
    if cosines.min() < _SMALLEST_COSINE:
        return "their axes point in other directions"
    return None


def _doubt(text: str) -> tuple[ScanWarning, ...]:
    """Return the warning that an orientation is doubtful."""
    return (ScanWarning("orientation_doubtful", text),)


def _check_spacing(header: nibabel.Nifti1Header) -> None:
    """Check the spacing of a header without sform: nibabel replaces 0 by 1 mm."""
    if int(header["sform_code"]) > 0:
        return
    spacing = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not (np.abs(spacing) > 0).all():
        raise _no_spacing(spacing)


def _no_spacing(spacing: Float64Array) -> GeometryError:
    sides = ", ".join(f"{side:g}" for side in spacing)
    return GeometryError(
        f"pixdim {sides}, and no sform: the voxel size is missing; expected three numbers above 0, "
        "in mm: export the volume again"
    )


def write_nifti(voxels: NDArray[np.generic], scan: Scan, path: Path) -> None:
    """Write voxels as NIfTI on the grid of a scan, the affine converted from LPS to RAS.

    Args:
        voxels: Values in the shape of the scan, of any type of NIfTI.
        scan: Scan with an affine.
        path: File to write, `.nii` or `.nii.gz`; its folder is created.

    Raises:
        OptionError: If the scan is a picture without geometry.
    """
    image = _image_of(voxels, scan)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def _image_of(voxels: NDArray[np.generic], scan: Scan) -> nibabel.Nifti1Image:
    image = nibabel.Nifti1Image(voxels, RAS_TO_LPS @ affine_of(scan))
    image.header.set_xyzt_units("mm")
    return image


def nifti_header(voxels: NDArray[np.generic], scan: Scan) -> bytes:
    """Return what stands before the voxels in a NIfTI file.

    Args:
        voxels: Values in the shape of the scan, of any type of NIfTI.
        scan: Scan with an affine.

    Returns:
        Header of `NIFTI_1_BYTES`.
    """
    header = _image_of(voxels, scan).header
    header["vox_offset"] = NIFTI_1_BYTES
    content: bytes = header.binaryblock
    return content.ljust(NIFTI_1_BYTES, b"\0")


def stored_voxels(path: Path) -> NDArray[np.generic]:
    """Return the voxels of a file that `write_nifti` wrote, in its type and shape."""
    return np.asarray(nibabel.load(path).dataobj)


def affine_of(scan: Scan) -> NDArray[np.float64]:
    """Return the affine of a scan, shape (4, 4), LPS, mm.

    Args:
        scan: Volume.

    Raises:
        OptionError: If it is a picture without geometry.

    Returns:
        Voxel index to LPS mm.
    """
    if scan.affine is None:
        raise OptionError(f"{scan.name}: a picture without geometry can't be written as a volume")
    return scan.affine
