"""Write the mean of two runs' weights as one detector, the last step of `make detector`.

The second run went on from the first: it knows more of what it saw, the first holds better on what
neither saw, and between them lies both (Wortsman et al. 2022, Robust fine-tuning of zero-shot
models). The type head is fitted again on the mean's features. Run: python benchmarks/interpolate.py
FIRST SECOND MANIFEST --heads HEAD ... --output RUN
"""

import argparse
import logging
from pathlib import Path

import torch

from meninx.data.manifest import read_manifest
from meninx.detect.calibration import Calibration
from meninx.detect.detector import Detector
from meninx.learn.export import Origin, export_detector, load_weights, recalibrate
from meninx.learn.gate import learn_familiarity
from meninx.learn.network import CellNetwork
from meninx.learn.recipe import read_recipe
from meninx.learn.study_point import study_scale
from meninx.learn.training import hashes_of, read_examples
from meninx.learn.type_head import fit_type_head

RECIPE = Path(__file__).parents[1] / "recipes" / "meninx.toml"


def mean_of(first: Path, second: Path) -> tuple[CellNetwork, set[str]]:
    """Return the mean of two files of weights, and what either was fitted on."""
    networks, seen = (CellNetwork(), CellNetwork()), set()
    for network, path in zip(networks, (first, second), strict=True):
        seen |= set(load_weights(network, path))
    states = [network.state_dict() for network in networks]
    merged = {
        name: torch.stack([state[name].float() for state in states]).mean(0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }
    networks[0].load_state_dict(merged)
    return networks[0], seen


def main() -> None:
    """Merge, fit the type head, learn what is familiar, calibrate volumes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path, help="safetensors")
    parser.add_argument("second", type=Path, help="safetensors of a run that went on from it")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--heads", type=Path, action="append", required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe, manifest = read_recipe(RECIPE), read_manifest(options.manifest)
    network, seen = mean_of(options.first, options.second)
    examples, _ = read_examples(manifest, recipe, options.heads)
    fit_type_head(network, examples, recipe.preprocessing)
    familiarity = learn_familiarity(network, examples, recipe.preprocessing, options.heads)
    learned = manifest.without_fold(recipe.training.test_fold)
    seen |= set(hashes_of(learned, options.heads))
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "detector.onnx"
    origin = Origin(manifest.sha256, tuple(sorted(seen)), bool(manifest.leaks))
    export_detector(network, recipe, Calibration(), path, origin, familiarity)
    scale = study_scale(Detector(path), recipe.sampling.calibration_phantoms, options.heads)
    recalibrate(path, Calibration(study=scale))
    print(path)


if __name__ == "__main__":
    main()
