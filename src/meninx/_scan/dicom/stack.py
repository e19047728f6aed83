"""Read the pixels of a stack of DICOM frames into a Scan."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from meninx._errors import UnreadableFile
from meninx._scan.axial import cut_axially
from meninx._scan.background import with_dark_air, without_padding
from meninx._scan.dicom.pixels import LastFile
from meninx._scan.frame import Frame
from meninx._scan.intensity import Float32Array
from meninx._scan.limits import DEFAULT_LIMITS, Limits
from meninx._scan.lost_slices import with_lost_slices_counted
from meninx._scan.plausibility import with_plausible_geometry
from meninx._scan.scan import Headers, Scan
from meninx._scan.sequence import Acquisition, contrast_warning, sequence_of
from meninx._scan.series import Stack, contradictions, have_repeated_numbers
from meninx._scan.series_parts import coinciding
from meninx._scan.slice_order import with_slice_order_checked
from meninx._scan.source import reading
from meninx._scan.warning import ScanWarning

# Rescaling is wrong if slices between which it changes differ by this much more after it. Where it
# is right, as in series that use the full range of bits for each slice, they differ less.
_RESCALED_APART = 1.2


def read_stack(
    stack: Stack, limits: Limits = DEFAULT_LIMITS, files: LastFile | None = None
) -> Scan:
    """Read the pixels of one stack of frames.

    Args:
        stack: Frames of one scan, as `stacks_of` returns them.
        limits: Largest number of voxels.
        files: Cache shared by the stacks of one folder.

    Returns:
        Voxels [column, row, slice], slices upwards along row cosines x column cosines.

    Raises:
        InputError: If the stack is excluded, has gaps, or a file is damaged.
    """
    files = files or LastFile()
    with reading(stack.name, "the DICOM series"):
        stack, warnings = _without_equal_copies(stack, limits, files)
        frames, affine, spacing = stack.placed()
        warnings += _unread_rescale(frames) + _contradiction(frames)
        first = frames[0]
        acquisition = _acquisition_of(frames)
        other_contrast = contrast_warning(acquisition)
        warnings += (other_contrast,) if other_contrast else ()
        warnings += tuple(dict.fromkeys(doubt for frame in frames for doubt in frame.doubts))
        limits.check_shape((first.shape[1], first.shape[0], len(frames)))
        voxels = np.empty((len(frames), *first.shape), dtype=np.float32)
        headers: dict[str, Callable[[], Dataset]] = {}
        for index, frame in enumerate(frames):
            voxels[index] = _pixels_of(frame, limits, files)
            headers[frame.source.name] = files.header
        _check_rescale(frames, voxels)
        scan = Scan(
            name=stack.name,
            voxels=without_padding(voxels.transpose(2, 1, 0), 2),
            affine=affine,
            sequence=sequence_of(acquisition),
            other_contrast=other_contrast is not None,
            slice_axis=2,
            identity=stack.identity,
            positions_mm=spacing.positions_mm if spacing else None,
            warnings=(*warnings, *stack.warnings, *(spacing.warnings if spacing else ())),
            incomplete=(*stack.incomplete, *first.source.incomplete),
            headers=Headers(headers),
        )
        scan = with_dark_air(with_lost_slices_counted(scan))
        scan = with_slice_order_checked(scan, has_positions=affine is not None)
        scan = with_plausible_geometry(scan)
        return cut_axially(scan)


def contrast_of_unread(stack: Stack) -> tuple[ScanWarning, ...]:
    """Return the warning that the headers of a stack describe another contrast; else none."""
    warning = contrast_warning(_acquisition_of(stack.frames))
    return (warning,) if warning else ()


def _acquisition_of(frames: Sequence[Frame]) -> Acquisition:
    """Return the header values of the first frame, with the highest b-value of all."""
    b_value = max(frame.acquisition.b_value or 0.0 for frame in frames)
    return replace(frames[0].acquisition, b_value=b_value)


def _pixels_of(frame: Frame, limits: Limits, files: LastFile) -> NDArray[np.float32]:
    """Return a frame's intensities after rescaling, shape (rows, columns)."""
    pixels = files.pixels(frame, limits)
    if frame.number >= len(pixels) or pixels.shape[1:] != frame.shape:
        raise UnreadableFile(
            f"the pixels have shape {pixels.shape}, the header promises frame "
            f"{frame.number + 1} of {frame.shape}",
            place=frame.source.name,
        )
    return np.asarray(pixels[frame.number] * frame.slope + frame.intercept, dtype=np.float32)


