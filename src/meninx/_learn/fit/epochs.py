"""Write and read epochs.csv, a row of figures per epoch."""

import csv
from pathlib import Path

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback


class EpochTable(Callback):
    """A callback that writes epochs.csv: epoch, learning rate, and all logged figures.

    Args:
        path: CSV file to write; a resumed run continues it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002
    ) -> None:
        """Drop the rows of epochs that will be trained again."""
        if not trainer.is_global_zero:
            return
        rows = self._rows()
        kept = [row for row in rows if int(row["epoch"]) < trainer.current_epoch]
        if len(kept) < len(rows):
            self._write(kept)

    def on_train_epoch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002
    ) -> None:
        """Add the epoch's row."""
        if not trainer.is_global_zero:
            return
        # Lightning logs the rate of each group of weights; they are equal, so one column is enough.
        figures = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if not name.startswith("lr-")
        }
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        row = {"epoch": trainer.current_epoch, "learning_rate": rate, **figures}
        self._write([*self._rows(), {name: str(value) for name, value in row.items()}])

    def _rows(self) -> list[dict[str, str]]:
        return read_epochs(self._path)

    def _write(self, rows: list[dict[str, str]]) -> None:
        if not rows:
            self._path.unlink()
            return
        with self._path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[-1]))
            writer.writeheader()
            writer.writerows(rows)


def read_epochs(path: Path) -> list[dict[str, str]]:
    """Return the rows of epochs.csv, none where there is no file yet."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
