"""Training slices in memory, preprocessed as the detector does.

Legend: n pictures, s side of the canvas in pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from meninx._data.manifest import Picture
from meninx._data.stacks import read_picture_mask, read_stack
from meninx._data.volume_masks import read_mask
from meninx._detect.head_slices import brain_slices
from meninx._detect.neighbors import neighbor_indices
from meninx._detect.preprocessing import CropWindow, Preprocessing, crop_window_of
from meninx._labels import TYPE_NAMES
from meninx._learn.input.augmentation.batch import SliceBatch
from meninx._scan.intensity import foreground
from meninx._scan.raster import read_gray
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan

MASKED, TUMOR_FREE, SIMULATED, UNMASKED, CONTEXT = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Facts:
    """Label and origin of a training slice.

    Args:
        kind: Kind of slice: `MASKED`, `TUMOR_FREE`, `SIMULATED`, `UNMASKED` (a tumor without its
            mask) or `CONTEXT`, which is only used as a neighbor.
        tumor_type: Name in `labels.TYPE_NAMES`; None where unknown or none.
        below, above: Offsets of its neighbors in the list of examples; 0 for a missing neighbor,
            which is replaced by the slice itself.
        person: Name of the person; empty where it is not known.
        source: Name of its collection.
        sequence: MR sequence; empty where it is not known.
        fold: Fold of its manifest's row; for a simulated slice, the fold of the person of the head
            template, 0 for none.
        fair: Whether its source has pictures with and without tumor, so that the source does not
            reveal the label.
        plausible: Whether a scanner could have taken it; some simulated contrasts do not exist.
    """

    kind: int
    tumor_type: str | None = None
    below: int = 0
    above: int = 0
    person: str = ""
    source: str = ""
    sequence: str = ""
    fold: int = 0
    fair: bool = True
    plausible: bool = True


@dataclass(frozen=True)
class Example:
    """One training slice.

    Args:
        image: Intensities, any unit, shape (h, w).
        mask: Segmentation mask of the tumor, 0 or 1, shape (h, w); None for a slice without mask.
        facts: Label and origin.
        crop_window: Crop window of its volume; None for one of its own.
        pixel_spacing: Distance between rows and between columns, mm.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.float32] | None
    facts: Facts
    crop_window: CropWindow | None = None
    pixel_spacing: tuple[float, float] = (1.0, 1.0)

    @property
    def kind(self) -> int:
        """Kind of slice, one of the constants that `Facts` names."""
        return self.facts.kind

    @property
    def is_tumor(self) -> bool:
        """Whether it shows a tumor, with or without a mask."""
        return self.mask is not None or self.kind == UNMASKED


def examples_of(pictures: Iterable[Picture], *, unmasked: bool = False) -> Iterator[Example]:
    """Read the training slices of pictures.

    Args:
        pictures: Rows of a manifest. Volumes and stacks give every slice that shows enough of the
            head.
        unmasked: Whether to include tumors without a mask, from which only the label is learned.

    Yields:
        One example per picture or slice. Slices of one head are consecutive.

    Raises:
        DataError: If a mask is empty, has another size than its picture, or belongs to a tumor-free
            picture.
        InputError: If a picture can't be read.
    """
    stacks: dict[str, list[Picture]] = {}
    for picture in pictures:
        if picture.tumor and picture.mask is None and not unmasked:
            continue
        if picture.is_volume:
            yield from _slices_of(picture)
        elif picture.stack:
            stacks.setdefault(picture.stack, []).append(picture)
        else:
            yield _single(picture)
    for members in stacks.values():
        yield from _slices_of_stack(members)


def _single(picture: Picture) -> Example:
    """Return the example of a single picture, without neighbors."""
    image = read_gray(picture.picture)
    mask = None
    if picture.mask is not None:
        mask = read_picture_mask(picture, image).astype(np.float32)
    # Single pictures with a mask come from collections without tumor-free pictures or from unknown
    # ones, so they are not fair.
    return Example(image, mask, _facts(picture, mask is not None, fair=mask is None))


def _facts(picture: Picture, masked: bool, *, fair: bool, tumor: bool | None = None) -> Facts:
    """Return the facts of a slice from its manifest's row."""
    kind = TUMOR_FREE
    if picture.tumor if tumor is None else tumor:
        kind = MASKED if masked else UNMASKED
    return Facts(
        kind=kind,
        tumor_type=picture.tumor_type if kind != TUMOR_FREE else None,
        person=picture.person,
        source=picture.source,
        sequence=picture.sequence,
        fold=picture.fold,
        fair=fair,
    )


