"""Measure what grows with an archive: listing, resuming and the ledger, and memory over series.

python -m lab.speed.large_archive entries FOLDER --json FILE    10^6 simulated files
python -m lab.speed.large_archive memory FOLDER --json FILE     5,000 series of `archive.py make`

Nothing else should run meanwhile. FOLDER of `entries` is for the table, that of `memory` is the
archive.
"""

import argparse
import hashlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from fsspec.spec import AbstractFileSystem

from lab.speed.archive import command, known_figures, write_figures
from meninx._archive.file_store import FileStore
from meninx._archive.machine import MAX_RESULTS
from meninx._archive.table import Table
from meninx._archive.units import units_of
from meninx._assess.speed import machine

# Folders of folders of files: 10^6 files at most.
SIDE = 100
PER = 10_000
# A picture as far as its first bytes tell; what follows makes each a content of its own.
HEAD = b"\x89PNG\r\n\x1a\n"
SAMPLED_SECONDS = 1.0


class SimulatedFiles(AbstractFileSystem):
    """An object store that answers at once, so that what is timed is meninx.

    Args:
        tops: Folders of 100 folders of 100 files each.
        changed: Name of a file with another tag than the rest.
    """

    protocol = "simulated"
    cachable = False

    def __init__(self, tops: int = SIDE, changed: str = "") -> None:
        super().__init__(use_listings_cache=False)
        self._tops, self._changed = tops, changed

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return what lies in a folder, with sizes and tags as S3 gives them."""
        path = self._strip_protocol(path)
        depth = path.count("/")
        count = self._tops if depth == 0 else SIDE
        names = [f"{path}/{number:03}" for number in range(count)]
        if not detail:
            return names
        if depth < 2:
            return [{"name": name, "size": 0, "type": "directory"} for name in names]
        return [
            {
                "name": name,
                "size": 12,
                "type": "file",
                "ETag": "another" if name == self._changed else name,
            }
            for name in names
        ]

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return the bytes of a file."""
        return (HEAD + hashlib.sha256(path.encode()).digest()[:4])[start:end]


def unscored(store: FileStore, table: Table) -> Iterator[dict[str, Any]]:
    """Yield a scored picture's result for all that is not done."""
    done = table.done()
    row = {
        "detail": "",
        "kind": "picture",
        "status": "scored",
        "decision": "no_tumor",
        "probability": 0.123456,
        "slices": [{"index": 0, "probability": 0.1, "peak": [9, 9, 0]}],
    }
    rows = json.dumps([row])
    for folder in store.folders():
        for unit in units_of(store, folder, done):
            yield {
                "stamp": unit.stamp,
                "folder": unit.folder,
                "units": unit.units,
                "place": unit.place,
                "rows": rows,
                "content_hash": hashlib.sha256(unit.place.encode()).hexdigest(),
            }


def enter_all(found: Iterator[dict[str, Any]], table: Table) -> int:
    """Enter results as a run does, and return how many there were."""
    count = 0
    while some := list(itertools.islice(found, MAX_RESULTS)):
        table.add(some)
        count += len(some)
    table.finish()
    return count


def measure_entries(folder: Path, tops: int) -> dict[str, Any]:
    """Return seconds for each 10,000 entries: listed, entered, passed over in a second run."""
    shutil.rmtree(folder, ignore_errors=True)
    total = tops * SIDE * SIDE
    figures: dict[str, Any] = {"machine": machine(), "entries": total}
    store = FileStore(SimulatedFiles(tops), "simulated")
    began = time.perf_counter()
    assert sum(len(folder.entries) for folder in store.folders()) == total
    figures["listing 10,000, s"] = (time.perf_counter() - began) * PER / total
    table = Table(folder, "0" * 64)
    began = time.perf_counter()
    assert enter_all(unscored(store, table), table) == total
    figures["sorting 10,000 and entering them, s"] = (time.perf_counter() - began) * PER / total
    table.close()
    began = time.perf_counter()
    table = Table(folder, "0" * 64)
    assert enter_all(unscored(store, table), table) == 0
    figures["passing over 10,000 that are done, s"] = (time.perf_counter() - began) * PER / total
    changed = f"simulated/{tops - 1:03}/{SIDE - 1:03}/{SIDE - 1:03}"
    began = time.perf_counter()
    simulated = FileStore(SimulatedFiles(tops, changed), "simulated")
    assert enter_all(unscored(simulated, table), table) == 1
    figures["one of all that changed, found after, s"] = time.perf_counter() - began
    table.close()
    figures["ledger, bytes an entry"] = (folder / "_meninx/ledger.sqlite").stat().st_size / total
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures["peak memory of listing and ledger, MB"] = peak / 1024
    return figures


def descendants(pid: int) -> list[int]:
    """Return a process and all that it started, as far as they live."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
        children.setdefault(parent, []).append(int(status.parent.name))
    found = [pid]
    for process in found:
        found += children.get(process, [])
    return found


def resident_megabytes(pid: int) -> float:
    """Return the memory of a process and its descendants, pages that they share counted once."""
    total = 0
    for process in descendants(pid):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def measure_memory(folder: Path) -> dict[str, Any]:
    """Return the memory of a run with all its processes, over tenths of its time."""
    series = len(list(folder.glob("*/*")))
    out = folder.parent / "out" / "memory"
    shutil.rmtree(out, ignore_errors=True)
    sampled = []
    with subprocess.Popen(command(folder, out, os.cpu_count() or 1)) as running:
        while running.poll() is None:
            sampled.append(resident_megabytes(running.pid))
            time.sleep(SAMPLED_SECONDS)
    if running.returncode not in (0, 1):
        raise SystemExit(f"score-archive ended with {running.returncode}")
    tenths = np.array_split(sampled, min(10, len(sampled)))
    peaks = [float(tenth.max()) for tenth in tenths]
    return {f"memory in each tenth of {series} series, all processes, MB": peaks}


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("entries", "memory"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tops", type=int, default=SIDE, help="of 10,000 simulated files each")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    fsspec.register_implementation(SimulatedFiles.protocol, SimulatedFiles)
    figures = (
        measure_entries(asked.folder, asked.tops)
        if asked.what == "entries"
        else measure_memory(asked.folder)
    )
    write_figures(known_figures(asked.json) | figures, asked.json)


if __name__ == "__main__":
    main()
