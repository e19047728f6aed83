"""Keep the voxel size that an uploader says of volumes whose files lost it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

TABLES = ("studies", "uploads")


def upgrade() -> None:
    """Go up."""
    for table in TABLES:
        with op.batch_alter_table(table) as batch_op:
            batch_op.add_column(
                sa.Column("spacing", sa.String(60), nullable=False, server_default="")
            )


def downgrade() -> None:
    """Go down."""
    for table in TABLES:
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_column("spacing")
