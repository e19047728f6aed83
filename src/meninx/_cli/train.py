"""Train a detector: `meninx train DATA --recipe NAME`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.console import INTERRUPTED, log_to
from meninx._cli.extras import needs_extra
from meninx._cli.labeled_data import ask_missing_labels, load_manifest
from meninx._cli.options import (
    AllowLeaksOption,
    EpochsOption,
    HeadsOption,
    LabelOption,
    RecipeOption,
    SplitOption,
    parse_split,
)
from meninx._cli.writable import check_file, check_folder
from meninx._errors import OptionError
from meninx._learn.recipe_files import find_recipe
from meninx._learn.run_folder import RUN_NAME, check_no_run
from meninx._processes import is_first_process, is_one_of_several

if TYPE_CHECKING:
    from meninx._data.manifest import Manifest
    from meninx._learn.fit.training import Run
    from meninx._learn.recipe import Recipe


def train(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Class folders (yes/no, glioma/notumor, ...), volumes beside their masks, or a "
            "manifest. May be left out with --preview.",
            show_default=False,
        ),
    ] = None,
    recipe: RecipeOption = "probe",
    epochs: EpochsOption = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Run folder; by default runs/RECIPE-DATE.", show_default=False),
    ] = None,
    initialization: Annotated[
        str | None,
        typer.Option(
            "--init",
            help="Initial weights: random, meninx or imagenet, instead of the recipe's.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Start from this file: detector.safetensors of another run, or with --init "
            "imagenet torchvision's file of the recipe's backbone.",
            show_default=False,
        ),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(help="SHA-256 that the file of --weights must have.", show_default=False),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            help="Keep the first weights of the backbone, or of all features: then only the last "
            "layer is fitted, at once (a linear probe).",
            show_default=False,
        ),
    ] = None,
    heads: HeadsOption = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Number format instead of the recipe's: bf16-mixed, 16-mixed (GPUs only), "
            "32-true, or auto for the fastest that the device has.",
            show_default=False,
        ),
    ] = None,
    label: LabelOption = None,
    split: SplitOption = None,
    allow_leaks: AllowLeaksOption = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last finished epoch of --output.")
    ] = False,
    further_epochs: Annotated[
        int,
        typer.Option(
            min=0,
            help="With --resume: epochs after those of the recipe. The learning rate begins at a "
            "tenth of its peak.",
            show_default=False,
        ),
    ] = 0,
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="PAGE",
            help="Write an HTML page that shows each transform of the recipe's augmentation on a "
            "slice of DATA, or on a synthetic one without DATA, and do not train.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a detector on your own pictures.

    Needs the extra `train`.

    A folder without a manifest gets one with five folds that share no slice. The run folder gets
    manifest.csv, run.json, training.log and detector.onnx, which `meninx predict --model` and
    `meninx evaluate` read; a probe adds probe.json, a longer training epochs.csv, curves and a log
    for TensorBoard. With --preview nothing is trained.

    On N GPUs of one machine: torchrun --standalone --nproc-per-node N -m meninx train DATA
    --recipe finetune --output RUN. The recipe's batch is that of each process. For several
    machines see docs/scale.md.
    """
    path = find_recipe(recipe)
    parse_split(split)
    with needs_extra("train"):
        from meninx._learn.recipe import changed_recipe, read_recipe
    chosen = read_recipe(path)
    if preview is not None:
        _write_preview(chosen, data, label, preview)
        return
    # After the preview, which does not need it: Lightning takes ten seconds to import.
    with needs_extra("train"):
        from meninx._learn.fit.training import train as run_training
    if data is None:
        raise OptionError(
            "DATA is missing: name class folders, volumes beside their masks, or a manifest"
        )
    if further_epochs and not resume:
        raise OptionError("--further-epochs goes on with a run: add --resume, or set --epochs")
    chosen = changed_recipe(chosen, initialization, precision, epochs, freeze, further_epochs)
    folder = _run_folder(output, path.stem, resume=resume)
    log_to(folder / "training.log", first=is_first_process())
    with _said_if_stopped(folder):
        manifest = load_manifest(data, folder, label, split, allow_leaks=allow_leaks)
        typer.echo(_use_of_folds(manifest, chosen), err=True)
        run = run_training(
            manifest,
            chosen,
            folder,
            resume=resume,
            weights=weights,
            sha256=sha256,
            heads=tuple(heads or ()),
        )
    if is_first_process():
        _print_run(run, data, manifest, chosen)


