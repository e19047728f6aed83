"""Load a detector file and run it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from meninx._detect.model_card import ModelCard
from meninx._detect.runtimes import FloatBatch, OnnxNetwork
from meninx._errors import ModelError


class Output(NamedTuple):
    """Output of the network for b slices.

    Args:
        cell_logits: Logit of a tumor in each cell, shape (b, m, n).
        type_logits: Logit of each tumor type, shape (b, types).
        ood_scores: Out-of-distribution score of each slice, shape (b,), 1 at its threshold; all 0
            if the detector file has no out-of-distribution model.
    """

    cell_logits: FloatBatch
    type_logits: FloatBatch
    ood_scores: FloatBatch

    @classmethod
    def joined(cls, parts: Sequence["Output"]) -> "Output":
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
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: the detector file can't be read: {error}") from error
        self.sha256 = hashlib.sha256(data).hexdigest()
        try:
            self._network = OnnxNetwork(data, threads)
            self.card = ModelCard.from_metadata(self._network.metadata)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error

    def run(self, x: FloatBatch) -> Output:
        """Return the network's output for normalized slices.

        Args:
            x: Slices with their neighbors, normalized, shape (b, 3, h, w).

        Returns:
            Logits and out-of-distribution scores.
        """
        found = self._network.run(x)
        return Output(
            found["cell_logits"],
            found["type_logits"],
            found.get("distance", np.zeros(len(x), dtype=np.float32)),
        )
