"""Score an archive on a Ray cluster; runs in a separate process, which can always be killed."""

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

from meninx._archive.entries import FileEntry, Folder
from meninx._archive.messages import MACHINE_LOST, Channel, Message, UnitResult, run_error
from meninx._archive.options import Options
from meninx._archive.store import open_store
from meninx._archive.table import Done, SplitSeries
from meninx._archive.unit_scorer import UnitScorer
from meninx._archive.units import Unit, joined_units, units_of
from meninx._detect.runtimes import import_onnxruntime
from meninx._errors import MeninxError, OptionError
from meninx._sandbox import end_with_parent

# Walking and grouping need little, but Ray Data waits forever if an operator has no CPU: on a small
# cluster the scorers would otherwise leave none.
FIND_CPUS, SCORE_CPUS = 0.1, 0.8
# Folders and units per task: few, so that a stop loses little and the workers end together.
FOLDERS_A_BLOCK, UNITS_A_BLOCK = 16, 16
# One grouping process keeps up with many scorers, and takes seconds of a core to start.
SCORERS_PER_GROUPER = 8
# Size of a task's output block, bytes: with Ray's default of 128 MB a walk would cover a million
# files before the first is scored.
_BLOCK_BYTES = 2**14
# With a single CPU in the whole cluster Ray Data waits forever.
_MIN_CPUS = 2
CONNECT_SECONDS, WATCH_SECONDS = 10, 5


def score_units(options: Options, done: Done, split: SplitSeries, channel: Channel) -> None:
    """Score the units that are not done, and send their results.

    Args:
        options: Source, detector, workers and limits.
        done: Stamps and content hashes of finished units.
        split: Series to join; empty to score all units that are not done.
        channel: Receives lists of results, then None, or the error that ended the run.
    """
    # Ctrl-C reaches all processes of a terminal: the one that writes the table decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    threading.Thread(target=end_with_parent, daemon=True).start()
    last = _run(options, done, split, channel)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is ending
    channel.put(last)


def _run(options: Options, done: Done, split: SplitSeries, channel: Channel) -> Message:
    """Score, and return the last message for the channel."""
    try:
        with _cluster(options):
            _check_cpus(options)
            threading.Thread(target=_watch, args=(channel,), daemon=True).start()
            for units in _scored(options, ray.put(done), split):
                channel.put(units)
        return None
    except ray.exceptions.RayTaskError as error:
        return run_error(options.source, getattr(error, "cause", None) or error)
    except ray.exceptions.RayError:
        return MACHINE_LOST
    except MeninxError as error:
        return error


def _check_cpus(options: Options) -> None:
    found = int(_resources().get("CPU", 0))
    if found < _MIN_CPUS:
        raise OptionError(
            f"--address {options.address}: {found} CPU in the whole cluster, expected at "
            f"least {_MIN_CPUS}; add a machine, or leave --address out to use this one alone"
        )


def _watch(channel: Channel) -> None:
    """Report a lost machine: Ray itself may wait forever for its work."""
    with suppress(Exception):  # Ray is shut down at the end
        nodes = _nodes()
        while nodes <= _nodes():
            time.sleep(WATCH_SECONDS)
        channel.put(MACHINE_LOST)


def _nodes() -> set[str]:
    """Return the IDs of the live machines of the cluster."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]


@contextmanager
def _cluster(options: Options) -> Iterator[None]:
    """Join a cluster, and leave it afterwards."""
    # Ray's core writes to standard error, bypassing Python, even without an error and with its log
    # turned off.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # A call after the end must fail, and not start another Ray.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    try:
        with _silent_stderr():
            _join(options)
    except ConnectionError as error:
        raise OptionError(
            f"--address {options.address}: no Ray cluster responds there ({error}); start "
            "one with `ray start --head`"
        ) from error
    context = DataContext.get_current()
    context.target_max_block_size = _BLOCK_BYTES
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _join(options: Options) -> None:
    address = str(options.address)
    _check_listening(address)
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)


def _check_listening(address: str) -> None:
    """Check that a port is open: Ray itself would wait for many minutes.

    Args:
        address: Address of a cluster, host:port; others such as `auto` are left to Ray.

    Raises:
        ConnectionError: If nothing listens.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Turn off this process's standard error, also for code outside Python."""
    stderr = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


