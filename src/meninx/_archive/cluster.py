"""Walk, group and score an archive on a Ray cluster; runs in a process of its own.

That process can be ended whatever Ray is waiting for.
"""

import dataclasses
import functools
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, cast

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy

from meninx._archive.news import LOST, Channel, News, UnitResult, stopped_by
from meninx._archive.options import Options
from meninx._archive.store import FileEntry, Folder, open_store
from meninx._archive.table import Done
from meninx._archive.unit_scorer import UnitScorer
from meninx._archive.units import Unit, units_of
from meninx._detect.runtimes import import_onnxruntime
from meninx._errors import MeninxError, OptionError
from meninx._sandbox import end_with_parent

# Walking and sorting need little, and on a small cluster the scorers would leave them nothing:
# Ray Data waits for ever where an operator has no CPU to run on.
FIND_CPUS, SCORE_CPUS = 0.1, 0.8
# Folders and units of one task: few, so that a stop loses little and workers end together.
FOLDERS_A_BLOCK, UNITS_A_BLOCK = 16, 16
# One process that sorts keeps up with many that score, and takes seconds of a core to start.
SCORERS_A_SORTER = 8
# A task hands on what it has yielded once it is so much: by Ray's own 128 MB a walk would go
# through a million files before the first is scored.
BLOCK_BYTES = 2**14
# With a single CPU in the whole cluster Ray Data waits for ever.
MIN_CPUS = 2
KNOCK_SECONDS, WATCH_SECONDS = 10, 5


def feed(options: Options, done: Done, channel: Channel) -> None:
    """Score what is not done, and hand on the results as they come.

    Args:
        options: Source, detector, workers and limits.
        done: Stamps and content hashes of what is done already.
        channel: Receives lists of results, then None, or the error that stopped the run.
    """
    # Ctrl-C reaches all processes of a terminal: the one that keeps the table decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    threading.Thread(target=end_with_parent, daemon=True).start()
    last = _fed(options, done, channel)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends by itself now
    channel.put(last)


def _fed(options: Options, done: Done, channel: Channel) -> News:
    """Score, and return the last message for the channel."""
    try:
        with _cluster(options):
            _check_cpus(options)
            threading.Thread(target=_watch, args=(channel,), daemon=True).start()
            for units in _scored(options, ray.put(done)):
                channel.put(units)
        return None
    except ray.exceptions.RayTaskError as error:
        return stopped_by(options.source, getattr(error, "cause", None) or error)
    except ray.exceptions.RayError:
        return LOST
    except MeninxError as error:
        return error


def _check_cpus(options: Options) -> None:
    found = int(_resources().get("CPU", 0))
    if found < MIN_CPUS:
        raise OptionError(
            f"--address {options.address}: {found} CPU in the whole cluster, expected at "
            f"least {MIN_CPUS}; add a machine, or leave --address out to use this one alone"
        )


def _watch(channel: Channel) -> None:
    """Report a machine that is lost; Ray itself waits for its work, which may be for ever."""
    with suppress(Exception):  # at the end there is no Ray any more to be asked
        nodes = _nodes()
        while nodes <= _nodes():
            time.sleep(WATCH_SECONDS)
        channel.put(LOST)


def _nodes() -> set[str]:
    """Return the machines of the cluster that live."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]


@contextmanager
def _cluster(options: Options) -> Iterator[None]:
    """Join a cluster, and leave it afterwards."""
    # Ray's core writes to standard error without Python's knowledge, even where all is well and
    # its log is turned off.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # A call after the end is to fail, and not to start another Ray.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    try:
        with _silent():
            _join(options)
    except ConnectionError as error:
        raise OptionError(
            f"--address {options.address}: no Ray cluster answers there ({error}); start "
            "one with `ray start --head`"
        ) from error
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
    address = str(options.address)
    _knock(address)
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)


def _knock(address: str) -> None:
    """Check that something listens: Ray itself would wait for many minutes.

    Args:
        address: Address of a cluster, host:port; `auto` and the like are left to Ray.

    Raises:
        ConnectionError: If nothing listens.
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


def _scored(options: Options, done: "ray.ObjectRef[Done]") -> Iterator[list[UnitResult]]:
    """Yield results of units, some at a time, as they are ready."""
    workers, gpus = _workers(options)
    # One task walks: what it yields is taken up while it goes on.
    folders = ray.data.from_items([{"source": options.source}], override_num_blocks=1).map_batches(
        _walk, batch_size=1, num_cpus=FIND_CPUS, compute=TaskPoolStrategy(size=1)
    )
    sorters = -(-workers // SCORERS_A_SORTER)
    if sorters > 1:  # else Ray does both in one process
        folders = folders.repartition(target_num_rows_per_block=FOLDERS_A_BLOCK)
    units = folders.map_batches(
        partial(_group, source=options.source, done=done),
        batch_size=1,
        num_cpus=FIND_CPUS,
        compute=TaskPoolStrategy(size=sorters),
    )
    scored = units.repartition(target_num_rows_per_block=UNITS_A_BLOCK).map_batches(
        Scoring,
        fn_constructor_args=(options, done),
        batch_size=UNITS_A_BLOCK,
        num_cpus=SCORE_CPUS,
        num_gpus=gpus,
        # The pool grows as there is room: room for all at once may never come.
        compute=ActorPoolStrategy(min_size=1, max_size=workers),
    )
    for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
        table = cast("pa.Table", batch)
        yield [json.loads(unit) for unit in table.column("unit").to_pylist()]


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _workers(options: Options) -> tuple[int, float]:
    """Return the number of workers for the cluster, and the share of a GPU that each takes."""
    gpus = int(_resources().get("GPU", 0))
    if gpus and "CUDAExecutionProvider" in import_onnxruntime().get_available_providers():
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
    store, known = _cached_store(source), ray.get(done)
    for text in batch["folder"]:
        for unit in units_of(store, _folder_of(json.loads(text)), known):
            yield {"unit": [json.dumps(dataclasses.asdict(unit))]}


_cached_store = functools.cache(open_store)


def _folder_of(row: dict[str, Any]) -> Folder:
    return Folder(**(row | {"entries": tuple(FileEntry(**entry) for entry in row["entries"])}))


class Scoring:
    """A scorer of units that runs as an actor of Ray's pool.

    Args:
        options: Source, detector, workers and limits.
        done: Stamps and content hashes of what is done already.
    """

    def __init__(self, options: Options, done: "ray.ObjectRef[Done]") -> None:
        self._scorer = UnitScorer(
            open_store(options.source),
            ray.get(done),
            options.model,
            options.named,
            maps=options.maps,
            seconds=options.seconds,
            memory_bytes=options.memory_bytes,
        )

    def __call__(self, batch: Batch) -> Iterator[Batch]:
        """Yield the result of each unit, as JSON."""
        units = (Unit.of_row(json.loads(text)) for text in batch["unit"])
        for result in self._scorer.score(units):
            yield {"unit": [json.dumps(result)]}
