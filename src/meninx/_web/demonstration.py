"""Load synthetic studies for a demonstration."""

import tempfile
from pathlib import Path

from sqlalchemy import select

from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from meninx._web.auth.accounts import ADMINISTRATOR, Reader
from meninx._web.serving import Web
from meninx._web.store.database import Study, User
from meninx._web.studies.receiving import finish_upload
from meninx._web.studies.uploads import add_chunk, start_upload

# Seed of the first demonstration study; `meninx demo` has the same.
FIRST_SEED = 40


def load_phantoms(web: Web, count: int) -> int:
    """Upload phantoms, unless there are studies already.

    Args:
        web: The application.
        count: Number of studies, every other one with a tumor.

    Returns:
        Number of studies that were loaded.
    """
    with web.sessions() as session:
        if session.scalar(select(Study.id).limit(1)) is not None:
            return 0
        user = session.scalar(select(User).where(User.role == ADMINISTRATOR))
    loader = Reader(user.id if user else 0, "demonstration", ADMINISTRATOR)
    with tempfile.TemporaryDirectory() as folder:
        for path in write_studies(make_studies(count, FIRST_SEED), Path(folder), "dicom"):
            with web.sessions.begin() as session:
                upload = start_upload(session, loader, path.name, web.settings)
                for file in sorted(p for p in path.rglob("*") if p.is_file()):
                    add_chunk(upload, file.name, 0, file.read_bytes(), web.settings)
                finish_upload(session, loader, upload, web.settings)
    return count
