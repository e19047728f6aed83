"""Messages from the process that scores to the one that keeps the table."""

from typing import Any, Protocol

from meninx._errors import DataError, MeninxError
from meninx._quiet import without_passwords

# A machine of the cluster was lost.
LOST = "lost"
# What became of a unit: see `UnitScorer.score`.
UnitResult = dict[str, Any]
# What became of some units; LOST; what stopped the run; None at the end.
News = list[UnitResult] | str | MeninxError | None


class Channel(Protocol):
    """A queue between processes."""

    def put(self, news: News) -> None:
        """Put a message in, once there is room."""


def stopped_by(source: str, error: BaseException) -> MeninxError:
    """Return an error of any kind as one of our own, in one line.

    Args:
        source: Address of the archive.
        error: Error that stopped the run.

    Returns:
        The error itself if it is one of ours.
    """
    if isinstance(error, MeninxError):
        return error
    line = str(error).strip().splitlines()[-1:] or [""]
    return DataError(
        without_passwords(
            f"{source}: stopped by {type(error).__name__}: {line[0]}; what is done is kept, run "
            "the same command to go on"
        )
    )