def _unread_rescale(frames: Sequence[Frame]) -> tuple[ScanWarning, ...]:
    """Return a warning if the rescaling of no slice can be read; raise if that of some can't.

    All slices of a series usually share one rescaling, and the detector's input does not depend on
    it. If only some slices were rescaled, they would be brighter than the others.
    """
    unread = [frame for frame in frames if frame.unread]
    if not unread:
        return ()
    names = " and ".join(sorted({name for frame in unread for name in frame.unread}))
    if len(unread) < len(frames):
        raise UnreadableFile(
            f"{names} can't be read in {len(unread)} of {len(frames)} slices, so their brightness "
            "differs from the others; export the series again"
        )
    text = f"{names} can't be read; stored values were used, as if all slices shared one rescaling"
    return (ScanWarning("rescale_unreadable", text),)


def _check_rescale(frames: Sequence[Frame], voxels: Float32Array) -> None:
    """Raise if it is rescaling that makes slices differ from their neighbors.

    A rescaling that is missing in some slices counts as none. If it belongs to the others only,
    stored values of neighbors differ more than rescaled ones, else less.

    Args:
        frames: Slices in order.
        voxels: Their rescaled intensities, shape (n, rows, columns).

    Raises:
        UnreadableFile: If slices are brighter or darker than others by their rescaling alone.
    """
    rescaled = stored = 0.0
    for (own, values), (other, following) in pairwise(zip(frames, voxels, strict=True)):
        if (own.slope, own.intercept) != (other.slope, other.intercept) and own.slope * other.slope:
            before = (values - own.intercept) / own.slope
            after = (following - other.intercept) / other.slope
            stored += float(np.nansum(np.abs(after - before)))
            scale = max(abs(own.slope), abs(other.slope))
            rescaled += float(np.nansum(np.abs(following - values))) / scale
    if rescaled > _RESCALED_APART * stored:
        pairs = {f"{frame.slope:g}, {frame.intercept:g}" for frame in frames}
        raise UnreadableFile(
            "RescaleSlope and RescaleIntercept differ between slices or are missing in some "
            f"({' against '.join(sorted(pairs)[:2])}), and make them brighter or darker than their "
            "neighbors; export the series again"
        )


def _contradiction(frames: Sequence[Frame]) -> tuple[ScanWarning, ...]:
    """Return a warning if the headers of slices, in their order, contradict each other."""
    texts = []
    if names := contradictions(frames):
        texts.append(
            f"slices of one series differ in {' and '.join(names)}; they form one stack, so they "
            "were read as one scan"
        )
    if have_repeated_numbers(frames):
        texts.append(
            "slices at different places share an InstanceNumber; they form one stack, so they were "
            "read as one scan, but two series may be mixed in it"
        )
    return tuple(ScanWarning("headers_contradict", text) for text in texts)


def _without_equal_copies(
    stack: Stack, limits: Limits, files: LastFile
) -> tuple[Stack, tuple[ScanWarning, ...]]:
    """Return a stack without duplicates: slices at one position with equal pixels."""
    dropped: set[int] = set()
    if stack.frames[0].exclusion is None:
        for first, *copies in coinciding(stack.frames):
            pixels = _pixels_of(first, limits, files)
            if all(np.array_equal(pixels, _pixels_of(copy, limits, files)) for copy in copies):
                dropped |= {id(copy) for copy in copies}
    if not dropped:
        return stack, ()
    frames = tuple(frame for frame in stack.frames if id(frame) not in dropped)
    text = f"{len(dropped)} slices were sent twice, with equal pixels; one of each was used"
    return replace(stack, frames=frames), (ScanWarning("copies_dropped", text),)
