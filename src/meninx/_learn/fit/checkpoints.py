"""Write checkpoints straight to disk."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO


class DirectCheckpointIO(TorchCheckpointIO):
    """Checkpoints on a local disk, each whole or not there.

    Lightning's own first makes the file in memory, twice: of 180 MB that takes four times the
    processor's time, and a second more, after every epoch.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ARG002
    ) -> None:
        """Write a checkpoint; the one that lay there stays until the new one is whole.

        Args:
            checkpoint: Everything that a training goes on from.
            path: The file; its folder is made if missing.
            storage_options: Not used.
        """
        whole = Path(path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        part = whole.with_name(f"{whole.name}.part")
        # By a file of Python's: PyTorch's own writer does not say that a disk is full.
        with part.open("wb") as file:
            torch.save(checkpoint, file)
        part.replace(whole)
