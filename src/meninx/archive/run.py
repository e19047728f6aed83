"""Score an archive on Ray Data: walk, group, score in a pool, and keep what comes back."""

import dataclasses
import functools
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import onnxruntime
import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext

from meninx.archive.scoring import UnitScorer
from meninx.archive.store import Entry, Folder, open_store
from meninx.archive.table import Done, Table
from meninx.archive.units import Unit, folder_stamp, units_of
from meninx.errors import DataError, MeninxError, OptionError

# Walking and sorting need little, and on a small machine the scorers would leave them nothing:
# Ray Data waits for ever where an operator has no CPU to run on.
WALK_CPUS, GROUP_CPUS, SCORE_CPUS = 0.05, 0.1, 0.8
# Folders and units sent about at a time: few, so that a stop loses little and workers end together.
FOLDERS_A_BLOCK, UNITS_A_BLOCK = 16, 8
# Kept free for Ray's own on a machine that we start it on: rows and names are small.
OBJECT_STORE_BYTES = 256 * 2**20
# A task hands on what it has yielded once it is so much: by Ray's own 128 MB a walk would go
# through a million files before the first is scored.
BLOCK_BYTES = 2**20
KNOCK_SECONDS = 10
GIB = 2**30
# What became of some units, as `UnitScorer.score` tells it.
Units = list[dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """Hold how an archive is scored.

    Args:
        source: As for `open_store`.
        model: The detector file; None for the one that ships.
        workers: How many score at a time; 0 for one a core, or one a GPU where there are any.
        address: Of a running Ray cluster; None to start Ray on this machine.
        maps: Whether heat maps are kept.
        seconds: That a unit may take.
        memory_bytes: That scoring a unit may take.
    """

    source: str
    model: Path | None = None
    workers: int = 0
    address: str | None = None
    maps: bool = False
    seconds: float = 300.0
    memory_bytes: int = 4 * GIB


@dataclass
class Progress:
    """Count what becomes of an archive's files.

    Args:
        files: Done in this run.
        units: Done in this run.
        rows: New in the table.
        found: Files counted in the archive so far.
        earlier: Those of them in folders that earlier runs have done.
        counted: Whether all are counted.
        unreached: Places whose files could not be had.
    """

    files: int = 0
    units: int = 0
    rows: int = 0
    found: int = 0
    earlier: int = 0
    counted: bool = False
    unreached: int = 0


def score_archive(
    options: Options, table: Table, report: Callable[[Progress], None], stop: threading.Event
) -> Progress:
    """Score what is not done yet of an archive.

    Args:
        options: How.
        table: That rows go into.
        report: Told whenever something came back.
        stop: Set to end early; what came back is kept.

    Returns:
        What became of it.
    """
    progress = Progress()
    with _cluster(options):
        known = table.done()
        counting = (options.source, known, progress, stop)
        threading.Thread(target=_count, args=counting, daemon=True).start()
        done = ray.put(known)
        for units in _told(options.source, _scored(options, done)):
            reached = [unit for unit in units if not unit["unreached"]]
            progress.rows += table.add(reached)
            progress.units += len(reached)
            progress.unreached += len(units) - len(reached)
            progress.files += sum(unit["files"] for unit in reached)
            report(progress)
            if stop.is_set():
                break
    stop.set()
    return progress


def _told(source: str, units: Iterator[Units]) -> Iterator[Units]:
    """Yield units; an error from another process becomes one line of our own."""
    try:
        yield from units
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, MeninxError):
            raise cause from error
        line = str(cause).strip().splitlines()[-1:] or [""]
        raise DataError(
            f"{source}: stopped by {type(cause).__name__}: {line[0]}; what is done is kept, run "
            "the same command to go on"
        ) from error


