"""A study from the network appears in the worklist of the web application, when both run."""

import io
import urllib.request

from meninx.clinic.peers import peer_of
from meninx.synthesis.writing import write_dicom
from meninx.web.accounts import Reader, add_token, add_user
from meninx.web.database import DONE, Study, migrate, open_database, sessions_of
from meninx.web.settings import Settings
from tests.clinic.conftest import receiving, wait_for
from tests.web.conftest import PASSWORD, served


def test_a_study_from_the_network_appears_in_the_worklist(tmp_path, sick):
    settings = Settings(data=tmp_path / "web")
    settings.data.mkdir()
    migrate(settings.address)
    engine = open_database(settings.address)
    sessions = sessions_of(engine)
    with sessions.begin() as session:
        user = add_user(session, "node", PASSWORD)
        session.flush()
        key = add_token(session, Reader(user.id, "node", "reader"), "node")
    files = write_dicom(sick.scan, tmp_path / "case", 7)
    with served(settings.data) as address:
        options = ("--quiet", "0.5", "--worklist", address)
        with receiving(tmp_path / "node", *options, MENINX_WORKLIST_KEY=key) as port:
            peer_of(f"MENINX@127.0.0.1:{port}").send(files)

            def listed():
                with sessions() as session:
                    study = session.query(Study).one_or_none()
                    return study if study is not None and study.state == DONE else None

            study = wait_for(listed, 120)
        assert (study.title, study.decision) == ("from the network", "tumor")
        request = urllib.request.Request(
            f"{address}/api/v1/studies/{study.id}/objects",
            headers={"Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert io.BytesIO(answer.read()).getvalue()[:2] == b"PK"
    engine.dispose()
