"""Make a manifest with fair folds: `meninx prepare DATA`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.labeled_data import ask_missing_labels, describe_manifest, split_chooser
from meninx._cli.options import AllowLeaksOption, LabelOption, SplitOption
from meninx._cli.progress import progress_of
from meninx._cli.writable import check_file
from meninx._errors import OptionError
from meninx._processes import usable_cores

if TYPE_CHECKING:
    from meninx._data.manifest import Picture


def prepare(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...",
            help="Class folders (yes/no, glioma/notumor, ...), volumes beside their masks, or a "
            "CSV with picture and tumor, and optionally person, site, sequence and slice. Several "
            "become one manifest; persons of the same name are one person.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Manifest to write; by default manifest.csv in DATA, if it is a single folder.",
            show_default=False,
        ),
    ] = None,
    split: SplitOption = None,
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 5,
    fold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE:N",
            help="Fold N for all pictures with that person, site, source, sequence or further "
            "column, such as site=HT:1 or 'person=old-*:2'; repeat it for each rule, later rules "
            "override. New folds put nothing else into fold N. A rule that puts a group into two "
            "folds is refused.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    label: LabelOption = None,
    allow_leaks: AllowLeaksOption = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a manifest.")] = False,
) -> None:
    """Write a manifest with groups, persons and folds.

    It has content hashes, too. Needs the extra `evidence`.

    Pictures of the same slice, also edited copies, get one group and one fold. Folds depend on the
    content only, not on names or order of files.
    """
    with needs_extra("evidence"):
        from meninx._data.fold_rules import parse_fold_rule
        from meninx._data.manifest import MANIFEST_NAME, read_manifest, write_manifest
        from meninx._data.prepare import prepare as make_manifest
    choose = split_chooser(split)
    rules = [parse_fold_rule(rule) for rule in fold or ()]
    if output is None and len(data) > 1:
        raise OptionError(f"{len(data)} collections; name the manifest with --output")
    path = output or (data[0] if data[0].is_dir() else data[0].parent) / MANIFEST_NAME
    if path.exists() and not force:
        raise OptionError(f"{path} exists; name another --output, or add --force to replace it")
    check_file(path, "--output")

    def make(labels: dict[str, str]) -> "list[Picture]":
        with progress_of() as progress:
            pictures, _ = make_manifest(
                data,
                split=choose,
                folds=folds,
                seed=seed,
                labels=labels,
                rules=rules,
                allow_leaks=allow_leaks,
                progress=progress,
                workers=usable_cores(),
            )
            return pictures

    pictures = ask_missing_labels(label, make)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(pictures, path)
    typer.echo(describe_manifest(read_manifest(path, allow_leaks=allow_leaks)), err=True)
    typer.echo(f"manifest: {path}", err=True)
