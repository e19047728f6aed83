"""Tell which pictures of a folder show a slice that a manifest holds, and in which of its folds.

Copies that were saved again have other bytes: they are found as `meninx audit` finds them.
Run: python experiments/overlap.py FOLDER MANIFEST --json FILE
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from meninx.data.duplicates import find_duplicates
from meninx.data.facts import measure_picture
from meninx.data.manifest import read_manifest


def main() -> None:
    """Write a picture's folds by its path; a picture that is nowhere in the manifest has none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    own = sorted(path for path in options.folder.rglob("*") if path.is_file())
    pictures = read_manifest(options.manifest).pictures
    paths = [*own, *(picture.picture for picture in pictures)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        facts = list(pool.map(measure_picture, paths, chunksize=32))
    found = find_duplicates([one.sha256 for one in facts], [one.signature for one in facts])
    folds: dict[int, set[int]] = {index: set() for index in range(len(own))}
    for group in found.groups:
        members = list(group.members)
        known = {pictures[index - len(own)].fold for index in members if index >= len(own)}
        for index in members:
            if index < len(own):
                folds[index] |= known
    seen_in = {str(path.relative_to(options.folder)): sorted(folds[index])
            for index, path in enumerate(own)}  # fmt: skip
    options.json.write_text(json.dumps(seen_in, indent=1) + "\n", encoding="utf-8")
    seen = sum(bool(value) for value in seen_in.values())
    print(f"{seen} of {len(seen_in)} show a slice of the manifest")


if __name__ == "__main__":
    main()
