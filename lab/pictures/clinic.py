"""A small clinic's web application, with synthetic patients, for pictures and for timing.

Two visits of one person, with a lesion that was not there the year before, in four sequences; some
other people, a scout among their series, a photograph that is none, and opinions on two of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from meninx._web.store.settings import Settings
from tests.web.conftest import Server, served
from tests.web.exams import write_exam, write_localizer

YESTERDAY = date.today() - timedelta(days=1)
PATIENT = {"PatientName": "Doe^Jane", "PatientID": "P-1017", "PatientBirthDate": "19701231"}
LONG = "MR head with and without contrast agent, perfusion, spectroscopy"
# Name, ID, days before yesterday, what is there, sequences.
OTHERS = (
    ("Roe^Richard", "P-0993", 0, "meningioma", 2),
    ("Müller-Lüdenscheidt^Anne-Katrin Elisabeth", "P-1002", 1, None, 2),
    ("Doe^John", "P-1018", 2, "pituitary", 1),
    ("Nguyen^Thi", "P-0871", 5, None, 1),
    ("Okafor^Chidi", "P-0655", 9, "glioma", 1),
)


@dataclass
class Clinic:
    """The application as it is served.

    Args:
        address: Address of the server.
        now: Id of the study of yesterday.
        before: Id of the same person's study of the year before.
        photograph: Id of the study that is refused.
    """

    address: str
    now: str
    before: str
    photograph: str


def write_clinic(folder: Path) -> dict[str, Path]:
    """Write all exams as their scanners would; return a folder a study, by its title."""
    made = {
        "now": write_exam(
            folder / "now", date=f"{YESTERDAY:%Y%m%d}", AccessionNumber="A-20417", **PATIENT
        ),
        "before": write_exam(
            folder / "before",
            visit=2,
            lesion=None,
            AccessionNumber="A-18802",
            date=f"{YESTERDAY - timedelta(days=371):%Y%m%d}",
            **PATIENT,
        ),
    }
    write_localizer(
        folder / "now" / "scout", StudyTime="101112", AccessionNumber="A-20417", **PATIENT
    )
    for number, (name, patient_id, days, lesion, count) in enumerate(OTHERS, 3):
        described = {"StudyDescription": LONG} if number == 4 else {}
        made[name] = write_exam(
            folder / f"{number}",
            visit=number,
            lesion=lesion,
            series=SERIES_OF[count],
            date=f"{YESTERDAY - timedelta(days=days):%Y%m%d}",
            PatientName=name,
            PatientID=patient_id,
            AccessionNumber=f"A-2{number:04}",
            **described,
        )
    return made


SERIES_OF = {
    1: (("T1c", "axial", "t1_mprage_tra KM"),),
    2: (("T1c", "axial", "t1_mprage_tra KM"), ("FLAIR", "axial", "t2_tirm_tra_dark-fluid")),
}


def photograph(path: Path) -> Path:
    """Draw sky and sand."""
    y, x = np.mgrid[0:200, 0:300]
    colors = np.stack([x, 255 - y, 255 - x], axis=2).clip(0, 255).astype(np.uint8)
    Image.fromarray(colors).save(path)
    return path


@contextmanager
def clinic(folder: Path) -> Iterator[Clinic]:
    """Serve a clinic's studies, all of them scored; `rene` and `ada` are its readers."""
    server = Server(Settings(data=folder / "served"))
    rene, ada = server.browser(), server.browser("ada")
    studies: dict[str, Any] = {}
    for title, path in write_clinic(folder).items():
        files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*.dcm")}
        studies[title] = rene.upload(files, f"export-{len(studies) + 411}").json()["id"]
    picture = photograph(folder / "holiday.png")
    studies["photograph"] = rene.upload({"holiday.png": picture.read_bytes()}, "holiday").json()[
        "id"
    ]
    for study in studies.values():
        server.work(study)
    said = [
        (ada, "Roe^Richard", "tumor"),
        (rene, "before", "no_tumor"),
        (ada, "before", "no_tumor"),
    ]
    for reader, title, verdict in said:
        opinion = reader.post(f"/studies/{studies[title]}/opinions", verdict=verdict, about="study")
        assert opinion.status_code == 303, opinion.text
    server.jobs.close()
    with served(folder / "served", "--no-worker") as address:
        yield Clinic(address, studies["now"], studies["before"], studies["photograph"])
