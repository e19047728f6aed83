"""Name what the process that runs Ray tells the one that keeps the table."""

from typing import Any, Protocol

from meninx.errors import MeninxError

# That a machine of the cluster was lost.
LOST = "lost"
# What became of a unit: see `UnitScorer.score`.
Told = dict[str, Any]
# What became of some units; LOST; what stopped the run; None at the end.
News = list[Told] | str | MeninxError | None


class Channel(Protocol):
    """Stand for a queue between processes."""

    def put(self, news: News) -> None:
        """Put something in, once there is room."""
