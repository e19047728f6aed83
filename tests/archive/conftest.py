"""A small archive: heads as DICOM series in folders of months, and what is none between them."""

import numpy as np
import pytest
from PIL import Image

from meninx._scan.nifti import write_nifti
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import dicom_slice

SERIES, SLICES = 5, 3


def write_series(scan, folder, seed, month=1):
    folder.mkdir(parents=True)
    for index in range(SLICES):
        dataset = dicom_slice(scan, index, seed)
        dataset.StudyDate = f"2025{month:02}15"
        dataset.save_as(folder / f"{index}.dcm", enforce_file_format=True)


@pytest.fixture(scope="session")
def heads():
    grid = grid_of(shape=(96, 104, SLICES), spacing=(2.1, 2.2, 20.0))
    return [
        make_study(f"head-{n}", n, "glioma" if n % 2 else None, "FLAIR", "axial", grid).scan
        for n in range(SERIES)
    ]


@pytest.fixture(scope="session")
def archive(heads, tmp_path_factory):
    """Five series, a copy of the first under an earlier name, a volume, and three to refuse."""
    folder = tmp_path_factory.mktemp("archive") / "in"
    for number, scan in enumerate(heads):
        write_series(scan, folder / f"b/series-{number}", number, 1 + number)
    write_series(heads[0], folder / "a/copy", 0, 1)
    write_nifti(heads[1].voxels.astype(np.int16), heads[1], folder / "c/volume.nii.gz")
    (folder / "c/broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + bytes(range(200)))
    (folder / "c/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "c/notes.txt").write_text("no scan")
    noise = np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "c/noise.png")
    (folder / "c/.hidden").write_text("no scan")
    return folder


# Series and files of it that belong into the table once each.
ROWS = SERIES + 4
