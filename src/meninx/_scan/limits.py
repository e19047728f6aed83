"""Limits of an input's size, checked before anything is decoded."""

from dataclasses import dataclass

from meninx._errors import LimitExceeded

MIB = 1024**2


@dataclass(frozen=True)
class Limits:
    """The largest input that is read. The defaults exceed every clinical brain MRI.

    Args:
        file_bytes: Bytes of one file on disk or one entry of an archive, unpacked.
        picture_pixels: Pixels of one picture or one DICOM frame.
        volume_voxels: Voxels of one scan, of four bytes each in memory.
        side: Longest side of a picture, frame or volume, pixels.
        frames: Frames of one DICOM file.
        files: Files of a folder.
        zip_entries: Entries of a zip or tar.
        zip_bytes: Bytes of all entries of a zip or tar, unpacked.
        zip_ratio: Ratio of unpacked to packed size of one entry: about 2 to 4 for MR, some hundred
            for an almost empty label map, a thousand and more for bombs.
    """

    file_bytes: int = 2048 * MIB
    picture_pixels: int = 64_000_000
    volume_voxels: int = 512_000_000
    side: int = 32_768
    frames: int = 20_000
    files: int = 200_000
    zip_entries: int = 50_000
    zip_bytes: int = 8192 * MIB
    zip_ratio: float = 500.0

    def check(self, what: str, found: float, limit: str, place: str = "") -> None:
        """Check one number against one limit.

        Args:
            what: Name of what is counted, for the message.
            found: Number found.
            limit: Name of a field of this class.
            place: Name of the file, for the message.

        Raises:
            LimitExceeded: If the number is above the limit.
        """
        allowed = getattr(self, limit)
        if found > allowed:
            raise LimitExceeded(
                f"{what}: {found:,.0f}, the limit is {allowed:,.0f} (limits.{limit})", place=place
            )

    def check_shape(self, shape: tuple[int, ...], place: str = "") -> None:
        """Check the shape of a picture (two sides) or a volume (three) before it is decoded.

        Args:
            shape: Sides, pixels or voxels.
            place: Name of the file, for the message.

        Raises:
            LimitExceeded: If a side or the product is above its limit.
        """
        self.check("longest side", max(shape, default=0), "side", place)
        product = 1
        for side in shape:
            product *= int(side)
        self.check(
            "pixels" if len(shape) == 2 else "voxels",
            product,
            "picture_pixels" if len(shape) == 2 else "volume_voxels",
            place,
        )


DEFAULT_LIMITS = Limits()
