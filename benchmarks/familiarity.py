"""Teach the shipped detector again what is no brain, and leave its answers as they are.

For when the gate changes and the network does not. Run: python benchmarks/familiarity.py MANIFEST
--heads HEAD ...; then benchmarks/refusals.py, which measures what is refused.
"""

import argparse
import dataclasses
import logging
from pathlib import Path

import onnx
from ship import WEIGHTS, write_sums

from meninx.data.manifest import read_manifest
from meninx.detect.detector import Detector
from meninx.learn.export import Origin, export_detector, load_weights
from meninx.learn.gate import learn_familiarity
from meninx.learn.network import CellNetwork
from meninx.learn.recipe import read_recipe
from meninx.learn.training import read_examples

RECIPE = Path(__file__).parents[1] / "recipes" / "meninx.toml"
# Of shapes, and of each real head; the gate needs fewer than the network.
HEADS = 150


def keep_weights(old: onnx.ModelProto, path: Path) -> None:
    """Put a file's former weights back: those from safetensors were rounded once more."""
    model = onnx.load(path)
    former = {tensor.name: tensor for tensor in old.graph.initializer}
    for tensor in model.graph.initializer:
        if tensor.name.startswith("network.") or tensor.name.endswith("_half"):
            known = former.get(tensor.name)
            if known is not None and known.dims == tensor.dims:
                tensor.CopyFrom(known)
    onnx.save(model, path)


def main() -> None:
    """Learn and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--heads", type=Path, action="append", required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = WEIGHTS / "meninx.onnx"
    old, card = onnx.load(path), Detector(path).card
    recipe, network = read_recipe(RECIPE), CellNetwork()
    seen = load_weights(network, path.with_suffix(".safetensors"))
    sampling = dataclasses.replace(recipe.sampling, phantoms=HEADS, likenesses=HEADS // 2)
    examples, _ = read_examples(
        read_manifest(options.manifest),
        dataclasses.replace(recipe, sampling=sampling),
        options.heads,
    )
    familiarity = learn_familiarity(network, examples, recipe.preprocessing, options.heads)
    origin = Origin(card.manifest_sha256, tuple({*seen, *card.seen}), card.leaking)
    weights = path.with_suffix(".safetensors").read_bytes()
    export_detector(network, recipe, card.calibration, path, origin, familiarity)
    path.with_suffix(".safetensors").write_bytes(weights)
    keep_weights(old, path)
    write_sums()
    print(path)


if __name__ == "__main__":
    main()
