"""What could not be read as a scan, beside those that could."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from meninx._errors import InputError
from meninx._scan.limits import DEFAULT_LIMITS, Limits
from meninx._scan.scan import Headers, Identity
from meninx._scan.source import Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Unread:
    """A file or series that is no scan to score, with what is known of it.

    Args:
        error: Why it can't be used.
        identity: UIDs, number and description of its DICOM series, as far as they are known.
        sources: Files of its DICOM series; those of an archive can be read until the next scan is
            asked for.
        limits: How large an input may be.
    """

    error: InputError
    identity: Identity = field(default_factory=Identity)
    sources: tuple[Source, ...] = ()
    limits: Limits = DEFAULT_LIMITS

    @cached_property
    def headers(self) -> Headers:
        """Datasets of its files as pydicom has them, without pixels, read when asked for."""
        from meninx._scan.dicom.file import read_dataset

        found = []
        for source in self.sources:
            with suppress(InputError):
                found.append(read_dataset(source, self.limits))
        return Headers(found)

    def stored_images(self, count: int) -> "list[NDArray[np.float32]]":
        """Return images as the files store them, to show a series that was refused.

        Args:
            count: Largest number of images to return, evenly through the series.

        Returns:
            Stored values, each of shape (rows, columns), by InstanceNumber. Files that can't be
            read are skipped.
        """
        from meninx._scan.dicom.pixels import stored_image

        images: list[NDArray[np.float32]] = []
        sources = self._by_number()
        step = max(1, len(sources) / count)
        for number in range(min(count, len(sources))):
            with suppress(InputError):
                images.append(stored_image(sources[int(number * step)], self.limits))
        return images

    def _by_number(self) -> Sequence[Source]:
        """Return the files whose headers can be read, by InstanceNumber."""
        from meninx._scan.dicom.values import whole_number

        numbers = {
            str(header.filename): whole_number(header, "InstanceNumber") or 0
            for header in self.headers
        }
        known = [source for source in self.sources if source.name in numbers]
        return sorted(known, key=lambda source: numbers[source.name])
