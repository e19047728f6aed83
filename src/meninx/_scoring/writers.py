"""Writers of results: the protocol, lines of JSON, and pictures."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from meninx._detect.findings import StudyFindings
from meninx._render.result import Result
from meninx._scan.raster import HEATMAP_KEY


class Writer(Protocol):
    """A writer of results: into a file, a folder or a table."""

    def write(self, result: Result) -> None:
        """Write a result, which is dropped afterwards.

        Args:
            result: A scan with its findings, also if it was refused or could not be read.
        """


class JsonLines:
    """A writer of the public JSON, one object per line.

    Args:
        put: Called with each line, without its line break.
    """

    def __init__(self, put: Callable[[str], object]) -> None:
        self._put = put

    def write(self, result: Result) -> None:
        """Write the findings of a scan."""
        self._put(json.dumps(result.findings.as_json(), allow_nan=False))

    def write_study(self, study: StudyFindings) -> None:
        """Write the findings of a study."""
        self._put(json.dumps(study.as_json(), allow_nan=False))


class Pictures:
    """A writer of the picture of each scored scan's hottest slice.

    Args:
        folder: Folder to write into; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, result: Result) -> None:
        """Write the picture of a scored scan."""
        if result.scored:
            save_picture(result.picture, result, self._folder)


def save_picture(picture: Image.Image, result: Result, folder: Path) -> Path:
    """Write a picture of a finding, marked so that it is never read as a scan.

    Args:
        picture: Picture to write.
        result: Result of the picture.
        folder: Folder to write into.

    Returns:
        Path of the PNG file.
    """
    path = folder / f"{file_stem(result.findings.scan)}.png"
    mark = PngInfo()
    mark.add_text(HEATMAP_KEY, result.findings.scan)
    if result.withheld:
        mark.add_text("Comment", result.withheld)
    picture.save(path, pnginfo=mark)
    return path


def file_stem(name: str) -> str:
    """Return a file name for a scan's name: its last parts, valid on every system."""
    tail = "_".join(Path(name).parts[-2:])
    safe = re.sub(r"[^A-Za-z0-9.-]+", "_", tail).strip("._")[:80]
    # Scans with the same last parts in different folders must not overwrite each other.
    return f"{safe}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:6]}"
