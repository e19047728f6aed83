"""Score waiting studies in the background, each once, also if a worker is killed.

The database is the queue. A worker takes its first study by a lease, in one UPDATE, so that of
several workers only one gets it. A study whose lease has run out waits again.
"""

import logging
import shutil
import signal
import sys
import threading
import time
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import sessionmaker

from meninx._scoring.worker import MAX_ATTEMPTS, Worker
from meninx._system_errors import system_error_in_words
from meninx._web.store.audit import record
from meninx._web.store.database import (
    DONE,
    SCORING,
    Study,
    migrate,
    now,
    open_database,
    sessions_of,
)
from meninx._web.store.settings import Settings
from meninx._web.store.stored_results import StudyResult
from meninx._web.studies.deleting import delete_expired_studies
from meninx._web.studies.deliveries import Sender, release_claims
from meninx._web.studies.queue import ORDER, waiting
from meninx._web.studies.results import store_result
from meninx._web.studies.scoring import score_study
from meninx._web.studies.study_files import FILES, SHOWN
from meninx._web.studies.uploads import delete_abandoned_uploads

# Pause of a worker before it asks again whether a study waits, s: an index answers within 1 ms.
POLL_SECONDS = 0.25
# Pause after an error, such as a database that restarts, s.
_RETRY_SECONDS = 5.0
_CLEANUP_SECONDS = 3600.0
# Time for a worker to store a result after the time limit of scoring, s.
_LEASE_MARGIN_SECONDS = 30

log = logging.getLogger(__name__)


class Jobs:
    """Background jobs of a worker: scoring, and deleting old studies and uploads.

    Args:
        settings: Settings of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._worker = Worker(settings.worker_bytes, settings.worker_seconds)
        self._engine = open_database(settings.address)
        self._sessions: sessionmaker[Any] = sessions_of(self._engine)

    def close(self) -> None:
        """End the scoring process at once, and close the connections to the database."""
        self._worker.kill()
        self._engine.dispose()

    def score_next(self) -> bool:
        """Score the study that is first in the queue; return whether there was one."""
        query = select(Study.id).where(*waiting()).order_by(*ORDER).limit(1)
        with self._sessions() as session:
            study_id = session.scalar(query)
        if study_id is None:
            return False
        self.score(study_id)
        return True

    def send_forever(self) -> None:
        """Send results to other systems as they are due, until the process ends."""
        sender = Sender(self.settings, self._sessions)
        while True:
            try:
                if not sender.send_next():
                    time.sleep(POLL_SECONDS)
            except Exception:
                log.exception("sending failed; next try in %g s", _RETRY_SECONDS)
                time.sleep(_RETRY_SECONDS)

    def clean_up(self) -> None:
        """Delete studies and uploads that are too old, and files of neither."""
        for delete_expired in (delete_expired_studies, delete_abandoned_uploads):
            with self._sessions.begin() as session:
                delete_expired(session, self.settings)

    def score(self, study_id: str) -> None:
        """Score a study, unless another worker has it or it is done.

        Args:
            study_id: Id of the study.
        """
        lease = now() + timedelta(seconds=self.settings.worker_seconds + _LEASE_MARGIN_SECONDS)
        with self._sessions.begin() as session:
            # One statement, so that of two workers only one takes it.
            taken = session.execute(
                update(Study)
                .where(Study.id == study_id, *waiting())
                .values(state=SCORING, lease=lease, attempts=Study.attempts + 1)
            ).rowcount
            study = session.get(Study, study_id) if taken else None
            attempts, spacing = (study.attempts, study.spacing) if study else (0, "")
        if not taken:
            return
        folder = self.settings.studies / study_id
        result = (
            score_study(folder / FILES, folder / SHOWN, self.settings, self._worker, spacing)
            if attempts <= MAX_ATTEMPTS
            else StudyResult()
        )
        self._finish(study_id, lease, result)

    def _finish(self, study_id: str, lease: datetime, result: StudyResult) -> None:
        with self._sessions.begin() as session:
            # Not found if it was deleted or got more files during scoring, or if another worker
            # took it after this lease had ended: no two leases end at the same time.
            study = session.scalar(
                select(Study)
                .where(Study.id == study_id, Study.state == SCORING, Study.lease == lease)
                .with_for_update()
            )
            if study is None:
                if session.get(Study, study_id) is None:
                    # Delete the results too, which were written after the study was deleted.
                    shutil.rmtree(self.settings.studies / study_id, ignore_errors=True)
                return
            study.state, study.lease, study.finished = DONE, None, now()
            store_result(study, result, deidentify=self.settings.deidentify)
            record(session, "worker", "scored", study_id, study.decision)


def release_leases(settings: Settings) -> None:
    """End the leases of a worker that was killed.

    With one worker all leases are its own; with several, leases end by themselves.
    """
    engine = open_database(settings.address)
    with sessions_of(engine).begin() as session:
        session.execute(update(Study).where(Study.state == SCORING).values(lease=None))
        release_claims(session)
    engine.dispose()


def work(settings: Settings, *, alone: bool = True) -> None:
    """Score studies until SIGINT or SIGTERM ends the process.

    Args:
        settings: Settings of the server.
        alone: Whether this is the only worker of the database.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    migrate(settings.address)
    if alone:
        release_leases(settings)
    jobs = Jobs(settings)
    if settings.peer_addresses:
        # Beside scoring, which must not wait for a system that does not answer.
        threading.Thread(target=jobs.send_forever, name="sender", daemon=True).start()
    cleaned = float("-inf")
    try:
        while True:
            try:
                if time.monotonic() - cleaned > _CLEANUP_SECONDS:
                    # Set first, so that an error in cleaning up does not block scoring.
                    cleaned = time.monotonic()
                    jobs.clean_up()
                if not jobs.score_next():
                    time.sleep(POLL_SECONDS)
            except Exception as error:
                # Such as a database that restarts. A study that was taken waits for its lease.
                words = system_error_in_words(error)
                if words is None:
                    log.exception("a job failed; next try in %g s", _RETRY_SECONDS)
                else:  # such as a full disk, which says all
                    log.error("a job failed; next try in %g s: %s", _RETRY_SECONDS, words)  # noqa: TRY400
                time.sleep(_RETRY_SECONDS)
    finally:
        jobs.close()
