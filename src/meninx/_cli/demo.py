"""Score synthetic scans and write a report: `meninx demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from meninx._cli.options import ModelOption
from meninx._cli.writable import check_folder

if TYPE_CHECKING:
    from meninx._assess.report import ReportEntry
    from meninx._render.result import Result
    from meninx._synthesis.phantom_studies import PhantomStudy

# Seeds of the synthetic persons; training and calibration use seeds from a million on.
TUMOR, TUMOR_FREE, VOLUME, PICTURE, DAMAGED = 41, 42, 43, 44, 45


def demo(
    output: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("demo"),
    model: ModelOption = None,
) -> None:
    """Score synthetic scans, and write a report to look at.

    Two of the files are bad.
    """
    from meninx._assess.report import write_report
    from meninx._cli.output import findings_file, score_studies
    from meninx._cli.progress import with_progress
    from meninx._cli.table import print_table
    from meninx._detect.loading import load_detector
    from meninx._scoring.loop import write_all

    check_folder(output, "--output")
    detector = load_detector(model)
    scans = output / "scans"
    typer.echo(f"making synthetic scans in {scans}", err=True)
    _make_scans(scans)
    entries = _Entries(output)
    with findings_file(output) as lines:
        found = list(write_all(with_progress(detector, [scans]), [lines, entries]))
    report = output / "report.html"
    write_report(entries.entries, detector.card, detector.model["sha256"], report)
    studies = score_studies(detector, found)
    print_table(studies, detector.card.license)
    typer.echo(f"\nopen {report} in a browser; the same as JSON is in {output}/findings.jsonl")


class _Entries:
    """A writer of pictures that collects the entries of the report.

    Args:
        folder: Folder of the pictures; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.entries: list[ReportEntry] = []

    def write(self, result: "Result") -> None:
        """Write the picture of a scan, and add its entry of the report."""
        from meninx._assess.report import ReportEntry
        from meninx._scoring.writers import save_picture

        picture = save_picture(result.picture, result, self._folder) if result.scored else None
        self.entries.append(ReportEntry(result.brief(), picture, result.withheld))


def _make_scans(folder: Path) -> None:
    """Write four synthetic studies, one damaged file and one color picture."""
    from PIL import Image

    from meninx._scan.nifti import write_nifti
    from meninx._synthesis.phantom import grid_of
    from meninx._synthesis.phantom_studies import make_study
    from meninx._synthesis.writing import write_dicom, write_picture

    folder.mkdir(parents=True, exist_ok=True)
    axial = grid_of("axial", (144, 176, 20), (1.4, 1.35, 7.0))
    sagittal = grid_of("sagittal", (176, 160, 18), (1.35, 1.4, 7.0))
    tumor = make_study("dicom-with-tumor", TUMOR, "glioma", "T1c", "axial", axial)
    write_dicom(tumor.scan, folder / tumor.name, TUMOR)
    tumor_free = make_study("dicom-healthy", TUMOR_FREE, None, "T2", "axial", axial)
    write_dicom(tumor_free.scan, folder / tumor_free.name, TUMOR_FREE)
    volume = make_study("nifti-with-tumor", VOLUME, "meningioma", "FLAIR", "sagittal", sagittal)
    write_nifti(volume.scan.voxels.astype(np.int16), volume.scan, folder / "nifti-flair.nii.gz")
    coronal = grid_of("coronal", (176, 192, 15), (1.2, 1.2, 9.0))
    picture = make_study("picture", PICTURE, "pituitary", "T1c", "coronal", coronal)
    write_picture(picture, folder / "picture.png")
    _write_damaged(make_study("damaged", DAMAGED, None, "T1", "axial", axial), folder)
    Image.fromarray(_sunset()).save(folder / "photograph.jpg")


def _write_damaged(study: "PhantomStudy", folder: Path) -> None:
    """Write a DICOM file that is truncated within its pixels."""
    from meninx._synthesis.writing import dicom_slice

    path = folder / "damaged.dcm"
    dicom_slice(study.scan, len(study.scan) // 2, study.seed).save_as(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])


def _sunset() -> NDArray[np.uint8]:
    """Return a color picture that is no scan, shape (160, 240, 3)."""
    height, width = 160, 240
    y, x = np.mgrid[0:height, 0:width]
    sky = np.stack([230 - y * 0.3, 90 + y * 0.5, 60 + y * 0.9], axis=-1)
    sun = (x - 150) ** 2 + (y - 70) ** 2 < 28**2
    sky[sun] = (255, 225, 120)
    sky[y > 115] = (25, 60, 110)
    return sky.astype(np.uint8)
