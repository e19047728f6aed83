"""How to install what an extra brings, as a wheel's user and in a checkout."""

import shlex
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]


def install_command(extra: str, checkout: Path = _CHECKOUT) -> str:
    """Return the command that installs an extra into the running Python.

    Args:
        extra: Name of the extra.
        checkout: Folder that holds pyproject.toml and the lock, if this is a checkout.

    Returns:
        A command for a shell.
    """
    if not (checkout / "pyproject.toml").is_file():
        return f"pip install 'meninx[{extra}]'"
    arguments = [sys.executable, "-m", "pip", "install", "--editable", f"{checkout}[{extra}]"]
    lock = checkout / "requirements.lock"
    return shlex.join([*arguments, "--constraint", str(lock)] if lock.is_file() else arguments)