def _slices_of(picture: Picture) -> Iterator[Example]:
    """Yield the slices of a volume that show enough of the head, with their part of its mask."""
    scan = read_one(picture.picture)
    mask = read_mask(picture.mask, scan) if picture.mask is not None else None
    yield from examples_of_volume(scan, picture, mask)


def examples_of_volume(
    scan: Scan, picture: Picture, mask: NDArray[np.bool_] | None = None
) -> Iterator[Example]:
    """Yield the slices of a scan that show enough of the head.

    Args:
        scan: The scan.
        picture: Its row of a manifest.
        mask: Segmentation mask of the tumor, in the scan's shape; None where there is none.

    Yields:
        One example a slice, in order, with the slice's part of the mask.
    """
    slices = brain_slices(scan)
    crop_window = crop_window_of(np.stack([slice_.image for slice_ in slices]))
    offsets = _offsets(len(slices), scan.slice_gap_mm)
    for slice_, (below, above) in zip(slices, offsets, strict=True):
        truth = None if mask is None else scan.view.cut(mask, slice_.index).astype(np.float32)
        has_tumor = picture.tumor and (truth is None or bool(truth.any()))
        facts = _facts(picture, truth is not None, fair=True, tumor=has_tumor)
        yield Example(
            slice_.image,
            truth if facts.kind == MASKED else None,
            replace(facts, below=below, above=above),
            crop_window,
            slice_.pixel_spacing,
        )


def _slices_of_stack(members: Sequence[Picture]) -> Iterator[Example]:
    """Yield the pictures of a stack that show enough of the head, with their neighbors."""
    scan, mask = read_stack(members)
    slices = brain_slices(scan)
    crop_window = crop_window_of(np.stack([slice_.image for slice_ in slices]))
    offsets = _offsets(len(slices), scan.slice_gap_mm)
    rows = sorted(members, key=lambda picture: picture.position or 0)
    for slice_, (below, above) in zip(slices, offsets, strict=True):
        row = rows[slice_.index]
        truth = scan.view.cut(mask, slice_.index).astype(np.float32) if row.mask else None
        facts = replace(_facts(row, truth is not None, fair=True), below=below, above=above)
        yield Example(slice_.image, truth, facts, crop_window, slice_.pixel_spacing)


def _offsets(count: int, gap_mm: float | None) -> list[tuple[int, int]]:
    """Return the offsets of each slice's neighbors below and above."""
    away = neighbor_indices(count, gap_mm) - np.arange(count)[:, None]
    return [(int(below), int(above)) for below, _, above in away]


class SliceDataset:
    """Training slices as bytes on one square canvas each, with the neighbors of every slice.

    Args:
        examples: Training slices; iterated once.
        preprocessing: Preprocessing of the detector; its size is the canvas side s.
    """

    def __init__(self, examples: Iterable[Example], preprocessing: Preprocessing) -> None:
        canvases = [_canvas_of(example, preprocessing) for example in examples]
        self._fill(
            torch.from_numpy(np.stack([canvas.image for canvas in canvases])),
            torch.from_numpy(np.stack([canvas.mask for canvas in canvases])),
            torch.from_numpy(np.stack([canvas.depth for canvas in canvases])),
            [canvas.facts for canvas in canvases],
        )

    @classmethod
    def of_planes(
        cls, image: Tensor, mask: Tensor, depth: Tensor, facts: Sequence[Facts]
    ) -> "SliceDataset":
        """Return a data set of existing canvases.

        Args:
            image: Intensities 0..255, uint8, shape (n, s, s).
            mask: Tumor coverage 0..255, uint8, shape (n, s, s).
            depth: Depth in the head 0..255, uint8, shape (n, s, s).
            facts: Label and origin of each, n of them.

        Returns:
            The data set.
        """
        made = cls.__new__(cls)
        made._fill(image, mask, depth, facts)
        return made

    def _fill(self, image: Tensor, mask: Tensor, depth: Tensor, facts: Sequence[Facts]) -> None:
        self.image, self.mask, self.depth = image, mask, depth
        self.facts = tuple(facts)
        self.tumor_type = torch.tensor(
            [TYPE_NAMES.index(fact.tumor_type) if fact.tumor_type else -1 for fact in facts]
        )
        self.kind = torch.tensor([fact.kind for fact in facts])
        self.fair = torch.tensor([fact.fair for fact in facts])
        own = torch.arange(len(facts))
        self.slices = torch.stack(
            [
                own + torch.tensor([fact.below for fact in facts]),
                own,
                own + torch.tensor([fact.above for fact in facts]),
            ],
            dim=1,
        )  # [n, 3]

    def __len__(self) -> int:
        """Return the number of examples n."""
        return len(self.image)

    def resized(self, size: int) -> "SliceDataset":
        """Return the same examples on canvases of another side, pixels."""
        if self.image.shape[-1] == size:
            return self
        planes = [
            torch.cat([_resized(part, size) for part in torch.split(plane, 256)])
            for plane in (self.image, self.mask, self.depth)
        ]
        return SliceDataset.of_planes(planes[0], planes[1], planes[2], self.facts)

    def to(self, device: torch.device) -> "SliceDataset":
        """Return the same data set in another device's memory."""
        moved = SliceDataset.__new__(SliceDataset)
        moved.__dict__ = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return moved

    def batch(self, indices: Tensor) -> SliceBatch:
        """Return some examples, each with its neighbors.

        Args:
            indices: Indices of the examples, on the data set's device, shape (b,).

        Returns:
            Batch of the examples, intensities 0..1.
        """
        kind = self.kind[indices]
        mask = self.mask[indices][:, None].float() / 255
        unmasked = kind == UNMASKED
        return SliceBatch(
            image=self.image[self.slices[indices]].float() / 255,
            mask=mask,
            depth=self.depth[indices][:, None].float() / 255,
            tumor_type=self.tumor_type[indices],
            tumor_free=(mask.flatten(1).amax(1) < 0.5) & ~unmasked,
            fair=self.fair[indices],
            unmasked=unmasked,
        )

    def batches(self, size: int) -> "Batches":
        """Return all examples in order, `size` at a time."""
        return Batches(self, size)


