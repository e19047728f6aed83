"""What an archive consists of: folders, their files, and the groups that are scored together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FileEntry:
    """A file of an archive.

    Args:
        name: Path relative to the archive.
        size: Size, bytes; -1 if unknown.
        mark: Text that changes with the content: modification time, or the store's own tag.
        error: Why the file is out of reach; empty if it is not.
    """

    name: str
    size: int = -1
    mark: str = ""
    error: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder of an archive with its files; of a medium, those of all folders below, too.

    Args:
        name: Path relative to the archive; "." for the archive itself.
        entries: Files, by name.
        error: Why the folder can't be listed; empty if it can.
        named: Whether the user named each file: then each is read, whatever its name.
    """

    name: str
    entries: tuple[FileEntry, ...] = ()
    error: str = ""
    named: bool = False


@dataclass(frozen=True)
class Group:
    """Files that are scored together.

    Args:
        place: Path of the files, relative to the archive.
        entries: Files: a picture, a NIfTI file, a zip, or the DICOM files of one series.
        error: Why they can't be scored now; empty if they can.
        series_uid: SeriesInstanceUID of DICOM files; empty if there is none.
        context: Files that say what else belongs to them: notes of incomplete fetches, DICOMDIRs.
    """

    place: str
    entries: tuple[FileEntry, ...] = ()
    error: str = ""
    series_uid: str = ""
    context: tuple[FileEntry, ...] = ()
