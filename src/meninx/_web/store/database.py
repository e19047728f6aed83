"""Tables of the database, and how it is opened and migrated."""

import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Engine,
    ForeignKey,
    Index,
    String,
    Text,
    create_engine,
    event,
    make_url,
    select,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

from meninx._errors import OptionError

# Longest wait of a second writer for the first, in SQLite.
_BUSY_SECONDS = 30
# Connections of one process: one for each request that is answered at a time.
CONNECTIONS = 40
# States of a study: uploaded, taken by a worker, and done.
RECEIVED, SCORING, DONE = "received", "scoring", "done"
# Id of the project `general`, which exists from the start.
FIRST_PROJECT = 1
# All columns that the worklist is filtered and sorted by: SQLite then reads this index alone, and
# not each study's row with its findings (2 ms instead of 80 ms at 10,000 studies).
LISTED = (
    "withdrawn",
    "project_id",
    "search_text",
    "priority",
    "received",
    "state",
    "decision",
    "probability",
    "study_date",
    "study_time",
    "patient_name",
    "patient_id",
    "accession",
    "description",
    "title",
    "id",
)
# Columns of a study that come from its headings, which have the same names.
IDENTITY = (
    "patient_name",
    "patient_id",
    "birth_date",
    "accession",
    "study_date",
    "study_time",
    "description",
    "study_uid",
)


def now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return a random id of 24 hexadecimal digits, too many to guess."""
    return secrets.token_hex(12)


class Moment(TypeDecorator[datetime]):
    """A time that is stored as UTC and read with its zone, in every database."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Drop the zone, which is UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Add the zone again."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Base class of all tables."""

    type_annotation_map = {datetime: Moment, dict[str, Any]: JSON, list[Any]: JSON}


class User(Base):
    """An account."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    password: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    must_change: Mapped[bool] = mapped_column(default=False)
    active: Mapped[bool] = mapped_column(default=True)
    failures: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None]
    # Issuer and subject, for accounts of an OpenID Connect provider.
    subject: Mapped[str | None] = mapped_column(String(400), unique=True)
    created: Mapped[datetime] = mapped_column(default=now)


class Project(Base):
    """A project, whose studies its members see."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)


class Member(Base):
    """A user who sees a project's studies."""

    __tablename__ = "members"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    project_id: Mapped[int] = mapped_column(
        ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    )


class SignIn(Base):
    """A session of a person who is signed in; only the hash of the cookie's secret is stored."""

    __tablename__ = "sign_ins"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    csrf: Mapped[str] = mapped_column(String(64))
    seen: Mapped[datetime] = mapped_column(default=now)


