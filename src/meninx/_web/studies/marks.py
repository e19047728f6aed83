"""Check what readers add to a study: it is not withdrawn, boxes and places lie inside a series."""

from collections.abc import Mapping, Sequence

from meninx._errors import OptionError
from meninx._web.store.database import DONE, Study
from meninx._web.store.stored_results import Shown

Box = Mapping[str, Sequence[int]]


def check_not_withdrawn(study: Study) -> None:
    """Check that a study still takes what readers add.

    Args:
        study: A study.

    Raises:
        OptionError: If it is withdrawn.
    """
    if study.withdrawn:
        raise OptionError(
            f"this study was withdrawn on {study.withdrawn:%Y-%m-%d} and takes nothing more; "
            "upload it again to bring it back"
        )


def check_markable(study: Study) -> None:
    """Check that marks on a study's series stay where they are.

    Args:
        study: A study.

    Raises:
        OptionError: If it is withdrawn, or waits to be scored again with more images, which may
            change its series and regions.
    """
    check_not_withdrawn(study)
    if study.findings and study.state != DONE:
        raise OptionError("more images came: wait until the study is scored again")


def _shape_of(shown: Shown | None) -> tuple[int, int, int]:
    """Return the number of voxels of a series along i, j and k.

    Args:
        shown: What the viewer shows of the series; None without an image.

    Returns:
        Shape of the series, voxels along i, j and k.

    Raises:
        OptionError: If the series has no image.
    """
    if shown is None:
        raise OptionError("this series has no image to mark; choose another series")
    return shown.shape


def _check_inside(shown: Shown | None, voxel: Sequence[int]) -> None:
    """Check that a voxel lies in a series.

    Args:
        shown: What the viewer shows of the series; None without an image.
        voxel: Index [i, j, k].

    Raises:
        OptionError: If it lies outside the image, or there is no image.
    """
    shape = _shape_of(shown)
    if not all(0 <= at < size for at, size in zip(voxel, shape, strict=True)):
        raise OptionError(
            f"voxel {', '.join(map(str, voxel))} lies outside of the image of "
            f"{' x '.join(map(str, shape))} voxels; mark again inside it"
        )


def check_place(shown: Shown | None, place: Sequence[float]) -> None:
    """Check that a place between voxel centers lies in the image of a series.

    Args:
        shown: What the viewer shows of the series; None without an image.
        place: Index [i, j, k], voxel centers at whole numbers.

    Raises:
        OptionError: If it lies outside the image, or there is no image.
    """
    shape = _shape_of(shown)
    if not all(-0.5 <= at <= size - 0.5 for at, size in zip(place, shape, strict=True)):
        raise OptionError(
            f"place {', '.join(f'{at:g}' for at in place)} lies outside of the image of "
            f"{' x '.join(map(str, shape))} voxels; measure again inside it"
        )


def check_box(shown: Shown | None, box: Box) -> None:
    """Check that a box lies in a series and has its corners in order.

    Args:
        shown: What the viewer shows of the series; None without an image.
        box: Voxels `from` and `to`, both in the box.

    Raises:
        OptionError: If a corner is missing or outside the image, or `from` lies above `to`.
    """
    if set(box) != {"from", "to"}:
        raise OptionError("a box has two corners, `from` and `to`; mark both")
    for corner in box.values():
        _check_inside(shown, corner)
    if any(first > last for first, last in zip(box["from"], box["to"], strict=True)):
        raise OptionError(
            "a number of the corner `from` is larger than that of `to`; exchange the two"
        )