def _scored(
    options: Options, done: "ray.ObjectRef[Done]", split: SplitSeries
) -> Iterator[list[UnitResult]]:
    """Yield batches of results as they are ready."""
    workers, gpus = _workers(options)
    units = _joined(options, split) if split else _found(options, done, workers)
    scored = units.repartition(target_num_rows_per_block=UNITS_A_BLOCK).map_batches(
        Scoring,
        fn_constructor_args=(options, done),
        batch_size=UNITS_A_BLOCK,
        num_cpus=SCORE_CPUS,
        num_gpus=gpus,
        # The pool grows as resources become free: they may never be free for all at once.
        compute=ActorPoolStrategy(min_size=1, max_size=workers),
    )
    for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
        table = cast("pa.Table", batch)
        yield [json.loads(unit) for unit in table.column("unit").to_pylist()]


def _joined(options: Options, split: SplitSeries) -> ray.data.Dataset:
    """Return the units of series to join, as a dataset of JSON."""
    archive = ray.data.from_items([{"source": options.source}], override_num_blocks=1)
    return archive.map_batches(partial(_join_parts, split=split), batch_size=1, num_cpus=FIND_CPUS)


def _found(options: Options, done: "ray.ObjectRef[Done]", workers: int) -> ray.data.Dataset:
    """Return the units of the archive that are not done, as a dataset of JSON."""
    # A single task walks; later operators process its folders while it continues.
    folders = ray.data.from_items([{"source": options.source}], override_num_blocks=1).map_batches(
        _walk, batch_size=1, num_cpus=FIND_CPUS, compute=TaskPoolStrategy(size=1)
    )
    groupers = -(-workers // SCORERS_PER_GROUPER)
    if groupers > 1:  # otherwise Ray walks and groups in one process
        folders = folders.repartition(target_num_rows_per_block=FOLDERS_A_BLOCK)
    return folders.map_batches(
        partial(_group, source=options.source, done=done),
        batch_size=1,
        num_cpus=FIND_CPUS,
        compute=TaskPoolStrategy(size=groupers),
    )


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _workers(options: Options) -> tuple[int, float]:
    """Return the number of workers for the cluster, and the share of a GPU for each."""
    gpus = int(_resources().get("GPU", 0))
    if gpus and "CUDAExecutionProvider" in import_onnxruntime().get_available_providers():
        return options.workers or gpus, gpus / max(options.workers or gpus, gpus)
    return options.workers or int(_resources().get("CPU", 1)), 0


# Tasks exchange JSON in tables of one column: nested values would need the same columns for every
# folder, and lists of names are smaller as text.
Batch = dict[str, Any]


def _walk(batch: Batch) -> Iterator[Batch]:
    for source in batch["source"]:
        for folder in open_store(str(source)).folders():
            yield {"folder": [json.dumps(dataclasses.asdict(folder))]}


def _group(batch: Batch, source: str, done: "ray.ObjectRef[Done]") -> Iterator[Batch]:
    store, finished = _cached_store(source), ray.get(done)
    for text in batch["folder"]:
        for unit in units_of(store, _folder_of(json.loads(text)), finished):
            yield {"unit": [json.dumps(dataclasses.asdict(unit))]}


def _join_parts(batch: Batch, split: SplitSeries) -> Iterator[Batch]:
    for source in batch["source"]:
        for unit in joined_units(open_store(str(source)), split):
            yield {"unit": [json.dumps(dataclasses.asdict(unit))]}


_cached_store = functools.cache(open_store)


def _folder_of(row: dict[str, Any]) -> Folder:
    return Folder(**(row | {"entries": tuple(FileEntry(**entry) for entry in row["entries"])}))


class Scoring:
    """A scorer of units that runs as an actor of Ray's pool.

    Args:
        options: Source, detector, workers and limits.
        done: Stamps and content hashes of finished units.
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
        units = (Unit.of_json(json.loads(text)) for text in batch["unit"])
        for result in self._scorer.score(units):
            yield {"unit": [json.dumps(result)]}
