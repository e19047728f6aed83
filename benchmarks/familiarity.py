"""Teach the shipped detector again what is no brain, and leave its answers as they are.

For when the gate changes and the network does not. Run: python benchmarks/familiarity.py MANIFEST
--heads HEAD ...; then benchmarks/refusals.py, which measures what is refused.
"""

import argparse
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import onnx
from ship import WEIGHTS, write_sums

from meninx.assess.cases import score_cases
from meninx.data.manifest import Manifest, read_manifest
from meninx.detect.detector import Detector
from meninx.learn.export import Origin, export_detector, load_weights, recalibrate
from meninx.learn.gate import learn_familiarity
from meninx.learn.network import CellNetwork
from meninx.learn.recipe import read_recipe
from meninx.learn.simulation import calibration_studies
from meninx.learn.training import read_examples
from meninx.learn.validation import with_refusals

RECIPE = Path(__file__).parents[1] / "recipes" / "meninx.toml"
# Of shapes, and of each real head; the gate needs fewer than the network.
HEADS = 150
# Held out from the network, and the whole heads of `recipes/meninx.toml`: for how often it refuses.
FOLD, STUDIES = 1, 96


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


def count_refusals(path: Path, manifest: Manifest, heads: Sequence[Path]) -> None:
    """Enter into a detector's file how many held-out brains it refuses, and nothing else."""
    detector = Detector(path)
    known = detector.card.calibration
    cases = score_cases(detector, manifest.fold(FOLD), workers=2)
    picture = with_refusals(known.picture, [case.findings for case in cases])
    studies = [detector.score(scan) for scan, _ in calibration_studies(STUDIES, heads)]
    volume = with_refusals(known.volume, studies)
    recalibrate(path, dataclasses.replace(known, picture=picture, volume=volume))


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
    count_refusals(path, read_manifest(options.manifest), options.heads)
    write_sums()
    print(path)


if __name__ == "__main__":
    main()
