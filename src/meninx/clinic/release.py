"""Release scans without identity: what may leave is written, what may not is said."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes

from meninx.clinic.deidentification import Deidentifier, Pseudonyms, Removed, coded
from meninx.clinic.origin import frames_of
from meninx.errors import InputError, UnsupportedScan
from meninx.scan.geometry import Float64Array
from meninx.scan.reading import read_datasets, read_scans
from meninx.scan.scan import Scan

OnError = Callable[[InputError], None]


@dataclass(frozen=True)
class Faces:
    """Say what becomes of volumes that show a face; by default they are refused.

    Args:
        keep: Leave them as they are.
        cut: Cut them off.
    """

    keep: bool = False
    cut: bool = False


@dataclass(frozen=True, eq=False)
class Cut:
    """Hold what is cut off a scan, without the scan: many of them may be waiting.

    Args:
        affine: Of the scan.
        face: True where it goes, shape of the scan's voxels.
    """

    affine: Float64Array
    face: NDArray[np.bool_]


def release(
    path: str | Path, output: Path, key: bytes, faces: Faces, on_error: OnError
) -> Iterator[Path]:
    """Write every DICOM series under a path again, without identity.

    Args:
        path: Files, folders or zips.
        output: Folder; made if missing. Names in it are pseudonyms.
        key: Secret of the pseudonyms.
        faces: What becomes of them.
        on_error: Told of each scan that is left out.

    Yields:
        The files, as they are written. `removed.json` says at the end what was taken, without
        values.
    """
    removed = Removed()
    cleaner = Deidentifier(Pseudonyms(key), removed)
    allowed: dict[str, Cut | None] = {}
    for scan in read_scans(path, on_error):
        if not scan.identity.instance_uids or not scan.identity.series_uid:
            on_error(UnsupportedScan("no DICOM", place=scan.name, reason="not_dicom"))
            continue
        try:
            cut = _cut_of(scan, faces)
        except InputError as error:
            on_error(error)
            continue
        for uid in scan.identity.instance_uids:
            allowed[uid] = cut
    for dataset in read_datasets(path, pixels=True):
        uid = str(dataset.get("SOPInstanceUID", ""))
        if uid not in allowed:
            continue
        try:
            cleaner.clean(dataset)
        except InputError as error:
            error.place = error.place or "an instance"
            on_error(error)
            continue
        cut = allowed[uid]
        if cut is not None:
            _cut_off(dataset, cut)
        folder = output / str(dataset.PatientID) / str(dataset.SeriesInstanceUID)
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(written, enforce_file_format=True)
        yield written
    output.mkdir(parents=True, exist_ok=True)
    told = json.dumps(removed.as_json(), indent=2)
    (output / "removed.json").write_text(told + "\n", encoding="utf-8")


def _cut_of(scan: Scan, faces: Faces) -> Cut | None:
    """Return what is to be cut off a scan; None for nothing."""
    from meninx.clinic.defacing import face_of, may_show_face

    if faces.keep or scan.affine is None or not may_show_face(scan):
        return None
    if not faces.cut:
        raise UnsupportedScan(
            "a whole head, so finely cut that a face can be rendered from it; --deface cuts it off "
            "(T1 only), --keep-faces releases it as it is",
            place=scan.name,
            reason="face",
        )
    return Cut(scan.affine, face_of(scan))


def _cut_off(dataset: Dataset, cut: Cut) -> None:
    """Put the darkest value in place of the face."""
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
