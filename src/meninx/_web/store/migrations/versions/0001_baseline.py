"""Create the tables, and an audit log that the database itself refuses to change."""

import sqlalchemy as sa
from alembic import op

from meninx._web.store.database import LISTED, Moment

revision = "0001"
down_revision = None

# In the order of their creation: a table follows those that it refers to.
TABLES = (
    "audit",
    "projects",
    "users",
    "members",
    "sign_ins",
    "studies",
    "tokens",
    "uploads",
    "measurements",
    "opinions",
)
# The application's own password does not allow to rewrite the log either.
GUARDS = {
    "sqlite": (
        "CREATE TRIGGER audit_{what} BEFORE {WHAT} ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
    ),
    "postgresql": (
        "CREATE TRIGGER audit_{what} BEFORE {WHAT} ON audit "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    ),
}
REFUSE = (
    "CREATE FUNCTION refuse_change() RETURNS trigger AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$ LANGUAGE plpgsql"
)


def upgrade() -> None:
    """Create tables, triggers and the first project."""
    _create_accounts()
    _create_studies()
    _create_marks()
    _create_audit_log()


def downgrade() -> None:
    """Drop all tables, with their indexes and triggers."""
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")


def _create_accounts() -> None:
    """Create users, projects, their members, sessions and keys."""
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), primary_key=True),
        _text("name", 100, unique=True),
    )
    op.execute("INSERT INTO projects (name) VALUES ('general')")
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), primary_key=True),
        _text("name", 100, unique=True),
        _text("password", 200),
        _text("role", 20),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        _number("failures"),
        sa.Column("locked_until", Moment()),
        sa.Column("subject", sa.String(400), unique=True),
        sa.Column("created", Moment(), nullable=False),
    )
    op.create_table(
        "members",
        _user(primary_key=True),
        sa.Column(
            "project_id",
            sa.Integer(),
            sa.ForeignKey("projects.id", ondelete="CASCADE"),
            primary_key=True,
        ),
    )
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.Integer(), primary_key=True),
        _user(),
        _text("digest", 64, unique=True),
        _text("csrf", 64),
        sa.Column("seen", Moment(), nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), primary_key=True),
        _user(),
        _text("name", 100),
        _text("digest", 64, unique=True),
        _text("scope", 20),
        sa.Column("ends", Moment()),
        sa.Column("created", Moment(), nullable=False),
    )


def _create_studies() -> None:
    """Create studies and unfinished uploads."""
    op.create_table(
        "studies",
        sa.Column("id", sa.String(24), primary_key=True),
        _text("title", 300),
        _text("content_hash", 64, unique=True),
        _text("patient_name", 300),
        _text("patient_id", 300, index=True),
        _text("birth_date", 10),
        _text("accession", 300, index=True),
        _text("study_date", 10, index=True),
        _text("study_time", 8),
        _text("description", 300),
        _text("study_uid", 300, index=True),
        _text("patient_key", 64, index=True),
        sa.Column("series", sa.JSON(), nullable=False),
        sa.Column("file_names", sa.JSON(), nullable=False),
        _text("spacing", 60),
        sa.Column("answer", sa.JSON()),
        _text("state", 20),
        sa.Column("decision", sa.String(20)),
        sa.Column("probability", sa.Double()),
        _number("priority"),
        sa.Column("findings", sa.JSON(), nullable=False),
        _number("chosen"),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("received", Moment(), nullable=False),
        sa.Column("finished", Moment()),
        sa.Column("lease", Moment()),
        _number("attempts"),
        sa.Column("uploader_id", sa.Integer(), sa.ForeignKey("users.id", ondelete="SET NULL")),
        _number("project_id", index=True),
        sa.Column("withdrawn", Moment()),
        sa.Column("erased", Moment()),
        sa.Column("search_text", sa.Text(), nullable=False),
    )
    op.create_index("studies_by_priority", "studies", ["priority", "received"])
    op.create_index("studies_by_received", "studies", ["received"])
    op.create_index("studies_by_state", "studies", ["state"])
    # PostgreSQL stores findings outside of the row, and limits the length of an index entry.
    if op.get_bind().dialect.name == "sqlite":
        op.create_index("studies_listed", "studies", LISTED)
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(24), primary_key=True),
        _user(),
        _text("title", 300),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        _number("project_id"),
        _text("spacing", 60),
        sa.Column("created", Moment(), nullable=False),
    )


def _create_marks() -> None:
    """Create readers' opinions and measurements."""
    op.create_table(
        "opinions",
        sa.Column("id", sa.Integer(), primary_key=True),
        _study(),
        _number("scan"),
        _text("user_name", 100),
        _text("verdict", 20),
        _text("note", 4000),
        sa.Column("region", sa.JSON()),
        sa.Column("made", Moment(), nullable=False),
        _text("signature", 64),
    )
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer(), primary_key=True),
        _study(),
        _number("scan"),
        _text("user_name", 100),
        _text("kind", 20),
        sa.Column("ends", sa.JSON(), nullable=False),
        sa.Column("made", Moment(), nullable=False),
    )


def _create_audit_log() -> None:
    """Create the audit log with triggers that refuse to change or delete an entry."""
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("made", Moment(), nullable=False, index=True),
        _text("user_name", 100),
        _text("action", 40),
        sa.Column("study_id", sa.String(24), index=True),
        _text("detail", 500),
    )
    dialect = op.get_bind().dialect.name
    if dialect == "postgresql":
        op.execute(REFUSE)
    for change in ("update", "delete"):
        op.execute(GUARDS[dialect].format(what=change, WHAT=change.upper()))


def _text(name: str, length: int, *, unique: bool = False, index: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.String(length), nullable=False, unique=unique, index=index)


def _number(name: str, *, index: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer(), nullable=False, index=index)


def _user(*, primary_key: bool = False) -> "sa.Column[int]":
    key = sa.ForeignKey("users.id", ondelete="CASCADE")
    return sa.Column("user_id", sa.Integer(), key, nullable=False, primary_key=primary_key)


def _study() -> "sa.Column[str]":
    key = sa.ForeignKey("studies.id", ondelete="CASCADE")
    return sa.Column("study_id", sa.String(24), key, nullable=False, index=True)
