"""Keep which patient and study a study is of, its series, and the answer from all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXTS = {
    "patient_name": 300,
    "patient_id": 300,
    "birth_date": 10,
    "accession": 300,
    "study_date": 10,
    "study_time": 8,
    "description": 300,
    "study_uid": 300,
    "patient_key": 64,
}
LOOKED_UP = ("patient_id", "accession", "study_date", "study_uid", "patient_key")


def upgrade() -> None:
    """Go up."""
    with op.batch_alter_table("studies") as batch_op:
        for name, length in TEXTS.items():
            batch_op.add_column(
                sa.Column(name, sa.String(length=length), nullable=False, server_default="")
            )
        batch_op.add_column(sa.Column("series", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("file_names", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("answer", sa.JSON(), nullable=True))
        for name in LOOKED_UP:
            batch_op.create_index(batch_op.f(f"ix_studies_{name}"), [name], unique=False)


def downgrade() -> None:
    """Go down."""
    with op.batch_alter_table("studies") as batch_op:
        for name in LOOKED_UP:
            batch_op.drop_index(batch_op.f(f"ix_studies_{name}"))
        for name in (*TEXTS, "series", "file_names", "answer"):
            batch_op.drop_column(name)
