"""Make a detector from trained weights: factorize, fit types and the OOD model, export.

Works on packed slices, like the training. Calibrators are fitted afterwards, on held-out people
(lab/release/held_out_people.py). Run: python -m lab.release.finish PACK ... --weights FILE
--manifest PEOPLE.csv --heads FOLDER --output RUN [--leave-out 1 5 6]
"""

import argparse
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.release.low_rank import KEPT, factorize, inputs_of_each_kind
from lab.release.packing import unpack, without_folds
from lab.release.type_head import fit_type_head
from meninx._data.descriptors import descriptors_of, seen_slices
from meninx._data.manifest import Picture, read_manifest
from meninx._detect.calibration import Calibration
from meninx._detect.model_card import shipped_license
from meninx._learn.file.build_detector import build_detector
from meninx._learn.file.export import TrainingData, load_weights
from meninx._learn.fit.training import DETECTOR_NAME, descriptors_of_head, hashes_of
from meninx._learn.model.network import CellNetwork
from meninx._learn.recipe import read_recipe
from meninx._synthesis.packed_heads import packed_heads

RECIPE = Path(__file__).parents[2] / "recipes" / "meninx.toml"
# The collection whose license applies to all weights that learn from it (people.py names it).
NON_COMMERCIAL = "lgg"


def license_of(learned: Iterable[Picture]) -> str:
    """Return the license of weights that learn from pictures; empty for the code's license."""
    is_restricted = any(picture.source == NON_COMMERCIAL for picture in learned)
    return shipped_license() if is_restricted else ""


def main(arguments: Sequence[str] | None = None) -> None:
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
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe, manifest = read_recipe(options.recipe), read_manifest(options.manifest)
    preprocessing = recipe.preprocessing
    unpacked = unpack(options.packs, options.unpacked)
    slices = without_folds(unpacked, set(options.leave_out)).resized(preprocessing.size)
    network = CellNetwork()
    load_weights(network, options.weights)
    if options.kept < 1:
        factorize(network, inputs_of_each_kind(slices, preprocessing), options.kept)
    fit_type_head(network, slices, preprocessing)
    heads = [head for head in packed_heads(options.heads) if head.fold not in options.leave_out]
    learned = manifest.without_fold(*options.leave_out)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / DETECTOR_NAME
    training_data = TrainingData(
        manifest.sha256,
        tuple(hashes_of(learned, [])),
        bool(manifest.leaks),
        license_of(learned),
        seen_slices=seen_slices(
            [*descriptors_of(learned), *(descriptors_of_head(head.path) for head in heads)]
        ),
    )
    build_detector(
        network,
        recipe,
        slices,
        path,
        training_data,
        calibration=Calibration(),
        heads=[head.path for head in heads],
    )
    print(path)


if __name__ == "__main__":
    main()
