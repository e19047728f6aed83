"""Check that the files of a manifest are those that it was made from."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from meninx._data.facts import sha256_of
from meninx._data.manifest import Picture
from meninx._data.missing import listed
from meninx._data.progress import Progress, silent
from meninx._errors import DataError


def check_unchanged(
    pictures: Sequence[Picture], progress: Progress = silent, workers: int = 1
) -> None:
    """Check that pictures, volumes and masks have the SHA-256 that their manifest says.

    Labels, folds and groups are those of the former files. Reading whole files once more takes
    little: training and evaluation read them again from the system's cache.

    Args:
        pictures: Rows of a manifest; those without a SHA-256 can't be checked.
        progress: Called with a step, the amount done, and the total.
        workers: Number of files read at a time, in threads: hashing releases Python's lock.

    Raises:
        DataError: If any file has changed.
    """
    expected: dict[Path, str] = {}
    for picture in pictures:
        if picture.sha256:
            expected[picture.picture] = picture.sha256
        if picture.mask and picture.mask_sha256:
            expected[picture.mask] = picture.mask_sha256
    changed = []
    with ThreadPoolExecutor(workers) as pool:
        found = zip(expected, pool.map(sha256_of, expected), strict=True)
        for done, (path, sha256) in enumerate(found, 1):
            if sha256 != expected[path].lower():
                changed.append(path)
            progress("checking files", done, len(expected))
    if changed:
        raise DataError(
            f"{len(changed)} of {len(expected)} files are not those that the manifest was made "
            f"from, and its labels and folds may be wrong for them: {listed(map(str, changed))}; "
            "run prepare again"
        )
