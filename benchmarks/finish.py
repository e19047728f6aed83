"""Make a detector of trained weights: the last step of `make detector`.

The mean of several runs of which one went on from the other: the second knows more of what it saw,
the first holds better on what neither saw, and between them lies both (Wortsman et al. 2022, Robust
fine-tuning of zero-shot models). Then its convolutions are factorized, the type head is fitted
again on the features that come of it, the gate learns them, and volumes are calibrated. Run: python
benchmarks/finish.py MANIFEST WEIGHTS ... --heads HEAD ... --output RUN
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from meninx.data.manifest import read_manifest
from meninx.detect.calibration import Calibration
from meninx.detect.detector import Detector
from meninx.detect.preprocessing import Preprocessing
from meninx.learn.dataset import Example, SliceDataset, to_batch
from meninx.learn.export import Origin, export_detector, load_weights, recalibrate
from meninx.learn.gate import learn_familiarity
from meninx.learn.low_rank import factorize
from meninx.learn.merging import mean_weights
from meninx.learn.network import CellNetwork
from meninx.learn.recipe import read_recipe
from meninx.learn.training import hashes_of, read_examples
from meninx.learn.type_head import fit_type_head
from meninx.learn.volume_point import volume_scale

RECIPE = Path(__file__).parents[1] / "recipes" / "meninx.toml"
# Slices of each kind by which convolutions are factorized, tumors and none, real and simulated.
FACTORIZED_BY = 128

log = logging.getLogger(__name__)


def mean_of(paths: Sequence[Path]) -> tuple[CellNetwork, set[str]]:
    """Return the mean of files of weights, and what any of them was fitted on."""
    networks, seen = [CellNetwork() for _ in paths], set()
    for network, path in zip(networks, paths, strict=True):
        seen |= set(load_weights(network, path))
    networks[0].load_state_dict(mean_weights([network.state_dict() for network in networks]))
    return networks[0], seen


def inputs_of_each_kind(examples: Sequence[Example], preprocessing: Preprocessing) -> Tensor:
    """Return normalized slices, as many of each kind, shape (n, 1, h, w)."""
    chosen: list[Example] = []
    for kind in sorted({example.kind for example in examples}):
        alike = [example for example in examples if example.kind == kind]
        chosen += alike[:: max(1, len(alike) // FACTORIZED_BY)][:FACTORIZED_BY]
    slices = SliceDataset(chosen, preprocessing)
    image = to_batch(slices[torch.arange(len(slices))]).image  # type: ignore[index]
    return (image - preprocessing.mean) / preprocessing.std


def main() -> None:
    """Merge, factorize, fit the type head, learn what is familiar, calibrate volumes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("weights", type=Path, nargs="+", help="safetensors of runs")
    parser.add_argument("--heads", type=Path, action="append", required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe, manifest = read_recipe(RECIPE), read_manifest(options.manifest)
    network, seen = mean_of(options.weights)
    examples, _ = read_examples(manifest, recipe, options.heads)
    log.info("factorizing convolutions")
    factorize(network, inputs_of_each_kind(examples, recipe.preprocessing))
    log.info("fitting the type head")
    fit_type_head(network, examples, recipe.preprocessing)
    log.info("learning what is familiar")
    familiarity = learn_familiarity(network, examples, recipe.preprocessing, options.heads)
    learned = manifest.without_fold(recipe.training.test_fold)
    seen |= set(hashes_of(learned, options.heads))
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "detector.onnx"
    origin = Origin(manifest.sha256, tuple(sorted(seen)), bool(manifest.leaks))
    export_detector(network, recipe, Calibration(), path, origin, familiarity)
    log.info("calibrating volumes")
    scale = volume_scale(Detector(path), recipe.sampling.calibration_phantoms, options.heads)
    recalibrate(path, Calibration(volume=scale))
    print(path)


if __name__ == "__main__":
    main()
