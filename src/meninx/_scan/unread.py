"""Files and series that could not be read as scans."""

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
    """A file or series that can't be scored, with what is known about it.

    Args:
        error: Why it can't be scored.
        identity: UIDs, number and description of its DICOM series, as far as known.
        sources: Files of its DICOM series; those of an archive are open until the next scan is
            read.
        limits: Limits of an input's size.
    """

    error: InputError
    identity: Identity = field(default_factory=Identity)
    sources: tuple[Source, ...] = ()
    limits: Limits = DEFAULT_LIMITS

    @cached_property
    def headers(self) -> Headers:
        """Datasets of its files, without pixels, read on first access."""
        from meninx._scan.dicom.file import read_dataset

        found = []
        for source in self.sources:
            with suppress(InputError):
                found.append(read_dataset(source, self.limits))
        return Headers.of(found)

    def stored_images(self, count: int) -> "list[NDArray[np.float32]]":
        """Return stored images, to show a refused series.

        Args:
            count: Largest number of images, spread evenly over the series.

        Returns:
            Stored values, each of shape (rows, columns), by InstanceNumber. Unreadable files are
            skipped.
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
        """Return the files with readable headers, by InstanceNumber."""
        from meninx._scan.dicom.values import whole_number

        numbers = {
            str(header.filename): whole_number(header, "InstanceNumber") or 0
            for header in self.headers
        }
        readable = [source for source in self.sources if source.name in numbers]
        return sorted(readable, key=lambda source: numbers[source.name])
