"""Part projects, bound keys, and keep what was withdrawn or erased."""

from datetime import timedelta

import sqlalchemy as sa
from alembic import op

from meninx._web.store.database import Moment, now

revision = "0005"
down_revision = "0004"

# Keys of before had no end.
OLD_KEY_DAYS = 365


def upgrade() -> None:
    """Go up."""
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "members",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "project_id"),
    )
    # Everybody went on seeing everything.
    op.execute("INSERT INTO projects (name) VALUES ('general')")
    op.execute(
        "INSERT INTO members (user_id, project_id) "
        "SELECT users.id, projects.id FROM users, projects"
    )
    with op.batch_alter_table("studies") as batch_op:
        batch_op.add_column(
            sa.Column("project_id", sa.Integer(), nullable=False, server_default="1")
        )
        batch_op.add_column(sa.Column("withdrawn", Moment(), nullable=True))
        batch_op.add_column(sa.Column("erased", Moment(), nullable=True))
        batch_op.create_index(batch_op.f("ix_studies_project_id"), ["project_id"], unique=False)
    with op.batch_alter_table("uploads") as batch_op:
        batch_op.add_column(
            sa.Column("project_id", sa.Integer(), nullable=False, server_default="1")
        )
    with op.batch_alter_table("tokens") as batch_op:
        batch_op.add_column(
            sa.Column("scope", sa.String(length=20), nullable=False, server_default="node")
        )
        batch_op.add_column(sa.Column("ends", Moment(), nullable=True))
    tokens = sa.table("tokens", sa.column("ends", Moment()))
    op.execute(tokens.update().values(ends=now() + timedelta(days=OLD_KEY_DAYS)))


def downgrade() -> None:
    """Go down."""
    with op.batch_alter_table("tokens") as batch_op:
        batch_op.drop_column("ends")
        batch_op.drop_column("scope")
    with op.batch_alter_table("uploads") as batch_op:
        batch_op.drop_column("project_id")
    with op.batch_alter_table("studies") as batch_op:
        batch_op.drop_index(batch_op.f("ix_studies_project_id"))
        for name in ("erased", "withdrawn", "project_id"):
            batch_op.drop_column(name)
    op.drop_table("members")
    op.drop_table("projects")
