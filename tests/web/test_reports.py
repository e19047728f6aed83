"""What the page and the report say of a study, made from stored findings."""

import io

import pytest
from pypdf import PdfReader

from meninx.web.database import DONE, Study

MODEL = {"name": "meninx", "sha256": "ab" * 32}
TYPES = {"glioma": 0.88, "meningioma": 0.1, "pituitary": 0.02}


def finding(sequence="T1c", decision="tumor", **more):
    """A stored finding of a scored series with nothing to draw."""
    return {
        "scan": "series 1", "identity": {}, "sequence": sequence, "status": "scored",
        "reason": None, "message": None, "decision": decision, "probability": 0.398,
        "p_values": {}, "coverage": 0.95, "types": TYPES, "slices": [], "warnings": [],
        "model": MODEL, "milliseconds": {}, "why": "", "objects": 0,
    } | more  # fmt: skip


@pytest.fixture
def stored(server):
    """Return what stores a study with findings, as a worker leaves it; gives its id."""

    def store(*findings, **more):
        study = Study(title="case", content_hash=str(len(findings)) * 64, state=DONE,
                      decision="tumor", findings=list(findings), chosen=0, **more)  # fmt: skip
        with server.web.sessions.begin() as session:
            session.add(study)
            session.flush()
            return study.id

    return store


def pdf_text(answer):
    assert answer.headers["content-type"] == "application/pdf", answer.text
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.content)).pages)


@pytest.mark.parametrize(
    ("sequence", "decision", "named"),
    [("T1c", "tumor", True), ("T1c", "refer", False), ("T1c", "no_tumor", False),
     ("FLAIR", "tumor", False), ("T1", "tumor", False), ("unknown", "tumor", False)],
)  # fmt: skip
def test_a_type_is_named_only_where_types_were_measured(server, stored, sequence, decision, named):
    study = stored(finding(sequence, decision))
    client = server.browser().client
    page = client.get(f"/studies/{study}").text
    report = pdf_text(client.get(f"/studies/{study}/report.pdf"))
    for text in (page, report):
        assert ("glioma" in text) == named
        assert ("0.88" in text) == named
