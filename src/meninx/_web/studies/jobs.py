"""Score studies in the background, each once, also if a worker is killed.

The queue only wakes a worker; the database has the state of each study. So a lost queue loses
nothing: a worker that starts asks the database which studies wait.
"""

import shutil
from datetime import datetime, timedelta
from typing import Any

from huey import Huey, RedisHuey, SqliteHuey, crontab
from sqlalchemy import or_, select, update
from sqlalchemy.orm import sessionmaker

from meninx._scoring.worker import MAX_ATTEMPTS, Worker
from meninx._web.store.audit import record
from meninx._web.store.database import (
    DONE,
    RECEIVED,
    SCORING,
    Study,
    migrate,
    now,
    open_database,
    sessions_of,
)
from meninx._web.store.settings import Settings
from meninx._web.store.stored import StudyResult
from meninx._web.studies.scoring import score_study
from meninx._web.studies.studies import (
    FILES,
    SHOWN,
    answer_study,
    delete_old_studies,
    drop_old_uploads,
)


def queue_of(settings: Settings) -> Huey:
    """Return the queue of jobs, in SQLite inside the data folder or in Redis."""
    if settings.redis:
        return RedisHuey("meninx", url=settings.redis)
    settings.data.mkdir(parents=True, exist_ok=True)
    return SqliteHuey("meninx", filename=str(settings.data / "queue.sqlite"), fsync=True)


class Jobs:
    """Background jobs: scoring, and deleting old studies and uploads.

    Args:
        settings: Settings of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.queue = queue_of(settings)
        self._worker = Worker(settings.worker_bytes, settings.worker_seconds)
        self._engine = open_database(settings.address)
        self._sessions: sessionmaker[Any] = sessions_of(self._engine)
        # Another process finds tasks by these names.
        self._score = self.queue.task(name="score")(self.score)
        self.queue.periodic_task(crontab(minute="*"), name="again")(self.take_up)
        self.queue.periodic_task(crontab(minute="7"), name="retention")(self.delete_old)
        self.queue.periodic_task(crontab(minute="17"), name="abandoned-uploads")(
            self.delete_abandoned
        )

    def enqueue(self, study_id: str) -> None:
        """Queue a study to be scored."""
        self._score(study_id)

    def close(self) -> None:
        """End the scoring process, and close the connections to the database."""
        self._worker.close()
        self._engine.dispose()

    def take_up(self) -> None:
        """Queue every study again that no worker has: after a crash, or a lost queue."""
        with self._sessions() as session:
            waiting = list(session.scalars(select(Study.id).where(*self._free())))
        for study_id in waiting:
            self.enqueue(study_id)

    def delete_old(self) -> None:
        """Delete studies that are older than the retention time."""
        with self._sessions.begin() as session:
            delete_old_studies(session, self.settings)

    def delete_abandoned(self) -> None:
        """Delete abandoned uploads, and files of neither an upload nor a study."""
        with self._sessions.begin() as session:
            drop_old_uploads(session, self.settings)

    def _free(self) -> tuple[Any, ...]:
        return (
            Study.state.in_((RECEIVED, SCORING)),
            or_(Study.lease.is_(None), Study.lease < now()),
        )

    def score(self, study_id: str) -> None:
        """Score a study, unless another worker has it or it is done.

        Args:
            study_id: Id of the study.
        """
        lease = now() + timedelta(seconds=self.settings.worker_seconds + 30)
        with self._sessions.begin() as session:
            # One statement, so that of two workers only one takes it.
            taken = session.execute(
                update(Study)
                .where(Study.id == study_id, *self._free())
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
            # Not found if it was deleted meanwhile, got more files, or was taken by another worker
            # after this one's lease had ended: no two leases end at the same time.
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
            answer_study(study, result, deidentify=self.settings.deidentify)
            study.state, study.lease, study.finished = DONE, None, now()
            record(session, "worker", "scored", study_id, study.decision)


def release_leases(settings: Settings) -> None:
    """End the leases of a worker that was killed.

    With one worker all leases are its own; with several, leases end by themselves.
    """
    engine = open_database(settings.address)
    with sessions_of(engine).begin() as session:
        session.execute(update(Study).where(Study.state == SCORING).values(lease=None))
    engine.dispose()


def work(settings: Settings, *, alone: bool = True) -> None:
    """Run a worker until it is stopped.

    Args:
        settings: Settings of the server.
        alone: Whether this is the only worker of the database.
    """
    migrate(settings.address)
    if alone:
        release_leases(settings)
    jobs = Jobs(settings)
    jobs.take_up()
    consumer = jobs.queue.create_consumer(
        workers=1,
        periodic=True,
        initial_delay=0.05,
        backoff=1.1,
        max_delay=0.25,
        check_worker_health=True,
    )
    consumer.run()