@contextmanager
def _cluster(options: Options) -> Iterator[None]:
    """Join a cluster, or start one of this machine alone; leave or end it afterwards."""
    # Ray's core writes past Python of many things that are as they should be, and that it was told
    # not to.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        with _silent():
            _join(options)
    except ConnectionError as error:
        raise OptionError(f"--address {options.address}: no Ray cluster there: {error}") from error
    context = DataContext.get_current()
    context.target_max_block_size = BLOCK_BYTES
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _join(options: Options) -> None:
    if options.address:
        _knock(options.address)
        ray.init(options.address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(
            num_cpus=max(options.workers, os.cpu_count() or 1),
            include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
        )  # fmt: skip


def _knock(address: str) -> None:
    """Check that something listens: Ray itself would wait for many minutes.

    Args:
        address: Of a cluster; `auto` and the like are left to Ray.

    Raises:
        ConnectionError: If nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Turn off this process's standard error; what is raised is raised all the same."""
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _scored(options: Options, done: "ray.ObjectRef[Done]") -> Iterator[Units]:
    """Yield what became of units, some at a time, as they are ready."""
    workers, gpus = _workers(options)
    # One task walks: what it yields is taken up while it goes on.
    walked = ray.data.from_items([{"source": options.source}], override_num_blocks=1).map_batches(
        _walk, batch_size=1, num_cpus=WALK_CPUS
    )
    units = walked.repartition(target_num_rows_per_block=FOLDERS_A_BLOCK).map_batches(
        partial(_group, source=options.source, done=done),
        batch_size=1, num_cpus=GROUP_CPUS,
    )  # fmt: skip
    scored = units.repartition(target_num_rows_per_block=UNITS_A_BLOCK).map_batches(
        Scoring,
        fn_constructor_args=(options, done),
        batch_size=UNITS_A_BLOCK,
        num_cpus=SCORE_CPUS,
        num_gpus=gpus,
        compute=ActorPoolStrategy(min_size=1, max_size=workers),
    )
    for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
        table = cast("pa.Table", batch)
        yield [json.loads(unit) for unit in table.column("unit").to_pylist()]


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _workers(options: Options) -> tuple[int, float]:
    """Return how many score at a time, and how much of a GPU each takes."""
    gpus = int(_resources().get("GPU", 0))
    if gpus and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return options.workers or gpus, gpus / max(options.workers or gpus, gpus)
    return options.workers or int(_resources().get("CPU", 1)), 0


# What goes from task to task are JSON texts in a table of one column: a table of nested values
# would need the same columns of every folder, and lists of names are cheaper as text.
Batch = dict[str, Any]


def _walk(batch: Batch) -> Iterator[Batch]:
    for source in batch["source"]:
        for folder in open_store(str(source)).folders():
            yield {"folder": [json.dumps(dataclasses.asdict(folder))]}


def _group(batch: Batch, source: str, done: "ray.ObjectRef[Done]") -> Iterator[Batch]:
    store, known = _kept_store(source), ray.get(done)
    for text in batch["folder"]:
        for unit in units_of(store, _folder_of(json.loads(text)), known):
            yield {"unit": [json.dumps(dataclasses.asdict(unit))]}


_kept_store = functools.cache(open_store)


def _folder_of(told: dict[str, Any]) -> Folder:
    return Folder(**(told | {"entries": tuple(Entry(**entry) for entry in told["entries"])}))


class Scoring:
    """Score units in an actor of the pool.

    Args:
        options: Of the run.
        done: What is done already.
    """

    def __init__(self, options: Options, done: "ray.ObjectRef[Done]") -> None:
        self._scorer = UnitScorer(
            open_store(options.source), ray.get(done), options.model, maps=options.maps,
            seconds=options.seconds, memory_bytes=options.memory_bytes,
        )  # fmt: skip

    def __call__(self, batch: Batch) -> Iterator[Batch]:
        """Yield what became of each unit, as JSON."""
        units = (Unit.of_row(json.loads(text)) for text in batch["unit"])
        for told in self._scorer.score(units):
            yield {"unit": [json.dumps(told)]}


def _count(source: str, done: Done, progress: Progress, stop: threading.Event) -> None:
    """Count the archive's files, so that the time left can be told."""
    with suppress(Exception):  # what is out of reach is told where it is to be scored
        store = open_store(source)
        for folder in store.folders():
            progress.found += len(folder.entries)
            progress.earlier += len(folder.entries) if folder_stamp(store, folder) in done else 0
            if stop.is_set():
                return
        progress.counted = True
