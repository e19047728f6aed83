"""Say whether a folder holds a run; needs no torch."""

from pathlib import Path

from meninx._errors import OptionError

RUN_NAME = "run.json"


def check_no_run(folder: Path) -> None:
    """Check that no training was begun or finished in a folder.

    Args:
        folder: Run folder; it need not exist.

    Raises:
        OptionError: If it holds a run.
    """
    if (folder / RUN_NAME).exists():
        raise OptionError(
            f"{folder} holds a run already, which would be overwritten; add --resume to go on with "
            "it, or name another --output"
        )
