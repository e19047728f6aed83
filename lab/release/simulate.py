"""Simulate the heads of a recipe and pack their slices, on all cores.

HEADS is a folder of packed heads. Run: python -m lab.release.simulate HEADS --output PACK
[--recipe FILE]
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from lab.release.packing import write_pack
from meninx._learn.input.simulation import simulated_examples
from meninx._learn.recipe import read_recipe
from meninx._synthesis.packed_heads import packed_heads

RECIPE = Path(__file__).parents[2] / "recipes" / "meninx.toml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = read_recipe(options.recipe)
    sampling, heads = recipe.sampling, tuple(packed_heads(options.heads))
    examples = simulated_examples(
        sampling.phantoms, sampling.augmented_heads, heads, sampling.treated
    )
    size = write_pack(examples, recipe.training_canvas, options.output)
    print(f"{options.output}: {len(examples)} slices of {len(heads)} heads, {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
