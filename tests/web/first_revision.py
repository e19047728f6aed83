"""Data of the web application as its first revision stored them, by SQL alone."""

from sqlalchemy import text

from meninx._web.store.database import open_database
from meninx._web.store.settings import Settings

STUDY = "a" * 24
TIME = "2026-01-31 10:00:00"
COLUMNS = {
    "id": STUDY,
    "title": "kept",
    "content_hash": "b" * 64,
    **dict.fromkeys(
        (
            "patient_name",
            "patient_id",
            "birth_date",
            "accession",
            "study_date",
            "study_time",
            "description",
            "study_uid",
            "patient_key",
            "spacing",
            "search_text",
        ),
        "",
    ),
    "series": "[]",
    "file_names": "{}",
    "findings": "[]",
    "state": "done",
    "decision": "tumor",
    "priority": 1,
    "chosen": 0,
    "bytes": 5,
    "received": TIME,
    "finished": TIME,
    "attempts": 1,
    "project_id": 1,
}


def write_first_revision(settings: Settings) -> None:
    """Write a study with its file, and a signing key; the database has revision 0001."""
    engine = open_database(settings.address)
    names = ", ".join(COLUMNS)
    values = ", ".join(f":{name}" for name in COLUMNS)
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO studies ({names}) VALUES ({values})"), COLUMNS)
    engine.dispose()
    files = settings.studies / STUDY / "files"
    files.mkdir(parents=True)
    (files / "1.dcm").write_bytes(b"voxel")
    settings.key_file.write_bytes(b"k" * 32)
