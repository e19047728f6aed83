"""The Scan, a series in memory, and its slices."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meninx._errors import UnreadableFile, UnsupportedScan
from meninx._scan.completeness import Incomplete
from meninx._scan.geometry import Float64Array, Plane, check_affine, spacing_of
from meninx._scan.intensity import intensity_range
from meninx._scan.view import PICTURE_VIEW, View, view_of
from meninx._scan.warning import ScanWarning

Sequence = Literal["T1", "T1c", "T2", "FLAIR", "unknown"]
Voxels = NDArray[np.float32]
# Differences of larger 32-bit floats overflow. Scanners store 16 bits, far below this.
_LARGEST_VALUE = 1e30


def as_is(dataset: Any) -> Any:
    """Return a dataset that was parsed before."""
    return dataset


class Headers(Listed[Any]):
    """Datasets of DICOM files, each parsed on first access; their values are hidden from logs.

    Args:
        readers: A function for each file, by the file's name, that returns its dataset.
    """

    def __init__(self, readers: Mapping[str, Callable[[], Any]] | None = None) -> None:
        self._names = tuple(readers or ())
        self._readers = tuple((readers or {}).values())
        self._parsed: dict[int, Any] = {}

    @classmethod
    def of(cls, datasets: Iterable[Any]) -> Self:
        """Return headers of datasets that were parsed before."""
        return cls({str(dataset.filename): partial(as_is, dataset) for dataset in datasets})

    def __repr__(self) -> str:
        return f"<{len(self)} headers>"

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def first_by_name(self) -> Any:
        """Dataset of the file whose name sorts first, the same for any order of slices."""
        return self[min(range(len(self)), key=self._names.__getitem__)]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        if number not in self._parsed:
            self._parsed[number] = self._readers[number]()
        return self._parsed[number]


@dataclass(frozen=True)
class Identity:
    """UIDs, series number and patient hash of a scan; the patient's name is not stored.

    Args:
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        instance_uids: SOPInstanceUID of each slice, in slice order; one for an enhanced file.
        patient: Hash of the patient's ID or name; empty if the header has neither.
        series_number: SeriesNumber; None if not given.
        description: SeriesDescription, for readers; excluded from logs and public JSON, because it
            may contain personal data.
    """

    study_uid: str | None = None
    series_uid: str | None = None
    instance_uids: tuple[str, ...] = ()
    patient: str = ""
    series_number: int | None = None
    description: str = field(default="", repr=False)

    def as_json(self) -> dict[str, str]:
        """Return the identity as public JSON."""
        names = {
            "study_instance_uid": self.study_uid,
            "series_instance_uid": self.series_uid,
            "patient": self.patient or None,
        }
        return {name: value for name, value in names.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Scan:
    """One series: a volume, or a picture as a volume of one slice.

    Args:
        name: Name of the file or series, for the user.
        voxels: Intensities after rescaling, axes [i, j, k] as stored (array index of NIfTI; column,
            row, slice of DICOM and pictures), float32, exact for 16 bits.
        affine: Voxel index to LPS mm, shape (4, 4); None for a picture.
        sequence: MR sequence.
        other_contrast: Whether headers or the name describe another contrast, such as diffusion;
            then the sequence is `unknown`, and none must be guessed.
        identity: UIDs and the patient's hash.
        colorfulness: Share of pixels that are colored, 0..1.
        slice_axis: Voxel axis along which slices follow each other, if the format defines it or
            `cut_axially` chose another; None to find it from the spacing.
        positions_mm: Position of each slice along the slice axis, mm from the first; None if all
            gaps are equal.
        geometry_estimated: Whether distances were estimated from the slices because those of the
            file are implausible; then no size in mm and no side is reported.
        warnings: Irregularities that do not prevent scoring.
        incomplete: Counts of what is missing of the scan or its study.
        exclusion: Why its header excludes it from scoring; None if it does not. Excluded volumes
            are still read, for masks.
        headers: Datasets of its DICOM files, without pixels, in slice order; one for an enhanced
            file, none for other formats.

    Raises:
        UnreadableFile: If there are no voxels or some are not finite.
        UnsupportedScan: If all voxels are equal.
        GeometryError: If the affine does not describe a rectangular grid.
    """

    name: str
    voxels: Voxels
    affine: Float64Array | None = None
    sequence: Sequence = "unknown"
    other_contrast: bool = False
    identity: Identity = field(default_factory=Identity)
    colorfulness: float = 0.0
    slice_axis: int | None = None
    positions_mm: tuple[float, ...] | None = None
    geometry_estimated: bool = False
    warnings: tuple[ScanWarning, ...] = ()
    incomplete: tuple[Incomplete, ...] = ()
    exclusion: UnsupportedScan | None = None
    headers: Headers = field(default_factory=Headers)

    @classmethod
    def of(
        cls,
        image: Any,
        *,
        affine: ArrayLike | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
        sequence: Sequence | None = None,
        name: str = "array",
    ) -> "Scan":
        """Return an image in memory as a scan, as if it had been read from a file.

        Args:
            image: A picture, shape (h, w), or a volume, axes [i, j, k], maybe with one channel in
                front: an array, a tensor, or an image of nibabel, SimpleITK or MONAI, which
                brings its geometry.
            affine: Voxel index to RAS mm, shape (4, 4), as nibabel and MONAI have it; None for
                that of the image.
            spacing_mm: Voxel size along the axes, mm, of a volume without an affine, or instead
                of that of the affine.
            sequence: MR sequence; None to find it in the name.
            name: Name of the scan, for findings and messages.

        Returns:
            The scan.

        Raises:
            OptionError: If a volume comes without geometry, or the shape is that of no scan.
            InputError: If the values can't be used: blank, not finite, no plain numbers, or an
                affine that is none.
        """
        from meninx._scan.arrays import scan_of

        return scan_of(image, affine=affine, spacing_mm=spacing_mm, sequence=sequence, name=name)

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or not self.voxels.size:
            raise UnreadableFile(f"expected voxels [i, j, k], found shape {self.voxels.shape}")
        low, high = float(self.voxels.min()), float(self.voxels.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise UnreadableFile(
                "some voxels are not finite numbers (NaN or infinity); set them to 0, or export it "
                "again",
                reason="not_finite",
            )
        if max(abs(low), abs(high)) > _LARGEST_VALUE:
            raise UnreadableFile(
                f"voxels from {low:.2g} to {high:.2g}: no scanner's values, most likely bytes in "
                "the wrong order; export the scan again",
                reason="not_finite",
            )
        if low == high:
            raise UnsupportedScan(
                f"blank: all voxels have the value {low:g}; is it the right file?", reason="blank"
            )
        if self.affine is not None:
            check_affine(self.affine)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.voxels.shape))
        spacing = " x ".join(f"{s:.2f}" for s in self.spacing_mm or ())
        where = f", {spacing} mm, {self.view.plane}" if spacing else ", no geometry"
        return f"Scan({self.name!r}, {shape}{where}, {self.sequence})"

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance between neighboring voxels along i, j and k; None without geometry."""
        return None if self.affine is None else spacing_of(self.affine)

    @cached_property
    def view(self) -> View:
        """Orientation of the slices."""
        if self.affine is None:
            return PICTURE_VIEW
        view = view_of(self.affine, self.slice_axis, self.voxels.shape)
        return replace(view, plane=None) if self.geometry_estimated else view

    @property
    def is_volume(self) -> bool:
        """Whether the scan has more than one slice."""
        return len(self) > 1

    @property
    def slice_gap_mm(self) -> float | None:
        """Distance between neighboring slices; None without geometry."""
        return None if self.spacing_mm is None else self.spacing_mm[self.view.slice_axis]

    @property
    def depths_mm(self) -> Float64Array | None:
        """Position of each slice along the slice axis, mm, shape (n,); None without geometry."""
        if self.positions_mm is not None:
            return np.array(self.positions_mm)
        gap = self.slice_gap_mm
        return None if gap is None else np.arange(len(self), dtype=np.float64) * gap

    def __len__(self) -> int:
        """Return the number of slices."""
        return int(self.voxels.shape[self.view.slice_axis])

    def point_of(self, voxel: tuple[int, int, int]) -> Float64Array:
        """Return the position of a voxel in the patient.

        Args:
            voxel: Index [i, j, k].

        Returns:
            Point, LPS, mm, shape (3,).

        Raises:
            ValueError: If the scan has no geometry.
        """
        if self.affine is None:
            raise ValueError(f"{self.name}: no geometry, so voxels have no position")
        place = np.array(voxel, dtype=np.float64)
        if self.positions_mm is not None and self.slice_gap_mm:
            axis = self.view.slice_axis
            place[axis] = self.positions_mm[voxel[axis]] / self.slice_gap_mm
        return np.asarray(self.affine[:3, :3] @ place + self.affine[:3, 3])

    def slice(self, index: int) -> "Slice":
        """Return one slice, turned for a reader.

        Args:
            index: Index along the slice axis, from 0.

        Returns:
            The slice, a copy of its voxels.
        """
        return self._only_slice if (len(self), index) == (1, 0) else self._cut(index)

    @cached_property
    def _only_slice(self) -> "Slice":
        # Kept, because several steps need its intensity range.
        return self._cut(0)

    def _cut(self, index: int) -> "Slice":
        view = self.view
        spacing = self.spacing_mm or (1.0, 1.0, 1.0)
        return Slice(
            index=index,
            image=view.cut(self.voxels, index),
            pixel_spacing=(spacing[view.row_axis], spacing[view.column_axis]),
            view=view,
        )

    def slices(self) -> "Iterator[Slice]":
        """Yield all slices, in the order of their index."""
        return map(self.slice, range(len(self)))


