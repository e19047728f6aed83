"""Write phantom studies as DICOM series, NIfTI volumes or PNG pictures, with masks and manifest."""

import csv
import hashlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from meninx._errors import OptionError
from meninx._scan.nifti import affine_of, write_nifti
from meninx._scan.scan import Scan
from meninx._synthesis.contrast import TIMINGS
from meninx._synthesis.phantom_studies import SEQUENCES, PhantomStudy

Format = Literal["dicom", "nifti", "png"]
FORMATS: tuple[Format, ...] = ("dicom", "nifti", "png")
_MANIFEST_COLUMNS = (
    "id",
    "picture",
    "mask",
    "tumor",
    "tumor_type",
    "group",
    "fold",
    "source",
    "sequence",
    "plane",
)


def write_studies(
    studies: Iterator[PhantomStudy], output: Path, as_format: Format
) -> Generator[Path]:
    """Write studies into `studies/`, masks into `masks/`, and `manifest.csv`.

    Args:
        studies: Studies to write.
        output: Output folder; created if missing.
        as_format: File format: `dicom`, `nifti` or `png` (the slice with most tumor, or the middle
            one).

    Yields:
        File or folder of each study, once written. The manifest is written after the last, or
        of those before where writing is stopped.

    Raises:
        OptionError: If the format is unknown.
    """
    if as_format not in FORMATS:
        raise OptionError(f"format {as_format!r}; expected one of {', '.join(FORMATS)}")
    for folder in ("studies", "masks"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    try:
        for study in studies:
            if as_format == "dicom":
                picture, mask = _write_dicom_study(study, output)
            elif as_format == "nifti":
                picture, mask = _write_nifti_study(study, output)
            else:
                picture, mask = _write_png_study(study, output)
            rows.append(_manifest_row(study, picture.relative_to(output), mask.relative_to(output)))
            yield picture
    finally:
        # Also where writing is stopped: studies without a label are of no use.
        with (output / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _MANIFEST_COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def _manifest_row(study: PhantomStudy, picture: Path, mask: Path) -> dict[str, object]:
    return {
        "id": study.name,
        "picture": picture.as_posix(),
        "mask": mask.as_posix() if study.lesion else "",
        "tumor": int(study.lesion is not None),
        "tumor_type": study.lesion or "none",
        "group": study.name,
        "fold": study.seed % 5 + 1,
        "source": "phantom",
        "sequence": study.sequence,
        "plane": study.plane,
    }


def _write_dicom_study(study: PhantomStudy, output: Path) -> tuple[Path, Path]:
    folder = output / "studies" / study.name
    write_dicom(study.scan, folder, study.seed)
    mask = output / "masks" / f"{study.name}.nii.gz"
    write_nifti(study.mask, study.scan, mask)
    return folder, mask


def _write_nifti_study(study: PhantomStudy, output: Path) -> tuple[Path, Path]:
    path = output / "studies" / f"{study.name}_{study.sequence}.nii.gz"
    write_nifti(study.scan.voxels.astype(np.int16), study.scan, path)
    mask = output / "masks" / f"{study.name}.nii.gz"
    write_nifti(study.mask, study.scan, mask)
    return path, mask


def _write_png_study(study: PhantomStudy, output: Path) -> tuple[Path, Path]:
    path = output / "studies" / f"{study.name}.png"
    truth = write_picture(study, path)
    mask = output / "masks" / f"{study.name}.png"
    Image.fromarray(truth * np.uint8(255)).save(mask)
    return path, mask


def write_picture(study: PhantomStudy, path: Path) -> NDArray[np.uint8]:
    """Write the slice with most tumor, or the middle one without tumor, as a picture.

    Args:
        study: A phantom study.
        path: PNG file to write.

    Returns:
        The slice's tumor mask, shape (h, w).
    """
    image, mask = study.best_slice()
    top = float(np.percentile(image, 99.7))
    Image.fromarray(np.clip(image / top * 255, 0, 255).astype(np.uint8)).save(path)
    return mask


def write_dicom(scan: Scan, folder: Path, seed: int) -> list[Path]:
    """Write a scan as a classic MR series, one file per slice.

    UIDs are derived from the seed and the sequence, so that writing is reproducible.

    Args:
        scan: A volume with an affine; voxels are integers 0..4095.
        folder: Output folder; created if missing.
        seed: Seed of the person.

    Returns:
        The files, in slice order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(scan.voxels.shape[2]):
        path = folder / f"{index + 1:04d}.dcm"
        dicom_slice(scan, index, seed).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def stable_uid(*parts: object) -> UID:
    """Return a UID under pydicom's root, determined by the parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return generate_uid(entropy_srcs=[digest])


def dicom_slice(scan: Scan, index: int, seed: int) -> FileDataset:
    """Return one slice as an MR Image Storage instance.

    Args:
        scan: A volume with an affine; voxels are integers 0..4095.
        index: Index of the slice along k, from 0.
        seed: Seed of the person.

    Returns:
        The instance.

    References:
        DICOM PS3.3 A.4.3, C.8.3.1.
    """
    affine = affine_of(scan)
    series = stable_uid("series", seed, scan.sequence, affine.tobytes().hex())
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = stable_uid("instance", series, index)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    _add_patient_and_study(dataset, seed)
    _add_series(dataset, series, scan, seed)
    _add_geometry(dataset, affine, index)
    _add_timing(dataset, scan)
    _add_pixels(dataset, np.rint(scan.voxels[:, :, index].T).astype(np.uint16))
    return dataset


def _add_patient_and_study(dataset: Dataset, seed: int) -> None:
    dataset.PatientName = f"Phantom^{seed}"
    dataset.PatientID = f"PHANTOM-{seed}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = stable_uid("study", seed)
    dataset.StudyID = str(seed)
    dataset.StudyDate, dataset.StudyTime = "20260101", "120000"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.PositionReferenceIndicator = ""
    dataset.FrameOfReferenceUID = stable_uid("frame of reference", seed)


def _add_series(dataset: Dataset, series: UID, scan: Scan, seed: int) -> None:
    dataset.Modality = "MR"
    dataset.SeriesInstanceUID = series
    dataset.SeriesNumber = 1 + SEQUENCES.index(scan.sequence) if scan.sequence in SEQUENCES else 9
    dataset.SeriesDescription = f"phantom {scan.sequence} seed {seed}"
    dataset.Manufacturer = "meninx phantom"
    dataset.ManufacturerModelName = "phantom"
    dataset.SoftwareVersions = "1"
    dataset.DeviceSerialNumber = "0"
    dataset.BodyPartExamined = "HEAD"
    dataset.PatientPosition = "HFS"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.AcquisitionNumber = 1


def _add_geometry(dataset: Dataset, affine: NDArray[np.float64], index: int) -> None:
    columns, rows, gap = np.linalg.norm(affine[:3, :3], axis=0)
    position = affine[:3, 3] + affine[:3, 2] * index
    dataset.InstanceNumber = index + 1
    dataset.PixelSpacing = [f"{rows:.8g}", f"{columns:.8g}"]
    dataset.SliceThickness = f"{gap:.8g}"
    dataset.SpacingBetweenSlices = f"{gap:.8g}"
    dataset.ImagePositionPatient = [f"{value:.10g}" for value in position]
    cosines = [*(affine[:3, 0] / columns), *(affine[:3, 1] / rows)]
    dataset.ImageOrientationPatient = [f"{value:.10g}" for value in cosines]


def _add_timing(dataset: Dataset, scan: Scan) -> None:
    timing = TIMINGS.get(scan.sequence)
    dataset.ScanningSequence = "IR" if timing and timing.inversion else "SE"
    dataset.SequenceVariant = "NONE"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.EchoTrainLength = 1
    dataset.MagneticFieldStrength = "1.5"
    if timing is None:
        dataset.RepetitionTime, dataset.EchoTime = "", ""
        return
    dataset.RepetitionTime = f"{timing.repetition:g}"
    dataset.EchoTime = f"{timing.echo:g}"
    if timing.inversion:
        dataset.InversionTime = f"{timing.inversion:g}"
    if timing.contrast_agent:
        dataset.ContrastBolusAgent = "gadolinium chelate (simulated)"


def _add_pixels(dataset: Dataset, pixels: NDArray[np.uint16]) -> None:
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    top = int(pixels.max())
    dataset.WindowCenter, dataset.WindowWidth = str(max(top // 2, 1)), str(max(top, 2))
    dataset.PixelData = pixels.tobytes()