class Batches:
    """All examples of a data set in order, in batches.

    Args:
        dataset: Data set to iterate over.
        size: Number of examples a batch.
    """

    def __init__(self, dataset: SliceDataset, size: int) -> None:
        self.dataset, self.size = dataset, size

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.dataset) // self.size)

    def __iter__(self) -> Iterator[SliceBatch]:
        """Yield the batches."""
        order = torch.arange(len(self.dataset), device=self.dataset.image.device)
        for indices in torch.split(order, self.size):
            yield self.dataset.batch(indices)


@dataclass(frozen=True)
class Canvas:
    """One training slice as bytes on a square canvas.

    Args:
        image: Intensities 0..255, shape (s, s).
        mask: Tumor coverage 0..255, shape (s, s).
        depth: Depth in the head 0..255, shape (s, s).
        facts: Label and origin.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    facts: Facts


def _canvas_of(example: Example, preprocessing: Preprocessing) -> Canvas:
    """Return a training slice on a square canvas, preprocessed as for the detector.

    Args:
        example: The slice.
        preprocessing: Preprocessing of the detector; its size is the canvas side s.

    Returns:
        The canvas.
    """
    image, mask = planes_of(example, preprocessing)
    depth = depth_in_head((image / np.float32(255)).astype(np.float32))
    return Canvas(image, mask, _as_bytes(depth), example.facts)


def planes_of(
    example: Example, preprocessing: Preprocessing
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return an example's image and mask on a square canvas, each of shape (s, s)."""
    crop_window = example.crop_window or crop_window_of(example.image[None])
    placement = preprocessing.placement(crop_window, example.image.shape, example.pixel_spacing)
    unit = preprocessing.rescale(example.image, crop_window, placement)
    mask = np.zeros_like(unit)
    if example.mask is not None:
        mask = preprocessing.resample(example.mask, placement)
    return _as_bytes(unit), _as_bytes(mask)


def depth_in_head(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the depth of each pixel in the head.

    Args:
        unit: Intensities 0..1, shape (s, s).

    Returns:
        Distance to the outside of the head, 1 at the deepest point, 0 outside, shape (s, s).
    """
    head = ndimage.binary_opening(foreground(unit), iterations=1)
    head = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(head, 8), iterations=6))
    distance = ndimage.distance_transform_edt(head)[8:-8, 8:-8]
    return (distance / max(float(distance.max()), 1.0)).astype(np.float32)


def _resized(planes: Tensor, size: int) -> Tensor:
    """Return planes of shape (n, s, s), uint8, resampled to another side."""
    values = F.interpolate(planes[:, None].float(), (size, size), mode="bilinear", antialias=True)
    return values[:, 0].round().clamp(0, 255).to(torch.uint8)


def _as_bytes(unit: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
