"""Collections of phantoms in the folders of MENINX_DATA, small enough for a whole training."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from meninx._scan.nifti import write_nifti
from meninx._synthesis.lesion import KINDS
from meninx._synthesis.phantom import Phantom, grid_of
from meninx._synthesis.writing import write_dicom

STACK = grid_of("axial", (88, 104, 10), (2.3, 2.2, 14.0))
HEAD = grid_of("axial", (90, 106, 72), (2.05, 2.1, 2.0))
SEQUENCES = ("FLAIR", "T1", "T1c")
# Folds of curated/ by picture in turn; fold 1 measures, fold 5 is left out of both halves.
FOLDS = (1, 2, 5, 2, 3, 4)
# Whole heads are templates of simulated ones, which take long: one of each half has its skull.
SITES = {
    "ms-01": ("open_ms_data", "on"),
    "head-01": ("niivue/niivue", "on"),
    "head-02": ("tdveale/swm_ribbon", "stripped"),
    "ds-01": ("ds002748", "stripped"),
    "nichart-01": ("CBICA/NiChart_Project", "stripped"),
    "nichart-11": ("CBICA/NiChart_Project", "stripped"),
}


def write_collections(folder: Path) -> None:
    """Write curated/, lgg/, tumor-free/, templates/ and dicom/ into a folder."""
    write_curated(folder / "curated")
    write_patients(folder / "lgg")
    write_tumor_free(folder / "tumor-free")
    (folder / "templates").mkdir()
    scan, _ = Phantom(900).render("T1", HEAD, noise=0.01, samples=1)
    write_nifti(scan.voxels, scan, folder / "templates" / "colin27-t1.nii.gz")
    scan, _ = Phantom(901).render("T1", HEAD, noise=0.01, samples=1)
    write_dicom(scan, folder / "dicom" / "healthy-child-t1", 901)


def write_curated(folder: Path) -> None:
    """Write single pictures: tumors of each type in T1c, and tumor-free ones, in every fold."""
    (folder / "pictures").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = []
    for number in range(36):
        tumor = number % 3 < 2
        kind = KINDS[number // 3 % 3] if tumor else None
        person = Phantom(1000 + number, kind)
        areas = person.tumor_areas(STACK)
        index = int(areas.argmax()) if areas.any() else 5
        scan, mask = person.render("T1c", STACK, only=index)
        source = "cheng-2017" if tumor else "kaggle-sartaj"
        name = f"{source}-{number:02d}"
        _write_picture(folder / "pictures" / f"{name}.png", scan.slice(0).image)
        covered = scan.view.cut(mask, 0)
        if tumor:
            Image.fromarray(covered * np.uint8(255)).save(folder / "masks" / f"{name}.png")
        rows.append(
            {
                "id": name,
                "picture": f"pictures/{name}.png",
                "mask": f"masks/{name}.png" if tumor else "",
                "tumor": int(tumor),
                "tumor_type": kind or "none",
                "group": f"g{number}",
                "fold": FOLDS[number // 6 % len(FOLDS)],
                "source": source,
            }
        )
    _write_table(folder / "manifest.csv", rows)


def write_patients(folder: Path) -> None:
    """Write stacks of slices of six patients from two hospitals, each in three sequences."""
    rows = []
    for number in range(6):
        site = ("HT", "DU")[number % 2]
        name = f"{site}-{number:04d}"
        (folder / name).mkdir(parents=True)
        person = Phantom(2000 + number, "glioma")
        for sequence in SEQUENCES:
            scan, mask = person.render(sequence, STACK)
            for index in range(len(scan)):
                place = f"{name}/{index:02d}-{sequence.lower()}"
                _write_picture(folder / f"{place}.png", scan.slice(index).image)
                covered = scan.view.cut(mask, index)
                if covered.any():
                    Image.fromarray(covered * np.uint8(255)).save(folder / f"{place}-mask.png")
                rows.append(
                    {
                        "picture": f"{place}.png",
                        "mask": f"{place}-mask.png" if covered.any() else "",
                        "tumor": int(covered.any()),
                        "patient": name,
                        "site": site,
                        "slice": index,
                        "sequence": sequence.lower(),
                    }
                )
    _write_table(folder / "manifest.csv", rows)


def write_tumor_free(folder: Path) -> None:
    """Write tumor-free volumes of fine voxels, with and without skull."""
    folder.mkdir()
    rows = []
    for number, (name, (site, skull)) in enumerate(SITES.items()):
        person = Phantom(3000 + number)
        for sequence in ("T1", "FLAIR"):
            scan, _ = person.render(
                sequence, HEAD, noise=0.01, samples=1, strip=skull == "stripped"
            )
            file = f"{name}-{sequence.lower()}.nii.gz"
            write_nifti(scan.voxels, scan, folder / file)
            rows.append(
                {
                    "volume": file,
                    "person": name,
                    "sequence": sequence,
                    "skull": skull,
                    "source": site,
                }
            )
    _write_table(folder / "manifest.csv", rows)


def _write_picture(path: Path, image: np.ndarray) -> None:
    scaled = np.clip(image / max(float(image.max()), 1) * 255, 0, 255)
    Image.fromarray(np.rint(scaled).astype(np.uint8)).save(path)


def _write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
