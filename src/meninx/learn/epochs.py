"""Write one row of figures an epoch, over as many sittings as a training takes."""

import csv
from pathlib import Path

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback


class EpochTable(Callback):
    """Keep epochs.csv: the epoch, its learning rate, and all that was logged.

    Args:
        path: The file; a resumed run goes on in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002
    ) -> None:
        """Drop rows of epochs that are about to be trained again."""
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
        # Lightning names the rate once for each group of weights; one column of it is enough.
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
