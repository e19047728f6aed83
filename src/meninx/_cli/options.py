"""Options that several verbs share, and what their values mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._detect.precision import Precision
from meninx._errors import OptionError
from meninx._logs import LogStyle

if TYPE_CHECKING:
    import ssl

    from meninx._data.prepare import Split
    from meninx._scan.geometry import Spacing

# Scans and detectors.
PathsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help="Pictures, NIfTI or DICOM files, folders or zips of these.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", help="Detector file to use instead of the shipped one.", show_default=False
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="Arithmetic of the shipped detector. int8 is twice as fast on a CPU; fp32 is for "
        "comparison, and for a GPU, which the installed build of ONNX Runtime uses if it can. A "
        "file named with --model is computed in its own format.",
    ),
]
SpacingOption = Annotated[
    str | None,
    typer.Option(
        "--spacing",
        metavar="X,Y,Z",
        help="Voxel size along the file's three axes, mm, such as 0.9,0.9,6.5: for volumes whose "
        "files lost it (NIfTI and the like; DICOM keeps its own). Without it, an implausible size "
        "is estimated from the slices, with a warning.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write one JSON object to standard output, no table.")
]

# Labeled data.
DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="Class folders, volumes beside their masks, or a manifest."
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME=LABEL",
        help="Label of the folders of that name: none, unknown, glioma, meningioma, pituitary, or "
        "out to leave them out. Repeat it for each name that does not state its label.",
        show_default=False,
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="How to treat the collection's own split (Training and Testing, or a column `fold`). "
        "keep: its test half is fold 1, which is left out; mend: likewise, but groups that lie in "
        "both halves are moved to one; redo: everything gets new folds that share nothing.",
        show_default=False,
    ),
]
AllowLeaksOption = Annotated[
    bool,
    typer.Option(
        "--allow-leaks",
        help="Go on although folds share slices or persons; every figure is then marked as "
        "leaking.",
    ),
]

# Training.
RecipeOption = Annotated[
    str, typer.Option("--recipe", help="Name of a shipped recipe, or a TOML file.")
]
EpochsOption = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="Epochs, instead of the recipe's.", show_default=False),
]
HeadsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--heads",
        help="A tumor-free whole head in T1 (NIfTI or a DICOM folder) from which a recipe "
        "simulates others; repeat it for each.",
        show_default=False,
    ),
]

# Other DICOM systems.
TitleOption = Annotated[str, typer.Option("--title", help="Our own application entity title.")]
CertificateOption = Annotated[
    Path | None, typer.Option(help="Our certificate (PEM): use TLS.", show_default=False)
]
KeyOption = Annotated[
    Path | None,
    typer.Option(help="Key of our certificate, unless the same file holds it.", show_default=False),
]
AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        help="Certificates of the authorities that sign the peers' certificates (PEM).",
        show_default=False,
    ),
]

# Services.
LogOption = Annotated[
    LogStyle, typer.Option("--log", help="Log as lines of text, or as a JSON object a line.")
]

# The data room's name for each value of --split.
SPLITS: "dict[str, Split]" = {
    "keep": "given",
    "mend": "mended",
    "redo": "grouped",
    "random": "random",
}


def parse_spacing(option: str | None) -> "Spacing | None":
    """Return the voxel size of `--spacing`.

    Args:
        option: Value of the option, as typed; None where it was left out.

    Returns:
        Voxel size along the file's axes, mm; None where the option was left out.

    Raises:
        OptionError: If the text is no voxel size.
    """
    from meninx._scan.geometry import spacing_from_text

    return None if option is None else spacing_from_text(option)


def parse_labels(options: Sequence[str] | None) -> dict[str, str]:
    """Return the labels of `--label NAME=LABEL`.

    Args:
        options: Values of the options, as typed.

    Returns:
        Labels by folder name.

    Raises:
        OptionError: If a value has no `=`.
    """
    labels = {}
    for option in options or ():
        name, equals, label = option.partition("=")
        if not equals:
            raise OptionError(f"--label {option}: expected NAME=LABEL, such as healthy=none")
        labels[name] = label
    return labels


def parse_split(option: str | None) -> "Split | None":
    """Return the meaning of `--split`.

    Args:
        option: Value of the option, as typed; None where it was left out.

    Returns:
        The data room's name of it; None where it was left out.

    Raises:
        OptionError: If it is an unknown value.
    """
    if option is None:
        return None
    if option not in SPLITS:
        raise OptionError(f"--split {option}: expected keep, mend, redo, or random to compare")
    return SPLITS[option]


def tls_context(
    certificate: Path | None, key: Path | None, authority: Path | None, *, server: bool
) -> "ssl.SSLContext | None":
    """Return a TLS context; with an authority, both sides must present a certificate.

    Args:
        certificate: File of our certificate.
        key: File of its key; None where the certificate's file holds it.
        authority: File of the certificates that sign the peers' certificates.
        server: Whether we listen.

    Returns:
        The context; None without a certificate and an authority.

    Raises:
        OptionError: If a file can't be used.

    References:
        DICOM PS3.15 B.12, BCP 195 TLS profile.
    """
    import ssl

    if certificate is None and authority is None:
        return None
    if server and certificate is None:
        raise OptionError(
            "--tls-authority without --tls-certificate: a server needs a certificate; add it"
        )
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise OptionError(
            f"TLS: {error}; expected PEM files of a certificate and its key"
        ) from error
    if server and authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
