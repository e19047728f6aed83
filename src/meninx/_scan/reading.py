"""Read all scans under a path: find the format of each file, group files, and call readers.

Readers are imported on the first file of their kind: importing pydicom or nibabel takes longer than
scoring a picture, and what DICOM series and archives alone need half as long.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from meninx._errors import (
    DataError,
    InputError,
    SeveralInputErrors,
    UnreadableFile,
    UnsupportedScan,
)
from meninx._scan.completeness import Incomplete
from meninx._scan.geometry import Spacing
from meninx._scan.incomplete_note import folder_of, missing_by_folder, missing_from
from meninx._scan.kinds import Reader, is_dicom, is_pair_header, is_tar, kind_of, zipfile_magic
from meninx._scan.limits import DEFAULT_LIMITS, Limits
from meninx._scan.raster import read_picture
from meninx._scan.scan import Scan
from meninx._scan.source import SNIFFED_BYTES, OnError, Source, reading, unpacked_head
from meninx._scan.unread import Unread
from meninx._scan.walking import entries_below, missing_target

if TYPE_CHECKING:
    from pydicom import Dataset

    from meninx._scan.frame import Frame
    from meninx._scan.promises import Listing, LostFile

SourcesOf = Callable[[Limits, OnError, ExitStack], tuple[list[Source], bool]]
# First bytes of a DICOM file in which SeriesInstanceUID is searched.
_UID_BYTES = 65536


def read_scans(
    path: str | Path,
    on_error: OnError | None = None,
    limits: Limits = DEFAULT_LIMITS,
    spacing_mm: Spacing | None = None,
) -> Iterator[Scan]:
    """Read every scan under a path, lazily.

    Args:
        path: Picture, volume, DICOM file, or a folder, zip or tar of these in any order.
            Formats are found by content. Other files in a folder are skipped; links are followed.
        on_error: Called with the error of each unusable scan. Without it, errors are raised after
            the last usable scan.
        limits: Limits of an input's size.
        spacing_mm: Distance between neighboring voxels along i, j and k, mm, of volumes whose files
            lack it; not used for DICOM. None for that of the files.

    Yields:
        Scans: pictures and volumes by name, then DICOM series by folder and number.

    Raises:
        InputError: Without `on_error`, for unusable scans, after all usable ones were yielded.
    """
    errors: list[InputError] = []
    report = errors.append if on_error is None else on_error
    for found in read_each(path, limits, spacing_mm):
        if isinstance(found, Unread):
            report(found.error)
        else:
            yield found
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SeveralInputErrors(errors)


def read_each(
    path: str | Path, limits: Limits = DEFAULT_LIMITS, spacing_mm: Spacing | None = None
) -> Iterator[Scan | Unread]:
    """Read every scan under a path, and yield unusable ones in their place.

    Args:
        path: Picture, volume, DICOM file, or a folder, zip or tar of these; see `read_scans`.
        limits: Limits of an input's size.
        spacing_mm: Voxel size of volumes whose files lack it; see `read_scans`.

    Yields:
        Scans, and files and series that could not be read, lazily.
    """
    with ExitStack() as opened:
        yield from _scans(str(path), partial(_sources, Path(path)), limits, opened, spacing_mm)


def read_one(path: Path) -> Scan:
    """Read the only scan of a file or folder, such as of a row of a manifest.

    Args:
        path: A picture, a volume or a folder with one DICOM series.

    Returns:
        The scan.

    Raises:
        DataError: If there is not exactly one.
        InputError: If it can't be read, or its header excludes it.
    """
    scans = list(read_scans(path))
    if len(scans) != 1:
        raise DataError(f"{path}: {len(scans)} scans, expected one; give each its own row")
    if scans[0].exclusion is not None:
        raise scans[0].exclusion
    return scans[0]


def read_labels(path: Path) -> Scan:
    """Read the only scan of a file or folder as a mask.

    Args:
        path: A volume, whose voxels are kept as they are stored, but for NaN, which becomes 0. Any
            other file or a folder is read as `read_scans` does.

    Returns:
        The mask, also where its header says that it is no image.

    Raises:
        DataError: If there is not exactly one.
        InputError: If it can't be read, or all its voxels are equal.
    """
    with ExitStack() as opened:
        sources, named = _sources(path, DEFAULT_LIMITS, lambda _: None, opened)
        if named:
            source = replace(sources[0], labels=True)
            kind = kind_of(source.sniffed(DEFAULT_LIMITS), source.name, strict=True)
            if kind not in (None, "dicom", "picture"):
                return _reader_of(kind, None)(source, DEFAULT_LIMITS)
    scans = list(read_scans(path))
    if len(scans) != 1:
        raise DataError(f"{path}: {len(scans)} volumes, expected one mask")
    return scans[0]


def read_files(files: Sequence[Path], limits: Limits = DEFAULT_LIMITS) -> Iterator[Scan | Unread]:
    """Read the scans of some files of a folder, ignoring other files there.

    Args:
        files: Paths of a picture, of a volume with its data file, of a zip, or of the DICOM files
            of a series. A DICOMDIR or a note of an incomplete fetch among them says what they lack.
        limits: Limits of an input's size.

    Yields:
        Scans, and files and series that could not be read; see `read_each`.
    """

    def sources(limits: Limits, report: OnError, opened: ExitStack) -> tuple[list[Source], bool]:
        parts = [_sources(file, limits, report, opened) for file in sorted(files)]
        alone = len(parts) == 1 and parts[0][1]
        return [source for found, _ in parts for source in found], alone

    with ExitStack() as opened:
        yield from _scans(str(files[0]), sources, limits, opened, is_part=True)


def _scans(
    place: str,
    sources_of: SourcesOf,
    limits: Limits,
    opened: ExitStack,
    spacing_mm: Spacing | None = None,
    *,
    is_part: bool = False,
) -> Iterator[Scan | Unread]:
    found = False
    failed: list[Unread] = []
    series = _SeriesFiles(limits, is_part=is_part)

    def report(error: InputError) -> None:
        nonlocal found
        found = True
        series.lose(error)
        failed.append(Unread(error))

    try:
        sources, named = sources_of(limits, report, opened)
    except InputError as error:
        yield from (*failed, Unread(error))
        return
    series.missing = missing = missing_by_folder(sources, limits)
    for source in sources:
        missing_here = missing_from([folder_of(source)], missing) if missing else ()
        try:
            head = source.sniffed(limits)
            reader = kind_of(head, source.name, strict=named)
            if reader is None:
                series.unknown.append(source)
            elif reader == "dicom":
                found = series.read(source, head, report) or found
            else:
                found = True
                yield _with_missing(_reader_of(reader, spacing_mm)(source, limits), missing_here)
        except InputError as error:
            error.incomplete = missing_here
            report(error)
        yield from _drained(failed)
    series.find_lost(report)
    yield from _drained(failed)
    if not found:
        nothing = UnreadableFile(
            "no picture, NIfTI or DICOM file in it", place=place, reason="nothing_found"
        )
        nothing.incomplete = missing_from(missing, missing)
        yield Unread(nothing)
    yield from series.scans()


def _drained(failed: list[Unread]) -> Iterator[Unread]:
    """Yield and remove the failures so far."""
    while failed:
        yield failed.pop(0)


class _SeriesFiles:
    """The DICOM files under a path, and those that may belong to their series.

    Args:
        limits: Limits of an input's size.
        is_part: Whether other files of the same folder are left out.
    """

    def __init__(self, limits: Limits, *, is_part: bool) -> None:
        self._limits, self._is_part = limits, is_part
        self._frames: list[Frame] = []
        self._listings: list[Listing] = []
        self.missing: Mapping[str, tuple[Incomplete, ...]] = {}
        self.lost: list[LostFile] = []
        self.unknown: list[Source] = []

    def lose(self, error: InputError) -> None:
        """Note that a file can't be read: it may belong to a series."""
        from meninx._scan.promises import LostFile

        self.lost.append(LostFile(error.place))

    def read(self, source: Source, head: bytes, report: OnError) -> bool:
        """Read the header of a DICOM file, or report its error.

        Args:
            source: DICOM file.
            head: Its first bytes.
            report: Called with the error; the file is then missing from its series.

        Returns:
            Whether it contains slices.
        """
        from meninx._scan.dicom.file import DIRECTORY, read_listing, series_uid_of
        from meninx._scan.dicom.frames import read_frames
        from meninx._scan.promises import LostFile

        try:
            if DIRECTORY.encode() in head:
                self._listings.append(read_listing(source, self._limits))
                return False
            frames = read_frames(source, self._limits)
        except InputError as error:
            report(error)
            series_uid = ""
            with suppress(InputError):
                series_uid = series_uid_of(source.head(_UID_BYTES, self._limits))
            self.lost[-1] = LostFile(source.name, series_uid, is_dicom=True)
            return False
        self._frames += frames
        return bool(frames)

    def find_lost(self, report: OnError) -> None:
        """Report unreadable files named like slices, and series listed in a DICOMDIR but missing.

        Args:
            report: Called with each error.
        """
        if not self._frames and not self._listings:
            return
        from meninx._scan.promises import name_pattern

        patterns = {name_pattern(frame.source.name) for frame in self._frames}
        for source in self.unknown:
            if name_pattern(source.name) in patterns:
                what = "its first bytes are not DICOM" if source.size else "empty"
                report(
                    UnreadableFile(
                        f"{what}, though it is named like the slices beside it; copy it again",
                        place=source.name,
                    )
                )
        series = {frame.series_uid for frame in self._frames}
        if series and self._is_part:
            return  # a DICOMDIR's other series may be among the rest
        for listing in self._listings:
            if absence := listing.absence(series):
                report(UnreadableFile(absence, place=listing.name, reason="not_found"))

    def scans(self) -> Iterator[Scan | Unread]:
        """Yield the scans of the series, and series that could not be read."""
        if not self._frames:
            return
        from meninx._scan.dicom.pixels import LastFile
        from meninx._scan.dicom.stack import contrast_of_unread, read_stack
        from meninx._scan.series import stacks_of

        files = LastFile()
        for stack in stacks_of(self._frames, self.lost, self._listings):
            missing: tuple[Incomplete, ...] = ()
            if self.missing:
                folders = (folder_of(frame.source) for frame in stack.frames)
                missing = missing_from(folders, self.missing)
            try:
                yield _with_missing(read_stack(stack, self._limits, files), missing)
            except InputError as error:
                error.identity = stack.identity.as_json()
                error.incomplete = missing
                if not isinstance(error, UnsupportedScan):
                    error.warnings = contrast_of_unread(stack)
                sources = dict.fromkeys(frame.source for frame in stack.frames)
                yield Unread(error, stack.identity, tuple(sources), self._limits)


