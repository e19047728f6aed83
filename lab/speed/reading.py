"""Read DICOM folders with dcm2niix and with meninx, and compare the volumes.

In the same orientation they are compared by number of volumes, slices, affine (LPS, mm)
and the sum of all intensities. Run: python -m lab.speed.reading [FOLDER ...] [--markdown]
Without folders: a dozen of a phantom, and with MENINX_DATA the real series. Needs
dcm2niix (Debian: dcm2niix).
"""

import argparse
import copy
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from meninx._errors import InputError
from meninx._scan.geometry import RAS_TO_LPS
from meninx._scan.reading import read_scans
from meninx._scan.scan import Scan
from meninx._synthesis.phantom import Grid, grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import dicom_slice

AFFINE_TOLERANCE_MM = 1e-3
SUM_TOLERANCE = 1e-6
Slices = list[FileDataset]
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """A volume in one orientation: axes to the patient's left, back and head.

    Args:
        shape: Voxels along these.
        affine: Voxel index to LPS mm.
        total: Sum of all intensities.
    """

    shape: tuple[int, ...]
    affine: Float
    total: float

    @classmethod
    def of(cls, voxels: NDArray[np.float32], affine: Float) -> "Volume":
        """Return a volume of voxels [i, j, k] and their affine in LPS."""
        image = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels, RAS_TO_LPS @ affine))
        total = float(np.asarray(image.dataobj, dtype=np.float64).sum())
        return cls(image.shape, RAS_TO_LPS @ np.asarray(image.affine), total)


@dataclass(frozen=True)
class Comparison:
    """The volumes of a folder by two readers.

    Args:
        name: Name of the folder.
        theirs: Volumes of dcm2niix.
        ours: Volumes of meninx.
        codes: Codes of meninx's warnings and refusals.
    """

    name: str
    theirs: tuple[Volume, ...]
    ours: tuple[Volume, ...]
    codes: tuple[str, ...]

    @property
    def differences(self) -> list[str]:
        """The differences as texts; empty if both agree."""
        if len(self.theirs) != len(self.ours):
            return [f"{len(self.theirs)} and {len(self.ours)} volumes"]
        found = []
        for theirs, ours in zip(_sorted(self.theirs), _sorted(self.ours), strict=True):
            if theirs.shape != ours.shape:
                found.append(f"shapes {theirs.shape} and {ours.shape}")
                continue
            off = float(np.abs(theirs.affine - ours.affine).max())
            if off > AFFINE_TOLERANCE_MM:
                found.append(f"affines by {off:.3g}")
            share = abs(theirs.total - ours.total) / max(abs(ours.total), 1)
            if share > SUM_TOLERANCE:
                found.append(f"sums by {share:.2g} of them")
        return found

    def row(self) -> list[str]:
        """Return the row of the table."""
        slices = [
            "+".join(str(min(volume.shape)) for volume in _sorted(volumes)) or "-"
            for volumes in (self.theirs, self.ours)
        ]
        counts = [str(len(self.theirs)), str(len(self.ours))]
        texts = ", ".join(f"`{code}`" for code in self.codes) or "-"
        return [self.name, *counts, *slices, "; ".join(self.differences) or "none", texts]


HEADING = [
    "folder",
    "volumes: dcm2niix",
    "meninx",
    "slices: dcm2niix",
    "meninx",
    "differences",
    "what meninx says",
]


def _sorted(volumes: Sequence[Volume]) -> list[Volume]:
    return sorted(
        volumes, key=lambda volume: (volume.shape, round(volume.total), volume.affine.tolist())
    )


def compare(folder: Path) -> Comparison:
    """Read a folder with both readers.

    Args:
        folder: DICOM files.

    Returns:
        Their volumes.
    """
    errors: list[InputError] = []
    scans = list(read_scans(folder, errors.append))
    codes = {warning.code for scan in scans for warning in scan.warnings}
    codes |= {error.reason for error in errors}
    ours = tuple(Volume.of(scan.voxels, scan.affine) for scan in scans if scan.affine is not None)
    return Comparison(folder.name, tuple(by_dcm2niix(folder)), ours, tuple(sorted(codes)))


def by_dcm2niix(folder: Path) -> Iterator[Volume]:
    """Yield the volumes of dcm2niix for a folder; those of one file separately.

    For uneven slices it writes a second, resampled volume, which is left out.

    Args:
        folder: DICOM files.

    Yields:
        Volumes, in the order of their files' names.
    """
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            ["dcm2niix", "-b", "n", "-z", "n", "-m", "n", "-f", "%s_%u_%e", "-o", out, folder],
            capture_output=True,
            check=False,
        )
        for path in sorted(set(Path(out).glob("*.nii")) - set(Path(out).glob("*_Eq*"))):
            image = nibabel.load(path)
            voxels = np.asarray(image.dataobj, dtype=np.float32)
            affine = RAS_TO_LPS @ np.asarray(image.affine)
            for number in range(int(np.prod(voxels.shape[3:]))):
                yield Volume.of(voxels.reshape(*voxels.shape[:3], -1)[..., number], affine)


