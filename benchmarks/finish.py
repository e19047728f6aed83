"""Make a detector of trained weights: factorize, name types, learn what is familiar, export.

Works on packed slices, as the training did. Scales are fitted afterwards, by people that were held
out (benchmarks/held_out_people.py). Run: python benchmarks/finish.py PACK ... --weights FILE
--manifest PEOPLE.csv --heads FOLDER --output RUN [--leave-out 1 5 6]
"""

import argparse
import logging
from pathlib import Path

import torch
from torch import Tensor

from meninx.data.manifest import read_manifest
from meninx.detect.calibration import Calibration
from meninx.detect.preprocessing import Preprocessing
from meninx.learn.dataset import CONTEXT, SliceDataset
from meninx.learn.export import Origin, export_detector, load_weights
from meninx.learn.gate import learn_familiarity
from meninx.learn.heads import packed_heads
from meninx.learn.low_rank import KEPT, factorize
from meninx.learn.network import CellNetwork
from meninx.learn.packing import unpack
from meninx.learn.recipe import read_recipe
from meninx.learn.training import DETECTOR_NAME, hashes_of
from meninx.learn.type_head import fit_type_head

RECIPE = Path(__file__).parents[1] / "recipes" / "meninx.toml"
# Slices of each kind by which convolutions are factorized, tumors and none, real and simulated.
FACTORIZED_BY = 128

log = logging.getLogger(__name__)


def inputs_of_each_kind(slices: SliceDataset, preprocessing: Preprocessing) -> Tensor:
    """Return normalized slices, as many of each kind, shape (n, 3, h, w)."""
    chosen: list[int] = []
    for kind in sorted(set(slices.kind.tolist()) - {CONTEXT}):
        alike = torch.nonzero(slices.kind == kind).flatten().tolist()
        chosen += alike[:: max(1, len(alike) // FACTORIZED_BY)][:FACTORIZED_BY]
    image = slices.batch(torch.tensor(chosen)).image
    return (image - preprocessing.mean) / preprocessing.std


def main() -> None:
    """Write the detector."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--heads", type=Path, required=True, help="folder of packed heads")
    parser.add_argument("--leave-out", type=int, nargs="*", default=[1], help="folds")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--kept", type=float, default=KEPT, help="1 leaves convolutions whole")
    parser.add_argument("--unpacked", type=Path, default=Path("runs/unpacked"))
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe, manifest = read_recipe(options.recipe), read_manifest(options.manifest)
    preprocessing = recipe.preprocessing
    slices = unpack(options.packs, options.unpacked).without_folds(set(options.leave_out))
    slices = slices.resized(preprocessing.size)
    network = CellNetwork()
    load_weights(network, options.weights)
    if options.kept < 1:
        log.info("factorizing convolutions")
        factorize(network, inputs_of_each_kind(slices, preprocessing), options.kept)
    log.info("fitting the type head")
    fit_type_head(network, slices, preprocessing)
    log.info("learning what is familiar")
    heads = [head for head in packed_heads(options.heads) if head.fold not in options.leave_out]
    familiarity = learn_familiarity(network, slices, preprocessing, [head.path for head in heads])
    learned = manifest.without_fold(*options.leave_out)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / DETECTOR_NAME
    origin = Origin(manifest.sha256, tuple(hashes_of(learned, [])), bool(manifest.leaks))
    export_detector(network, recipe, Calibration(), path, origin, familiarity)
    print(path)


if __name__ == "__main__":
    main()
