"""Names of uploaded files: as users sent them, as they are stored, and without identity."""

import hashlib
import json
import re
from pathlib import Path, PurePosixPath

from meninx._scan.kinds import SCAN_SUFFIXES
from meninx._scan.sequence import sequence_from_text

# File in an upload's folder with the name that each file was uploaded under, one JSON list a line.
# Hidden, so that nothing takes it for a scan.
NAMES = ".names"
LONGEST_NAME = 120


def harmless(name: str, number: int) -> str:
    """Return a file name that can't leave its folder, with its suffix and sequence.

    Args:
        name: Name on the user's computer, which may be hostile.
        number: Number of the file in its study, which replaces a name that is empty or too long.

    Returns:
        Letters, digits and `._-`, without a dot in front.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", base_name(name)).lstrip(".")
    return safe if 0 < len(safe) <= LONGEST_NAME else f"{number}{safe[-LONGEST_NAME:]}"


def base_name(name: str) -> str:
    """Return a file's name without its folders, written as on Windows or elsewhere."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def nameless(name: str) -> str:
    """Return a file name without identity: the sequence that it names, and the suffix."""
    suffix = "".join(PurePosixPath(base_name(name).lower()).suffixes[-2:])
    suffix = suffix if suffix.endswith(SCAN_SUFFIXES) else ""
    return sequence_from_text(base_name(name)) + suffix[-len(".nii.gz") :]


def record_name(folder: Path, stored: str, name: str) -> None:
    """Record the name under which a file was uploaded.

    Args:
        folder: Folder of the upload.
        stored: Name of the file in that folder.
        name: Name on the user's computer.
    """
    with (folder / NAMES).open("a", encoding="utf-8") as file:
        file.write(json.dumps([stored, name]) + "\n")


def stored_name(name: str) -> str:
    """Return the name of a file in its upload's folder.

    Args:
        name: Name on the user's computer, with its folders; it may be hostile.

    Returns:
        The name's hash with its suffix, so that folders and odd characters in it have no effect.
    """
    suffix = "".join(PurePosixPath(name.replace("\\", "/")).suffixes[-2:])[-12:]
    safe = "".join(sign for sign in suffix.lower() if sign.isalnum() or sign == ".")
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32] + safe


def names_in(folder: Path) -> dict[str, str]:
    """Return the name under which each file of an upload was sent, by its stored name."""
    noted = folder / NAMES
    lines = noted.read_text(encoding="utf-8").splitlines() if noted.is_file() else []
    names = dict(json.loads(line) for line in lines)
    there = [path.name for path in folder.iterdir() if path.is_file() and path.name != NAMES]
    return {stored: names.get(stored, stored) for stored in sorted(there)}
