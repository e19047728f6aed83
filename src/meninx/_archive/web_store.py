"""An archive behind a DICOMweb service."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from meninx._archive.entries import FileEntry, Folder, Group
from meninx._archive.store_errors import as_os_error, error_text
from meninx._clinic.web_peer import WebPeer
from meninx._errors import OptionError


class WebStore:
    """An archive behind a DICOMweb service: a folder per study, a group per series.

    Args:
        address: Address of the service, http(s)://...

    Raises:
        OptionError: If no service responds.
    """

    def __init__(self, address: str) -> None:
        self._peer = WebPeer(address)
        self.address = self._peer.address
        try:
            next(self._peer.studies(1), None)
        except Exception as error:  # a service may cause anything
            raise OptionError(f"{self.address}: no DICOMweb service responds: {error}") from error

    def folders(self) -> Iterator[Folder]:
        """Yield studies that have MR series, a page of them at a time; see `Store.folders`."""
        for study in self._peer.studies():
            try:
                series = self._peer.series(study)
            except Exception as error:  # noqa: BLE001 - a service may cause anything
                yield Folder(study, error=error_text(error))
                continue
            entries = tuple(FileEntry(f"{study}/{uid}", -1, count) for uid, count in series)
            if entries:
                yield Folder(study, entries)

    def groups(self, folder: Folder) -> Iterator[Group]:
        """Yield a study's series; see `Store.groups`."""
        for entry in folder.entries:
            yield Group(entry.name, (entry,))

    def fetch(self, names: Sequence[str], into: Path) -> list[Path]:
        """Fetch series by WADO-RS; see `Store.fetch`."""
        for name in names:
            study, series = name.split("/")
            with as_os_error(name):
                self._peer.fetch_series(study, series, into)
        return sorted(into.iterdir())