@contextmanager
def _said_if_stopped(folder: Path) -> Iterator[None]:
    """End with status 130 and a sentence on how to go on, where a user stops a training."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if is_first_process():
            text = "run the same command again"
            if (folder / RUN_NAME).exists():
                text = f"go on after the last finished epoch with --resume --output {folder}"
            typer.echo(f"meninx: stopped; {text}", err=True)
        raise typer.Exit(INTERRUPTED) from stop


def _run_folder(output: Path | None, recipe: str, *, resume: bool) -> Path:
    """Return the run folder, checked.

    Args:
        output: Folder as the user named it; None for one named by recipe and time.
        recipe: Name of the recipe.
        resume: Whether a run in it goes on.

    Returns:
        The folder; it need not exist.

    Raises:
        OptionError: If it is missing where it is needed, holds another run, or can't be written.
    """
    if output is None and (resume or is_one_of_several()):
        reason = "--resume" if resume else "training in several processes"
        raise OptionError(f"{reason} needs --output, the run folder")
    folder = output or Path("runs") / f"{recipe}-{datetime.now():%Y%m%d-%H%M%S}"
    # The others of several processes may come when the first has begun to write.
    if not resume and is_first_process():
        check_no_run(folder)
    check_folder(folder, "--output")
    return folder


def _print_run(run: "Run", data: Path, manifest: "Manifest", recipe: "Recipe") -> None:
    """Print a run's figures, its file, and what limits the figures."""
    from meninx._learn.file.provenance import origin_of
    from meninx._learn.file.validation import CHOOSES_EPOCH, FIGURES

    test_fold = recipe.training.test_fold
    for name, value in run.figures.items():
        # A probe has no epochs to choose.
        if name == CHOOSES_EPOCH and recipe.network.frozen == "features":
            continue
        typer.echo(f"{name:8} {value:.4f}  {FIGURES[name]}", err=True)
    typer.echo(f"detector: {run.detector}", err=True)
    before = origin_of(run.folder)
    if before.license:
        typer.echo(f"its weights go on from weights under this license: {before.license}", err=True)
    if text := _seen_before(manifest, run):
        typer.echo(text, err=True)
    if test_fold in manifest.folds:
        typer.echo(
            f"fold {test_fold} was not used: meninx evaluate {run.detector} {data} --output "
            f"{run.folder / 'evaluation'}",
            err=True,
        )


def _write_preview(recipe: "Recipe", data: Path | None, label: LabelOption, page: Path) -> None:
    """Write the page that shows a recipe's augmentation."""
    if page.is_dir():
        raise OptionError(f"--preview {page}: expected an HTML file to write, found a folder")
    check_file(page, "--preview")
    with needs_extra("train"):
        from meninx._learn.input.dataset import examples_of
        from meninx._learn.input.preview import (
            pictures_to_preview,
            slices_to_preview,
            synthetic_examples,
            write_preview,
        )
    if data is None:
        examples, source = list(synthetic_examples()), "a synthetic head"
    else:
        folder = data
        rows = ask_missing_labels(label, lambda labels: pictures_to_preview(folder, labels))
        examples, source = list(examples_of(rows, unmasked=True)), str(data)
    write_preview(recipe, slices_to_preview(examples, recipe.training_canvas), source, page)
    typer.echo(f"augmentation: {page}", err=True)


def _seen_before(manifest: "Manifest", run: "Run") -> str:
    """Return how many pictures of each fold the first weights had learned from, in other copies."""
    if not run.copies_known:
        return (
            "its first weights do not say which slices they learned from: whether held-out "
            "pictures are copies of these is not known"
        )
    counts = [
        f"{run.copies[fold]} of {len(manifest.fold(fold))} in fold {fold}"
        for fold in manifest.folds
        if run.copies.get(fold)
    ]
    if not counts:
        return ""
    return (
        f"pictures that its first weights had learned from: {', '.join(counts)}; figures of these "
        "are too good, and `meninx evaluate` leaves them out"
    )


def _use_of_folds(manifest: "Manifest", recipe: "Recipe") -> str:
    """Return what each fold is used for, and how much is left out."""
    training = recipe.training
    chosen = "how far the layer moves" if recipe.network.frozen == "features" else "the epoch"
    out = {training.test_fold, *training.left_out} & set(manifest.folds)
    parts = []
    for what, folds in (
        ("left out, for meninx evaluate", out),
        (f"to choose {chosen} and calibrate", {training.validation_fold} & set(manifest.folds)),
        ("to learn from", set(manifest.folds) - out - {training.validation_fold}),
    ):
        count = sum(picture.fold in folds for picture in manifest.pictures)
        names = ", ".join(map(str, sorted(folds)))
        if folds:
            parts.append(f"{count} {what} (fold {names})")
    return f"of {len(manifest.pictures)} pictures: {'; '.join(parts)}"
