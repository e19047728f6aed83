"""Choose the real heads of a manifest for augmented heads."""

from meninx._data.manifest import Picture
from meninx._synthesis.packed_heads import RealHead


def heads_of(pictures: tuple[Picture, ...]) -> list[RealHead]:
    """Return the volumes of a manifest that show a whole, tumor-free head in T1.

    Args:
        pictures: Rows of a manifest; heads whose column `skull` begins with `on` have their skull.

    Returns:
        Tumor-free T1 volumes with skull, without slabs, which show only a part of the head.
    """
    return [
        RealHead(picture.picture, picture.person, picture.fold)
        for picture in pictures
        if picture.is_volume
        and not picture.tumor
        and picture.sequence == "T1"
        and picture.extra.get("skull", "").startswith("on")
        and "slab" not in picture.person
    ]
