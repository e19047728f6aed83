"""Load a detector file and run it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from meninx._detect.model_card import ModelCard
from meninx._detect.runtimes import FloatBatch, Network, OnnxNetwork, OpenVinoNetwork, Runtime
from meninx._errors import ModelError

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
    def joined(cls, parts: Sequence["Output"]) -> "Output":
        """Return the concatenated outputs of several batches."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Engine:
    """A network and its card; may be run from several threads at once.

    Args:
        path: The ONNX file.
        threads: Threads per slice; 0 for the number in `OMP_NUM_THREADS`, else all cores. If
            several scans are scored at a time, 1 is faster.
        runtime: Library that computes the network. ONNX Runtime uses a GPU if its installed build
            supports one.

    Raises:
        ModelError: If the file can't be read or is no detector.
        OptionError: If the runtime is not installed.
    """

    def __init__(self, path: Path, threads: int = 0, runtime: Runtime = "onnxruntime") -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: the detector file can't be read: {error}") from error
        self.sha256 = hashlib.sha256(data).hexdigest()
        try:
            onnx = OnnxNetwork(data, threads)
            self.card = ModelCard.from_metadata(onnx.metadata)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        self._network: Network = onnx
        if runtime == "openvino":
            self._network = OpenVinoNetwork(data, threads, "f32")
        elif runtime == "openvino-bf16":
            self._network = OpenVinoNetwork(data, threads, "bf16")

    def run(self, x: FloatBatch) -> Output:
        """Return the network's output for normalized slices.

        Args:
            x: Slices with their neighbors, normalized, shape (b, 3, h, w).

        Returns:
            Logits, out-of-distribution scores and what is recognized.
        """
        found = self._network.run(x)
        return Output(
            found["cell_logits"],
            found["type_logits"],
            found.get("distance", np.zeros(len(x), dtype=np.float32)),
            found.get(RECOGNITION, np.zeros((len(x), 0), dtype=np.float32)),
        )
