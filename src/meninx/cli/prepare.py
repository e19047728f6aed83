"""Make a manifest with fair folds: `meninx prepare DATA`."""

from pathlib import Path
from typing import Annotated

import typer

from meninx.cli.data_options import (
    ALLOW_LEAKS_OPTION,
    LABEL_OPTION,
    LabelOption,
    cores,
    describe,
    parse_labels,
    progress_of,
)
from meninx.cli.extras import needs_extra
from meninx.errors import OptionError


def prepare(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...",
            help="Class folders (yes/no, glioma/notumor, ...), volumes beside their masks, or a "
            "CSV with picture and tumor, maybe person, site, sequence and slice. Several become "
            "one manifest; people of the same name count as one.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="The manifest; by default manifest.csv in DATA, if that is one.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="grouped: copies and persons stay together; given: the collection's own test "
            "half is fold 1, or a table's own folds; mended: these, with what lies in several "
            "moved whole to one; random: the leaking way, for comparison."
        ),
    ] = "grouped",
    folds: Annotated[int, typer.Option(help="How many.")] = 5,
    fold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE:N",
            help="Fold N for all pictures with that person, site, source, sequence or further "
            "column, such as site=HT:6 or 'person=old-*:7'; again for each rule, later ones win. "
            "What must stay together is refused if a rule parts it.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another one gives another split.")] = 0,
    label: Annotated[LabelOption, LABEL_OPTION] = None,
    allow_leaks: Annotated[bool, ALLOW_LEAKS_OPTION] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a manifest.")] = False,
) -> None:
    """Write one manifest with content hashes, groups, persons and folds; needs `evidence`.

    Pictures that show the same slice, however one was made from the other, get one group and one
    fold. Content alone decides folds: file names and their order do not matter.
    """
    with needs_extra("evidence"):
        from meninx.data.fold_rules import parse_fold_rule
        from meninx.data.manifest import MANIFEST_NAME, read_manifest, write_manifest
        from meninx.data.prepare import SPLITS
        from meninx.data.prepare import prepare as make_manifest
    if split not in SPLITS:
        raise OptionError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    rules = [parse_fold_rule(rule) for rule in fold or ()]
    if output is None and len(data) > 1:
        raise OptionError(f"{len(data)} collections; name the manifest with --output")
    path = output or (data[0] if data[0].is_dir() else data[0].parent) / MANIFEST_NAME
    if path.exists() and not force:
        raise OptionError(f"{path} exists; name another --output, or add --force to replace it")
    with progress_of() as progress:
        pictures, found = make_manifest(
            data, split=split, folds=folds, seed=seed, labels=parse_labels(label),
            rules=rules, allow_leaks=allow_leaks, progress=progress,
            workers=cores(),
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(pictures, path)
    for facts in found.facts:
        if facts.error is not None:
            typer.echo(f"left out: {facts.path}: {facts.error}", err=True)
    splits = {item.split for item in found.items} - {""}
    if splits and split == "grouped":
        typer.echo(
            f"the folders' own split ({', '.join(sorted(splits))}) is noted but not used; "
            "--split given keeps it",
            err=True,
        )
    typer.echo(describe(read_manifest(path, allow_leaks=allow_leaks)), err=True)
    typer.echo(f"manifest: {path}", err=True)