def _with_missing(scan: Scan, missing: tuple[Incomplete, ...]) -> Scan:
    """Return a scan with further counts of what is missing of its study."""
    return replace(scan, incomplete=(*scan.incomplete, *missing)) if missing else scan


def _reader_of(kind: Reader, spacing_mm: Spacing | None) -> Callable[[Source, Limits], Scan]:
    """Return the reader of a file with one scan; pictures have no spacing."""
    if kind == "picture":
        return read_picture
    if kind == "nrrd":
        from meninx._scan.nrrd import read_nrrd

        return partial(read_nrrd, spacing_mm=spacing_mm)
    if kind == "metaimage":
        from meninx._scan.metaimage import read_metaimage

        return partial(read_metaimage, spacing_mm=spacing_mm)
    from meninx._scan import nifti

    readers = {"nifti": nifti.read_nifti, "pair": nifti.read_pair, "mgh": nifti.read_mgh}
    return partial(readers[kind], spacing_mm=spacing_mm)


def read_datasets(
    path: str | Path, limits: Limits = DEFAULT_LIMITS, *, pixels: bool = False
) -> Iterator["Dataset"]:
    """Read every DICOM file under a path into a pydicom dataset.

    Args:
        path: DICOM file, or a folder, zip or tar.
        limits: Limits of an input's size.
        pixels: Whether to read the encoded pixels too.

    Yields:
        Datasets. Unreadable files are skipped: `read_scans` reports them.
    """
    from meninx._scan.dicom.file import read_dataset

    with ExitStack() as opened:
        sources, _ = _sources(Path(path), limits, lambda _: None, opened)
        for source in sources:
            with suppress(InputError):
                if is_dicom(source.sniffed(limits)):
                    yield read_dataset(source, limits, pixels=pixels)


