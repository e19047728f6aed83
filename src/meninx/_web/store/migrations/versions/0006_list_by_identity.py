"""Search and sort the worklist by what headers tell."""

import sqlalchemy as sa
from alembic import op

from meninx._web.store.database import LISTED, searchable

revision = "0006"
down_revision = "0005"

COLUMNS = (
    "id",
    "title",
    "patient_name",
    "patient_id",
    "accession",
    "study_date",
    "description",
)


def upgrade() -> None:
    """Go up."""
    with op.batch_alter_table("studies") as batch_op:
        batch_op.add_column(sa.Column("search_text", sa.Text(), nullable=False, server_default=""))
    connection = op.get_bind()
    studies = sa.table("studies", *(sa.column(name) for name in (*COLUMNS, "search_text")))
    for row in connection.execute(sa.select(*(studies.c[name] for name in COLUMNS))).all():
        values = {"search_text": searchable(row)}
        connection.execute(studies.update().where(studies.c.id == row.id).values(values))
    # PostgreSQL keeps findings elsewhere by itself, and an index's line must not be long there.
    if connection.dialect.name == "sqlite":
        op.create_index("studies_listed", "studies", LISTED)


def downgrade() -> None:
    """Go down."""
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("studies_listed", "studies")
    with op.batch_alter_table("studies") as batch_op:
        batch_op.drop_column("search_text")