class Token(Base):
    """A key for programs; only its hash is stored."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    # Rights of the key (upload, read, or node for both), and when they end.
    scope: Mapped[str] = mapped_column(String(20))
    ends: Mapped[datetime | None]
    created: Mapped[datetime] = mapped_column(default=now)


class Study(Base):
    """A study of one patient with the detector's findings.

    Identity is as the headers have it, for readers; empty where they have none, or where it is
    dropped on arrival.
    """

    __tablename__ = "studies"

    id: Mapped[str] = mapped_column(String(24), primary_key=True, default=new_id)
    title: Mapped[str] = mapped_column(String(300))
    content_hash: Mapped[str] = mapped_column(String(64), unique=True)
    # Such as "Doe, Jane"; dates as 2026-01-31, times as 23:59:59: they sort as they are.
    patient_name: Mapped[str] = mapped_column(String(300), default="")
    patient_id: Mapped[str] = mapped_column(String(300), default="", index=True)
    birth_date: Mapped[str] = mapped_column(String(10), default="")
    accession: Mapped[str] = mapped_column(String(300), default="", index=True)
    study_date: Mapped[str] = mapped_column(String(10), default="", index=True)
    study_time: Mapped[str] = mapped_column(String(8), default="")
    description: Mapped[str] = mapped_column(String(300), default="")
    study_uid: Mapped[str] = mapped_column(String(300), default="", index=True)
    # Hash of ID, name and birth date, equal for studies of one patient; empty where in doubt.
    patient_key: Mapped[str] = mapped_column(String(64), default="", index=True)
    # DICOM series on arrival: uid, number, description, files. And the name that each picture or
    # volume was uploaded under, by its stored name.
    series: Mapped[list[Any]] = mapped_column(default=list)
    file_names: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # Voxel size of volumes whose files lost it, as the uploader wrote it; empty for the files' own.
    spacing: Mapped[str] = mapped_column(String(60), default="")
    # Answer of the detector from all series at once, as `predict --studies` gives it.
    answer: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(String(20), default=RECEIVED)
    # Decision about the whole study, or `refused`, or `failed`.
    decision: Mapped[str | None] = mapped_column(String(20))
    probability: Mapped[float | None]
    # Place in the worklist: the referred and the positive first, then the refused, then the rest.
    priority: Mapped[int] = mapped_column(default=9)
    findings: Mapped[list[Any]] = mapped_column(default=list)
    chosen: Mapped[int] = mapped_column(default=0)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    received: Mapped[datetime] = mapped_column(default=now)
    finished: Mapped[datetime | None]
    # End of a worker's claim on the study; afterwards any worker takes it.
    lease: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    uploader_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    project_id: Mapped[int] = mapped_column(default=FIRST_PROJECT, index=True)
    # Name of the project whose members see it.
    project: Mapped[str] = column_property(
        select(Project.name).where(Project.id == project_id).scalar_subquery()
    )
    # When it was taken off the worklist instead of deleted, because readers gave opinions on it;
    # and when pixels and identity were deleted and only the opinions remained.
    withdrawn: Mapped[datetime | None]
    erased: Mapped[datetime | None]
    # Scored before all that wait and are not urgent.
    urgent: Mapped[bool] = mapped_column(default=False)
    # Text that a search looks in.
    search_text: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (
        Index("studies_by_priority", "priority", "received"),
        Index("studies_by_state", "state"),
        Index("studies_by_received", "received"),
        Index("studies_listed", *LISTED),
    )

    @property
    def name(self) -> str:
        """What titles show: the patient as far as known, else what the study is called."""
        return self.patient_name or self.patient_id or self.description or self.title


def folded(text: str) -> str:
    """Return a text in lower case without accents: Müller becomes muller."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in plain if not unicodedata.combining(sign))


def _searchable(study: Any) -> str:
    """Return the text that a search looks in: title and identity, dates in three formats."""
    names = (study.title, study.patient_name, study.patient_id, study.accession, study.description)
    dates = [form for day in (study.study_date, study.birth_date) for form in _date_forms(day)]
    return folded("\n".join(word or "" for word in (*names, *dates)))


def _date_forms(day: str | None) -> tuple[str, ...]:
    """Return a date as people write it: 2026-11-28, 20261128 and 28.11.2026; none where empty."""
    parts = (day or "").split("-")
    return ("-".join(parts), "".join(parts), ".".join(reversed(parts))) if day else ()


@event.listens_for(Study, "before_insert")
@event.listens_for(Study, "before_update")
def _keep_searchable(_mapper: Any, _connection: Any, study: Study) -> None:
    study.search_text = _searchable(study)


