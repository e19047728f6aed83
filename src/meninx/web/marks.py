"""Check marks that readers make in images: boxes and places have to lie inside the series."""

from collections.abc import Mapping, Sequence
from typing import Any

from meninx.errors import OptionError

Box = Mapping[str, Sequence[int]]


def shape_of(finding: Mapping[str, Any] | None) -> tuple[int, int, int]:
    """Return the number of voxels of a series along i, j and k.

    Args:
        finding: What is stored of the series; None where the study has none.

    Returns:
        Its shape.

    Raises:
        OptionError: If the series has no image.
    """
    viewer = (finding or {}).get("viewer")
    if not viewer:
        raise OptionError("this series has no image to mark; choose another series")
    i, j, k = viewer["shape"]
    return i, j, k


def check_inside(finding: Mapping[str, Any] | None, voxel: Sequence[int]) -> None:
    """Check that a voxel lies in a series.

    Args:
        finding: What is stored of the series.
        voxel: Index [i, j, k].

    Raises:
        OptionError: If it lies outside, or there is no image.
    """
    shape = shape_of(finding)
    if not all(0 <= at < size for at, size in zip(voxel, shape, strict=True)):
        raise OptionError(
            f"voxel {', '.join(map(str, voxel))} lies outside of the image of "
            f"{' x '.join(map(str, shape))} voxels; mark again inside it"
        )


def check_place(finding: Mapping[str, Any] | None, place: Sequence[float]) -> None:
    """Check that a place between voxel centers lies in the image of a series.

    Args:
        finding: What is stored of the series.
        place: Index [i, j, k], voxel centers at whole numbers.

    Raises:
        OptionError: If it lies outside, or there is no image.
    """
    shape = shape_of(finding)
    if not all(-0.5 <= at <= size - 0.5 for at, size in zip(place, shape, strict=True)):
        raise OptionError(
            f"place {', '.join(f'{at:g}' for at in place)} lies outside of the image of "
            f"{' x '.join(map(str, shape))} voxels; measure again inside it"
        )


def check_box(finding: Mapping[str, Any] | None, box: Box) -> None:
    """Check that a box lies in a series and has its corners in order.

    Args:
        finding: What is stored of the series.
        box: Voxels `from` and `to`, both in the box.

    Raises:
        OptionError: If it has other corners, lies outside, or is inside out.
    """
    if set(box) != {"from", "to"}:
        raise OptionError("a region has two corners, `from` and `to`; mark both")
    for corner in box.values():
        check_inside(finding, corner)
    if any(first > last for first, last in zip(box["from"], box["to"], strict=True)):
        raise OptionError("a box is inside out: every number of `from` has to be at most that of "
                          "`to`; exchange them")  # fmt: skip