def unpack_archive(
    path: Path, target_of: Callable[[str], Path], limits: Limits = DEFAULT_LIMITS
) -> None:
    """Unpack a zip or tar after checking all entries.

    Args:
        path: Zip or tar.
        target_of: Called with the name of each entry; returns the file to write.
        limits: Largest numbers of entries and bytes, and ratio of unpacked to packed bytes.

    Raises:
        UnreadableFile: If it is damaged, or an entry is encrypted or leaves the archive's folder.
        LimitExceeded: If it exceeds the limits.
    """

    def refuse(error: InputError) -> None:
        raise error

    with ExitStack() as opened:
        for source in _entries_of(path, limits, refuse, opened) or ():
            source.copy_to(target_of(source.entry or source.name), limits)


def _sources(
    path: Path, limits: Limits, report: OnError, opened: ExitStack
) -> tuple[list[Source], bool]:
    """Return the files under a path, and whether the path is a single file."""
    if path.is_dir():
        return _files_of(path, limits, report), False
    if not path.is_file():
        raise missing_target(path)
    if (entries := _entries_of(path, limits, report, opened)) is not None:
        return entries, False
    path = _header_of(path, limits)
    return [Source(str(path), path, path.stat().st_size)], True


def _entries_of(
    path: Path, limits: Limits, report: OnError, opened: ExitStack
) -> list[Source] | None:
    """Return the files of a zip or tar; None if the path is no archive."""
    with reading(str(path), "the file"), path.open("rb") as file:
        stored = file.read(SNIFFED_BYTES)
    name = path.name.lower()
    if not (zipfile_magic(stored) or name.endswith(".tar") or is_tar(unpacked_head(stored), name)):
        return None
    from meninx._scan.archives import archive_entries

    return archive_entries(path, limits, report, opened)


def _header_of(path: Path, limits: Limits) -> Path:
    """Return the header of a pair for the path of its `.img`; any other path unchanged."""
    if path.suffix.lower() != ".img":
        return path
    own = Source(str(path), path, path.stat().st_size)
    for suffix in (".hdr", ".HDR", ".hdr.gz"):
        header = own.beside(path.stem + suffix)
        if header is not None and is_pair_header(header.sniffed(limits)):
            return header.path
    return path


def _files_of(folder: Path, limits: Limits, report: OnError) -> list[Source]:
    """Return the files below a folder at any depth, by name, without hidden ones."""
    sources = []
    with reading(str(folder), "the folder"):
        for entry in entries_below(folder, report):
            if not entry.is_folder:
                sources.append(Source(str(entry.path), entry.path, entry.size))
                limits.check("files", len(sources), "files", str(folder))
    return sources