class Upload(Base):
    """An unfinished upload, which can go on after a lost connection."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(24), primary_key=True, default=new_id)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(300))
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    project_id: Mapped[int] = mapped_column(default=FIRST_PROJECT)
    spacing: Mapped[str] = mapped_column(String(60), default="")
    created: Mapped[datetime] = mapped_column(default=now)


class Opinion(Base):
    """A reader's opinion on a finding; never changed, only followed by another one.

    It is about the study, a series or a region of a series' heat map.
    """

    __tablename__ = "opinions"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    about: Mapped[str] = mapped_column(String(10), default="series")
    # The series that it is about, or that its box lies in.
    scan: Mapped[int] = mapped_column(default=0)
    region_number: Mapped[int | None]
    user_name: Mapped[str] = mapped_column(String(100))
    verdict: Mapped[str] = mapped_column(String(20))
    # The detector's answer, or status, that it is about; empty before one, None of an old opinion.
    answer: Mapped[str | None] = mapped_column(String(20))
    note: Mapped[str] = mapped_column(String(4000), default="")
    box: Mapped[dict[str, Any] | None]
    made: Mapped[datetime] = mapped_column(default=now)
    signature: Mapped[str] = mapped_column(String(64))


class Measurement(Base):
    """A length or a box that a reader measured in a series."""

    __tablename__ = "measurements"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    scan: Mapped[int]
    user_name: Mapped[str] = mapped_column(String(100))
    # `ruler` or `box`, between voxels `from` and `to` of the series.
    kind: Mapped[str] = mapped_column(String(20))
    ends: Mapped[dict[str, Any]]
    made: Mapped[datetime] = mapped_column(default=now)


class Delivery(Base):
    """The DICOM objects of a study on their way to a PACS."""

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    user_name: Mapped[str] = mapped_column(String(100))
    peer: Mapped[str] = mapped_column(String(300))
    state: Mapped[str] = mapped_column(String(20), index=True)
    tries: Mapped[int] = mapped_column(default=0)
    # Of each object its file, its kind, its state, and what the PACS answered.
    objects: Mapped[list[Any]] = mapped_column(default=list)
    # Earliest time of the next try; while it is sent, the end of the worker's claim.
    due: Mapped[datetime] = mapped_column(default=now)
    made: Mapped[datetime] = mapped_column(default=now)
    changed: Mapped[datetime] = mapped_column(default=now)


class NodeReport(Base):
    """What a DICOM node that hands its studies over last said of itself."""

    __tablename__ = "node_reports"

    # Account of its key, and its application entity title.
    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    report: Mapped[dict[str, Any]]
    heard: Mapped[datetime] = mapped_column(default=now)


class AuditEntry(Base):
    """An entry of the audit log; the database itself refuses to change or delete it."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    made: Mapped[datetime] = mapped_column(default=now, index=True)
    user_name: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(40))
    study_id: Mapped[str | None] = mapped_column(String(24), index=True)
    detail: Mapped[str] = mapped_column(String(500), default="")


def open_database(address: str) -> Engine:
    """Open a database; its tables are made by `migrate`.

    Args:
        address: Address in SQLAlchemy's form, `sqlite:///...` or `postgresql+psycopg://...`.

    Returns:
        The engine.
    """
    # hide_parameters: errors of the database would quote stored values, such as patients' names.
    engine = create_engine(address, pool_pre_ping=True, pool_size=CONNECTIONS, hide_parameters=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Let readers read during a write, sync commits to disk, and enforce foreign keys."""
    cursor = connection.cursor()
    for line in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {_BUSY_SECONDS * 1000}",
    ):
        cursor.execute(f"PRAGMA {line}")
    cursor.close()


def sessions_of(engine: Engine) -> sessionmaker[Any]:
    """Return a factory of database sessions; objects stay readable after a commit."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def existing_sessions(address: str) -> Iterator[sessionmaker[Any]]:
    """Open a database that a server made, and migrate it to the latest revision.

    Args:
        address: Address of the database.

    Yields:
        A factory of database sessions.

    Raises:
        OptionError: If there is no database: a mistyped folder must not become a new one.
    """
    url = make_url(address)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise OptionError(f"no database at {url.database}; give the server's data folder by --data")
    migrate(address)
    engine = open_database(address)
    try:
        yield sessions_of(engine)
    finally:
        engine.dispose()


def migrate(address: str, revision: str = "head") -> None:
    """Migrate a database to a revision, upwards or down to `base`.

    Args:
        address: Address of the database.
        revision: Name of an alembic revision, `head` for the latest or `base` for none.

    Raises:
        OptionError: If a newer version of meninx has upgraded it.
    """
    config = _migrations()
    config.attributes["address"] = address
    if (found := revision_of(address)) is not None:
        _check_known(found, ScriptDirectory.from_config(config))
    (command.downgrade if revision == "base" else command.upgrade)(config, revision)


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _check_known(revision: str, scripts: ScriptDirectory) -> None:
    try:
        scripts.get_revision(revision)
    except CommandError as error:
        raise OptionError(
            f"the database has revision {revision}, which this meninx does not know: a newer one "
            "has upgraded it; install that one, or restore a backup made before the upgrade"
        ) from error


def latest_revision() -> str:
    """Return the latest revision that this version knows."""
    return ScriptDirectory.from_config(_migrations()).get_current_head() or ""


def revision_of(address: str) -> str | None:
    """Return the revision of a database.

    Args:
        address: Address of the database, which exists.

    Returns:
        The revision; None without tables.
    """
    engine = open_database(address)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
