"""Store readers' own answers, what was sent to a PACS, urgent studies, and reports of nodes."""

import sqlalchemy as sa
from alembic import op

from meninx._web.store.database import Moment

revision = "0002"
down_revision = "0001"

# A date such as 2026-11-28 as people write it.
_DOTTED = "substr({0}, 9, 2) || '.' || substr({0}, 6, 2) || '.' || substr({0}, 1, 4)"


def upgrade() -> None:
    """Add columns and tables; a search finds birth dates, and dates as 28.11.2026."""
    with op.batch_alter_table("opinions") as opinions:
        opinions.alter_column("region", new_column_name="box", existing_type=sa.JSON())
        opinions.add_column(
            sa.Column("about", sa.String(10), nullable=False, server_default="series")
        )
        opinions.add_column(sa.Column("region_number", sa.Integer()))
        opinions.add_column(sa.Column("answer", sa.String(20)))
    op.add_column(
        "studies", sa.Column("urgent", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    _add_to_search()
    _create_deliveries()
    op.create_table(
        "node_reports",
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("heard", Moment(), nullable=False),
    )


def downgrade() -> None:
    """Drop what `upgrade` added; the texts that a search looks in stay longer."""
    op.drop_table("node_reports")
    op.drop_table("deliveries")
    op.drop_column("studies", "urgent")
    with op.batch_alter_table("opinions") as opinions:
        for column in ("answer", "region_number", "about"):
            opinions.drop_column(column)
        opinions.alter_column("box", new_column_name="region", existing_type=sa.JSON())


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "study_id",
            sa.String(24),
            sa.ForeignKey("studies.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("user_name", sa.String(100), nullable=False),
        sa.Column("peer", sa.String(300), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, index=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("objects", sa.JSON(), nullable=False),
        sa.Column("due", Moment(), nullable=False),
        sa.Column("made", Moment(), nullable=False),
        sa.Column("changed", Moment(), nullable=False),
    )


def _add_to_search() -> None:
    """Add birth dates, and dates as 28.11.2026, to the texts that a search looks in."""
    forms = [
        ("birth_date", "birth_date"),
        ("birth_date", "replace(birth_date, '-', '')"),
        *((day, _DOTTED.format(day)) for day in ("birth_date", "study_date")),
    ]
    for column, form in forms:
        op.execute(
            f"UPDATE studies SET search_text = search_text || '\n' || {form} WHERE {column} <> ''"
        )
