"""Train from data as people have them: the function behind `meninx train`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from meninx._data.prepare import Split, load_data
from meninx._errors import OptionError
from meninx._learn.fit.training import Run
from meninx._learn.fit.training import train as train_recipe
from meninx._learn.recipe import changed_recipe, read_recipe
from meninx._learn.recipe_files import find_recipe
from meninx._learn.run_folder import check_no_run
from meninx._processes import usable_cores


def train(
    data: str | Path,
    output: str | Path,
    *,
    recipe: str | Path = "probe",
    epochs: int | None = None,
    initialization: str | None = None,
    weights: str | Path | None = None,
    freeze: str | None = None,
    heads: Sequence[str | Path] = (),
    labels: Mapping[str, str] | None = None,
    split: Split | None = None,
    allow_leaks: bool = False,
    resume: bool = False,
    further_epochs: int = 0,
) -> Run:
    """Train a detector on your own pictures.

    Args:
        data: Class folders, volumes beside their masks, or a manifest.
        output: Run folder; made if missing.
        recipe: Name of a shipped recipe or a TOML file: `probe` fits the last layer, `finetune`
            trains the shipped network, `seed` a plain ResNet-18.
        epochs: Number of epochs; None for the recipe's.
        initialization: First weights: `random`, `meninx` or `imagenet`; None for the recipe's.
        weights: File of the first weights: detector.safetensors of another run, or torchvision's.
        freeze: What keeps its first weights: `backbone`, or `features` for a linear probe; None
            for the recipe's.
        heads: Tumor-free whole heads in T1 from which a recipe simulates others.
        labels: Label of the folders of a name: `none`, `unknown`, or a type of tumor.
        split: How a data set without folds is split: `grouped`, `given`, `mended` or `random`;
            None for a table's own folds, else `grouped`.
        allow_leaks: Whether to accept folds that share slices or persons.
        resume: Whether to go on from the last finished epoch of `output`.
        further_epochs: Number of epochs of a resumed run after those of the recipe.

    Returns:
        The run: its folder, the detector file and the figures of its validation.

    Raises:
        DataError: If the data contradict themselves, or a class is missing.
        ModelError: If the weights do not fit.
        OptionError: If the options do not fit, or `output` holds another run.
    """
    folder = Path(output)
    chosen = changed_recipe(
        read_recipe(find_recipe(str(recipe))),
        initialization=initialization,
        epochs=epochs,
        frozen=freeze,
        further_epochs=further_epochs,
    )
    if further_epochs and not resume:
        raise OptionError("further_epochs goes on with a run: set resume, or epochs")
    if not resume:
        check_no_run(folder)
    manifest = load_data(
        Path(data),
        folder,
        labels=labels,
        split=split,
        allow_leaks=allow_leaks,
        workers=usable_cores(),
    )
    return train_recipe(
        manifest,
        chosen,
        folder,
        resume=resume,
        weights=None if weights is None else Path(weights),
        heads=tuple(map(Path, heads)),
    )