@dataclass(frozen=True, eq=False)
class Slice:
    """One 2-D plane of a scan, turned for a reader.

    Args:
        index: Index along the scan's slice axis, from 0.
        image: Intensities, shape (h, w), [row, column].
        pixel_spacing: Distance between rows and between columns, mm (1 without geometry).
        view: Orientation of the scan's slices.
    """

    index: int
    image: NDArray[np.float32]
    pixel_spacing: tuple[float, float]
    view: View

    @property
    def plane(self) -> Plane | None:
        """Anatomic plane of the slice; None without geometry."""
        return self.view.plane

    @cached_property
    def intensity_range(self) -> tuple[float, float]:
        """Robust intensity range of the image, low and high."""
        return intensity_range(self.image)

    def voxel_at(self, row: float, column: float) -> tuple[int, int, int]:
        """Return the voxel [i, j, k] at an image position.

        Args:
            row: Row in `image`, pixel centers at integers; positions outside are clipped.
            column: Column in `image`, likewise.

        Returns:
            Column i, row j, slice k of a DICOM series; array index of a NIfTI file.
        """
        height, width = self.image.shape
        at_row = min(max(round(row), 0), height - 1)
        at_column = min(max(round(column), 0), width - 1)
        voxel = [0, 0, 0]
        voxel[self.view.slice_axis] = self.index
        voxel[self.view.row_axis] = height - 1 - at_row if self.view.flip_rows else at_row
        voxel[self.view.column_axis] = (
            width - 1 - at_column if self.view.flip_columns else at_column
        )
        return voxel[0], voxel[1], voxel[2]

    def position_of(self, voxel: tuple[int, int, int]) -> tuple[int, int]:
        """Return the row and column of a voxel of this slice: the inverse of `voxel_at`."""
        height, width = self.image.shape
        row, column = voxel[self.view.row_axis], voxel[self.view.column_axis]
        return (
            height - 1 - row if self.view.flip_rows else row,
            width - 1 - column if self.view.flip_columns else column,
        )
