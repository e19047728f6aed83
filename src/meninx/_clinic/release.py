"""Write DICOM series without identity; those that can't be de-identified are reported."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes

from meninx._clinic.deidentification import Deidentifier, Pseudonyms, Removed, coded
from meninx._clinic.result_context import frames_of
from meninx._errors import InputError, UnreadableFile, UnsupportedScan
from meninx._scan.completeness import Incomplete
from meninx._scan.dicom.values import text
from meninx._scan.geometry import Float64Array
from meninx._scan.incomplete_note import IncompleteNote
from meninx._scan.reading import read_datasets, read_scans
from meninx._scan.scan import Scan

OnError = Callable[[InputError], None]


@dataclass(frozen=True)
class Faces:
    """How volumes that show a face are handled; by default they are refused.

    Args:
        keep: Whether to write them unchanged.
        cut: Whether to cut the faces off.
    """

    keep: bool = False
    cut: bool = False


@dataclass(frozen=True, eq=False)
class Cut:
    """The mask of a face to cut off; without the scan, because many may be in memory at once.

    Args:
        affine: Voxel index to LPS mm, shape (4, 4).
        face: True in the face, shape of the scan's voxels.
    """

    affine: Float64Array
    face: NDArray[np.bool_]


class AllowedInstance(NamedTuple):
    """An instance that may be written.

    Args:
        cut: Face to cut off; None if there is none, or it is kept.
        incomplete: What its series lacks.
    """

    cut: Cut | None
    incomplete: tuple[Incomplete, ...]


def release(
    path: str | Path, output: Path, key: bytes, faces: Faces, on_error: OnError
) -> Iterator[Path]:
    """Write every DICOM series under a path without identity.

    Args:
        path: File, folder, zip or tar.
        output: Output folder, made if missing; names in it are pseudonyms.
        key: Secret of the pseudonyms, 16 bytes or more.
        faces: How volumes that show a face are handled.
        on_error: Called with the error of each scan that is left out.

    Yields:
        Paths of the files, as they are written. At the end, `removed.json` lists the removed
        attributes, without values.
    """
    removed = Removed()
    cleaner = Deidentifier(Pseudonyms(key), removed)
    allowed = _allowed_instances(path, faces, on_error)
    for dataset in read_datasets(path, pixels=True):
        uid = text(dataset, "SOPInstanceUID")
        if uid not in allowed:
            continue
        place = str(dataset.filename)
        try:
            data = _cleaned_file(dataset, cleaner, allowed[uid].cut)
        except InputError as error:
            on_error(type(error)(str(error), place=place, reason=error.reason))
            continue
        except Exception as error:  # noqa: BLE001 - headers that lie make pydicom raise anything
            # The message is left out: it may quote a name.
            fault = f"can't be written without identity ({type(error).__name__}); export it again"
            on_error(UnreadableFile(fault, place=place))
            continue
        folder = output / str(dataset.PatientID) / str(dataset.SeriesInstanceUID)
        folder.mkdir(parents=True, exist_ok=True)
        if allowed[uid].incomplete:
            IncompleteNote(str(dataset.StudyInstanceUID), allowed[uid].incomplete).write(folder)
        written = folder / f"{dataset.SOPInstanceUID}.dcm"
        written.write_bytes(data)
        yield written
    output.mkdir(parents=True, exist_ok=True)
    log = json.dumps(removed.as_json(), indent=2)
    (output / "removed.json").write_text(log + "\n", encoding="utf-8")


def _allowed_instances(
    path: str | Path, faces: Faces, on_error: OnError
) -> dict[str, AllowedInstance]:
    """Return the instances of all series that may be written, by UID."""
    allowed: dict[str, AllowedInstance] = {}
    for scan in read_scans(path, on_error):
        if not scan.identity.instance_uids or not scan.identity.series_uid:
            on_error(
                UnsupportedScan(
                    "not a DICOM series; expected DICOM files", place=scan.name, reason="not_dicom"
                )
            )
            continue
        try:
            cut = _cut_of(scan, faces)
        except InputError as error:
            on_error(error)
            continue
        instance = AllowedInstance(cut, scan.incomplete)
        allowed |= dict.fromkeys(scan.identity.instance_uids, instance)
    return allowed


def _cleaned_file(dataset: Dataset, cleaner: Deidentifier, cut: Cut | None) -> bytes:
    """Return the bytes of a file without identity and face."""
    cleaner.clean(dataset)
    if cut is not None:
        _cut_off(dataset, cut)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _cut_of(scan: Scan, faces: Faces) -> Cut | None:
    """Return the face to cut off a scan; None if there is none, or it is kept."""
    from meninx._clinic.defacing import face_of, may_show_face

    if faces.keep or scan.affine is None or not may_show_face(scan):
        return None
    if not faces.cut:
        raise UnsupportedScan(
            "a whole head in slices so thin that a face can be rendered from it; --deface cuts the "
            "face off (T1 only), --keep-faces writes it unchanged",
            place=scan.name,
            reason="face",
        )
    return Cut(scan.affine, face_of(scan))


def _cut_off(dataset: Dataset, cut: Cut) -> None:
    """Replace the face by the darkest value."""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.decompress(generate_instance_uid=False)
    stored = dataset.pixel_array.copy()
    frames = stored[None] if stored.ndim == 2 else stored
    places = frames_of((dataset,), cut.affine, cut.face.shape[2])
    for frame, place in zip(frames, places, strict=True):
        if place >= 0:
            frame[cut.face[:, :, place].T] = stored.min()
    dataset.PixelData = stored.tobytes()
    dataset.RecognizableVisualFeatures = "NO"
    dataset.DeidentificationMethodCodeSequence.append(
        coded(codes.DCM.CleanRecognizableVisualFeaturesOption)
    )