def _study(grid: Grid, seed: int = 7) -> Scan:
    return make_study("head", seed, None, "T2", "axial", grid).scan


def _written(slices: Slices, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number, dataset in enumerate(slices):
        dataset.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    return folder


def _numbered(slices: Slices, *, point: int = 0) -> Slices:
    """Return copies with their own instance numbers and UIDs."""
    copies = copy.deepcopy(slices)
    for number, dataset in enumerate(copies):
        dataset.InstanceNumber = point * len(slices) + number + 1
        dataset.SOPInstanceUID = f"1.2.826.0.1.{point + 1}.{number + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return copies


def _changed(slices: Slices, change: Callable[[FileDataset, int], None], point: int = 0) -> Slices:
    copies = _numbered(slices, point=point)
    for number, dataset in enumerate(copies):
        change(dataset, number)
    return copies


def _set(**values: object) -> Callable[[FileDataset, int], None]:
    def change(dataset: FileDataset, number: int) -> None:
        for name, value in values.items():
            setattr(
                dataset, name, value[number % len(value)] if isinstance(value, tuple) else value
            )

    return change


def _rounded(dataset: FileDataset, number: int) -> None:
    x, y, _ = map(float, dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [round(x, 1), round(y, 1), round(number * 3.3125, 1)]


def _with_new_pixels(dataset: FileDataset, _: int) -> None:
    dataset.EchoTime = 20.0
    dataset.PixelData = (dataset.pixel_array // 2).tobytes()


def _signed(dataset: FileDataset, _: int) -> None:
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
    dataset.PixelData = (dataset.pixel_array.astype(np.int16) - 100).tobytes()


def _big_endian(slices: Slices) -> Slices:
    changed = []
    for dataset in _numbered(slices):
        again = pydicom.Dataset()
        again.update({element.tag: element for element in dataset})
        again.file_meta = dataset.file_meta
        again.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        again.PixelData = dataset.pixel_array.astype(">u2").tobytes()
        changed.append(again)
    return changed


def make_cases(out: Path) -> list[Path]:
    """Write folders like those of scanners, archives and exports.

    Args:
        out: Folder to write into.

    Returns:
        The folders.
    """
    grid = grid_of("axial", (104, 120, 12), (1.9, 1.8, 6.0))
    plain = [dicom_slice(_study(grid), index, 1) for index in range(12)]
    points: Slices = []
    for point in range(2):
        taken = _set(AcquisitionTime=f"10000{point}", TemporalPositionIdentifier=point + 1)
        points += _changed(plain, taken, point)
    made: dict[str, Slices] = {
        "axial": _numbered(plain),
        "big-endian": _big_endian(plain),
        "signed": _changed(plain, _signed),
        "rescaled-slice-by-slice": _changed(
            plain, _set(RescaleSlope=("1.5", "2"), RescaleIntercept="-3")
        ),
        "inversion-time-jitters": _changed(plain, _set(InversionTime=(2500.04, 2500.06))),
        "echo-time-jitters": _changed(plain, _set(EchoTime=(98.345, 98.355))),
        "positions-rounded": _changed(plain, _rounded),
        "one-slice-missing": [*_numbered(plain)[:5], *_numbered(plain)[6:]],
        "three-slices-missing": [*_numbered(plain)[:4], *_numbered(plain)[7:]],
        "sent-twice": [*_numbered(plain), *_numbered(plain, point=1)],
        "two-echoes-of-one-number": [*_numbered(plain), *_changed(plain, _with_new_pixels, 1)],
        "two-time-points": points,
        "localizer": _changed(plain, _set(SeriesDescription="3 PL LOC")),
        "rcbv-map": _changed(plain, _set(ImageType=["DERIVED", "PRIMARY", "RCBV"])),
    }
    folders = [_written(slices, out / name) for name, slices in made.items()]
    for plane, size, spacing in (
        ("sagittal", (90, 110, 9), (2.1, 2.0, 7.0)),
        ("coronal", (88, 96, 8), (2.2, 2.3, 9.0)),
    ):
        scan = make_study("head", 5, None, "T1", plane, grid_of(plane, size, spacing)).scan
        slices = [dicom_slice(scan, index, 2) for index in range(scan.voxels.shape[2])]
        folders.append(_written(_numbered(slices), out / plane))
    return folders


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--markdown", action="store_true", help="As docs/log has it.")
    options = parser.parse_args()
    if shutil.which("dcm2niix") is None:
        parser.error("dcm2niix is not installed (Debian: dcm2niix)")
    with tempfile.TemporaryDirectory() as made:
        folders = options.folders or make_cases(Path(made))
        if not options.folders and "MENINX_DATA" in os.environ:
            folders += sorted((Path(os.environ["MENINX_DATA"]) / "dicom").iterdir())
        rows = [HEADING, *(compare(folder).row() for folder in folders)]
    if options.markdown:
        rows.insert(1, ["---"] * len(HEADING))
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


if __name__ == "__main__":
    main()
