"""Load a detector file and run it."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from meninx._detect.model_card import ModelCard
from meninx._detect.runtimes import FloatBatch, OnnxNetwork, thread_count
from meninx._errors import ModelError

if TYPE_CHECKING:
    from concurrent.futures import Executor

Item = TypeVar("Item")
Answer = TypeVar("Answer")
# Slices of a call. On a CPU a thread is as fast with two as with eight, and needs less memory.
_CPU_BATCH, _GPU_BATCH = 2, 8
# Name of the output of the heads that recognize sequence, plane, skull and turn.
RECOGNITION = "recognition"


class Output(NamedTuple):
    """Output of the network for b slices.

    Args:
        cell_logits: Logit of a tumor in each cell, shape (b, m, n).
        type_logits: Logit of each tumor type, shape (b, types).
        ood_scores: Out-of-distribution score of each slice, shape (b,), 1 at its threshold; all 0
            if the detector file has no out-of-distribution model.
        recognition: Logits of the recognition heads, shape (b, k); k is 0 in a file without them.
    """

    cell_logits: FloatBatch
    type_logits: FloatBatch
    ood_scores: FloatBatch
    recognition: FloatBatch

    @classmethod
    def joined(cls, parts: Iterable["Output"]) -> "Output":
        """Return the concatenated outputs of several batches."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Engine:
    """A network and its card; may be run from several threads at once.

    Args:
        path: The ONNX file.
        threads: Threads per slice; 0 for the number in `OMP_NUM_THREADS`, else all cores. If
            several scans are scored at a time, 1 is faster.

    Raises:
        ModelError: If the file can't be read or is no detector.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: the detector file can't be read: {error}") from error
        self.sha256 = hashlib.sha256(self._data).hexdigest()
        self.threads = thread_count(threads)
        self._loading = threading.Lock()
        try:
            self._network = OnnxNetwork(self._data, self.threads)
            self.card = ModelCard.from_metadata(self._network.metadata)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error

    def run(self, x: FloatBatch) -> Output:
        """Return the network's output for normalized slices.

        Args:
            x: Slices with their neighbors, normalized, shape (b, 3, h, w).

        Returns:
            Logits, out-of-distribution scores and what is recognized.
        """
        return _output_of(self._network, x)

    @contextmanager
    def workers(self, count: int, *, alone: bool = True) -> Iterator["Workers"]:
        """Yield what computes slices of a scan.

        On a CPU, threads that each compute slices of their own take two thirds of the time of
        threads that share a slice.

        Args:
            count: Number of slices.
            alone: Whether no other scan is computed at the same time.

        Yields:
            The threads.
        """
        if self._network.on_gpu or self.threads == 1 or (alone and count == 1):
            yield Workers(self.run, _GPU_BATCH if self._network.on_gpu else _CPU_BATCH)
        elif count == 1:
            yield Workers(self._run_in_one_thread, _CPU_BATCH)
        else:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(self.threads) as pool:
                yield Workers(self._run_in_one_thread, _CPU_BATCH, pool)

    def _run_in_one_thread(self, x: FloatBatch) -> Output:
        with self._loading:
            network = self._single_threaded
        return _output_of(network, x)

    @cached_property
    def _single_threaded(self) -> OnnxNetwork:
        return OnnxNetwork(self._data, 1)


class Workers:
    """Threads that compute slices of a scan.

    Args:
        run: Returns the network's output for normalized slices.
        batch: Number of slices of a call.
        pool: The threads; None for that of the caller.
    """

    def __init__(
        self, run: Callable[[FloatBatch], Output], batch: int, pool: "Executor | None" = None
    ) -> None:
        self.run = run
        self._batch = batch
        self._pool = pool

    def parts(self, count: int) -> list[slice]:
        """Return the parts of `count` slices that are run at a time."""
        return [slice(start, start + self._batch) for start in range(0, count, self._batch)]

    def map(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Iterable[Answer]:
        """Return a function's answers to items, in their order."""
        if self._pool is None:
            return map(function, items)
        return self._pool.map(function, items)


def _output_of(network: OnnxNetwork, x: FloatBatch) -> Output:
    found = network.run(x)
    return Output(
        found["cell_logits"],
        found["type_logits"],
        found.get("distance", np.zeros(len(x), dtype=np.float32)),
        found.get(RECOGNITION, np.zeros((len(x), 0), dtype=np.float32)),
    )
