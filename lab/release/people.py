"""Join the collections of the shipped detector's training into one manifest of people.

There are two halves of the people, each of one hospital and of other tumor-free sources. A network
that learned from one half is measured on the other. Their folds:

    1     pictures that no network learns from (curated/, fold 1)
    2..4  pictures (curated/)
    5     Cheng's fold 5, left out of the two networks that are compared
    6     people that only the first network leaves out: hospital HT, multiple sclerosis, slabs,
          second half of the old people
    7     people that only the second one leaves out: hospital DU, stripped heads, single heads,
          first half of the old people

Run: python -m lab.release.people CURATED.csv --data FOLDER --output PEOPLE.csv [--without-lgg]
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from meninx._data.manifest import Picture, read_manifest, write_manifest
from meninx._data.stacks import read_stack
from meninx._data.table_items import read_rows_of_table

FIRST_HALF, SECOND_HALF = 6, 7
SITE_FOLDS = {
    "HT": FIRST_HALF,
    "DU": SECOND_HALF,
    "open_ms_data": FIRST_HALF,
    "stnava/ANTsTutorial": FIRST_HALF,
    "ds002748": SECOND_HALF,
    "tdveale/swm_ribbon": SECOND_HALF,
    "niivue/niivue": SECOND_HALF,
    "neurolabusc/py_synthsr": SECOND_HALF,
}
# Last name, in order, of the old people that the second network leaves out.
LAST_OF_SECOND_HALF = "nichart-09"


def fold_of(picture: Picture) -> int:
    """Return the fold of a person's scans."""
    if picture.person.startswith("nichart"):
        return SECOND_HALF if picture.person <= LAST_OF_SECOND_HALF else FIRST_HALF
    return SITE_FOLDS[picture.site]


def people(data: Path, *, with_lgg: bool = True) -> Iterator[Picture]:
    """Yield the rows of the collections whose people are known."""
    for folder in (*(("lgg",) if with_lgg else ()), "tumor-free"):
        rows = read_rows_of_table(data / folder / "manifest.csv")
        gaps = gaps_mm(rows)
        for row in rows:
            # A group is a person, so that no search for copies is needed.
            yield replace(
                row,
                id=f"{folder}/{row.id}",
                group=f"person {row.person}",
                source=folder,
                fold=fold_of(row),
                gap_mm=gaps.get(row.person),
            )


def gaps_mm(rows: Iterable[Picture]) -> dict[str, float]:
    """Return the median gap of each person's stacks: an exam has one gap."""
    stacks: dict[str, list[Picture]] = defaultdict(list)
    for row in rows:
        if row.stack:
            stacks[row.stack].append(row)
    found: dict[str, list[float]] = defaultdict(list)
    for members in stacks.values():
        scan, _ = read_stack(members)
        found[members[0].person].append(scan.slice_gap_mm or 0.0)
    return {person: round(median(gaps), 2) for person, gaps in found.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curated", type=Path, help="meninx prepare --split mend wrote it")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--without-lgg", action="store_true", help="whose licence is CC BY-NC-SA")
    options = parser.parse_args(arguments)
    rows = [*read_manifest(options.curated).pictures]
    rows += people(options.data, with_lgg=not options.without_lgg)
    write_manifest(rows, options.output)
    read_manifest(options.output)  # whole, checked


if __name__ == "__main__":
    main()
