"""Messages from the scoring process to the process that writes the table."""

from typing import Any, Protocol

from meninx._errors import DataError, MeninxError
from meninx._quiet import without_passwords

# A machine of the cluster was lost.
MACHINE_LOST = "lost"
# The result of a unit; see `UnitScorer.score`.
UnitResult = dict[str, Any]
# Results of some units, MACHINE_LOST, the error that ended the run, or None at the end.
Message = list[UnitResult] | str | MeninxError | None


class Channel(Protocol):
    """A queue between processes."""

    def put(self, message: Message) -> None:
        """Add a message, once there is room."""


def run_error(source: str, error: BaseException) -> MeninxError:
    """Return the error that ended a run as one of meninx's, in one line.

    Args:
        source: Address of the archive.
        error: Any error.

    Returns:
        The error itself if it is a MeninxError.
    """
    if isinstance(error, MeninxError):
        return error
    line = str(error).strip().splitlines()[-1:] or [""]
    return DataError(
        without_passwords(
            f"{source}: stopped by {type(error).__name__}: {line[0]}; finished work is kept, run "
            "the same command to go on"
        )
    )
