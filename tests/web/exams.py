"""Exams of one phantom as a scanner writes them: several sequences and planes, one patient."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import UID

from meninx._synthesis.phantom import Grid, Phantom, grid_of
from meninx._synthesis.writing import stable_uid, write_dicom

SEED = 7
GRIDS = {
    "axial": ((104, 120, 9), (1.9, 1.8, 11.0)),
    "coronal": ((104, 110, 11), (1.9, 1.8, 12.0)),
    "sagittal": ((120, 110, 9), (1.8, 1.9, 11.0)),
}
# Scanners name sequences in different ways.
SERIES = (
    ("T1c", "axial", "t1_mprage_tra KM"),
    ("FLAIR", "axial", "t2_tirm_tra_dark-fluid"),
    ("T2", "coronal", "t2_tse_cor"),
    ("T1", "sagittal", "t1_se_sag"),
)


def shifted(grid: Grid, sequence: str) -> Grid:
    """A grid of the same head with another origin: FLAIR's first slice lies 16.5 mm higher."""
    if sequence != "FLAIR":
        return grid
    affine = np.array(grid.affine)
    affine[:3, 3] += affine[:3, :3] @ [6, -4, 1.5]
    return Grid((96, 112, 7), affine)


def write_exam(
    folder: Path,
    *,
    visit: int = 1,
    date: str = "20260131",
    lesion="glioma",
    series=SERIES,
    **values,
) -> Path:
    """Write the series of one visit, each in a folder of its own, with more attributes."""
    for number, (sequence, plane, description) in enumerate(series, 1):
        grid = shifted(grid_of(plane, *GRIDS[plane]), sequence)
        scan, _ = Phantom(SEED, lesion).render(sequence, grid)
        for path in write_dicom(scan, folder / f"{number}", SEED):
            rewrite(
                path,
                SeriesNumber=number,
                SeriesDescription=description,
                StudyDate=date,
                StudyTime="101112",
                StudyInstanceUID=stable_uid("visit", SEED, visit),
                SeriesInstanceUID=stable_uid("series", SEED, visit, number),
                **{"StudyDescription": "MR head"} | values,
            )
    return folder


def write_localizer(folder: Path, *, visit: int = 1, **values) -> Path:
    """Write three slices that say of themselves that they were taken to plan the others."""
    scan, _ = Phantom(SEED, None).render("T1", grid_of("axial", *GRIDS["axial"]))
    for path in write_dicom(scan, folder, SEED)[:3]:
        rewrite(
            path,
            SeriesNumber=99,
            SeriesDescription="scout",
            StudyDescription="MR head",
            StudyInstanceUID=stable_uid("visit", SEED, visit),
            StudyDate="20260131",
            SeriesInstanceUID=stable_uid("series", SEED, visit, 99),
            ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
            **values,
        )
    for path in sorted(folder.iterdir())[3:]:
        path.unlink()
    return folder


def rewrite(path: Path, **values) -> None:
    dataset = pydicom.dcmread(path)
    for name, value in values.items():
        setattr(dataset, name, value)
    if "SeriesInstanceUID" in values:
        uid: UID = stable_uid("instance", dataset.SeriesInstanceUID, dataset.InstanceNumber)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.save_as(path, enforce_file_format=True)
