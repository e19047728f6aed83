"""Write the tables of the conformance statement in docs/hospital.md from the code.

Run: python -m lab.pictures.conformance
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import (
    DEFAULT_TRANSFER_SYNTAXES,
    PYNETDICOM_IMPLEMENTATION_UID,
    PYNETDICOM_IMPLEMENTATION_VERSION,
    StoragePresentationContexts,
)

from lab.pictures.figures.tables import as_table
from meninx._clinic.dimse_peer import COMMITMENT, FIND, MOVE, PLAIN, VERIFICATION
from meninx._clinic.node_settings import NodeSettings
from meninx._clinic.results import RESULT_CLASSES
from meninx._clinic.storage_provider import entity_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "hospital.md"
BLOCK = re.compile(r"(<!-- conformance -->\n).*?(<!-- end of conformance -->)", re.DOTALL)


# Transfer syntaxes that are listed by name.
_MOST = 5


def _syntaxes(uids: Iterable[str]) -> str:
    """Return transfer syntaxes in words: all names of few, the number of many."""
    names = [UID(uid).name.removesuffix(": Default Transfer Syntax for DICOM") for uid in uids]
    return ", ".join(names) if len(names) <= _MOST else f"all {len(names)} that pynetdicom knows"


def _accepted() -> Iterator[tuple[str, ...]]:
    """Yield a row for each class that the node accepts."""
    for context in entity_of(NodeSettings(Path())).supported_contexts:
        uid = UID(str(context.abstract_syntax))
        yield uid.name, f"`{uid}`", "SCP", _syntaxes(context.transfer_syntax)


def _requested() -> Iterator[tuple[str, ...]]:
    """Yield a row for each class that is requested of other systems, and by what."""
    rows = (
        (VERIFICATION, "`config check`", "SCU", PLAIN),
        (
            FIND,
            "`fetch-study`; `receive` after a failed delivery, at the level of images",
            "SCU",
            PLAIN,
        ),
        (MOVE, "`fetch-study`", "SCU", PLAIN),
        (
            COMMITMENT,
            "`receive`, to report on an association of its own",
            "SCP",
            DEFAULT_TRANSFER_SYNTAXES,
        ),
    )
    for uid, verb, role, syntaxes in rows:
        yield uid.name, f"`{uid}`", verb, role, _syntaxes(syntaxes)
    for name, uid in {uid.name: uid for uid in RESULT_CLASSES.values()}.items():
        yield name, f"`{uid}`", "`receive`, `send`", "SCU", _syntaxes([ExplicitVRLittleEndian])
    yield "any other storage class", "", "`send`", "SCU", "that of the file"
    count = f"{len(StoragePresentationContexts)} storage classes"
    yield count, "", "`fetch-study`, for what C-MOVE brings", "SCP", "pynetdicom's defaults"
    for service, verb in (
        ("STOW-RS", "`receive`, `send`"),
        ("QIDO-RS", "`config check`, `fetch-study`, `score-archive`; `receive` as with FIND"),
        ("WADO-RS", "`fetch-study`, `score-archive`"),
    ):
        yield service, "", verb, "user agent", "`application/dicom`, `application/dicom+json`"


def _limits() -> Iterator[tuple[str, str]]:
    """Yield a row for each property of the node's associations."""
    settings = NodeSettings(Path())
    entity = entity_of(settings)
    yield "application entity title, unless `--title` names another", f"`{entity.ae_title}`"
    yield "port, unless `--port` names another", str(settings.port)
    yield "associations at a time (`--associations`)", str(entity.maximum_associations)
    yield "largest PDU", f"{entity.maximum_pdu_size:,} bytes"
    yield "silence that ends an association", f"{entity.network_timeout:g} s"
    yield "implementation class UID", f"`{PYNETDICOM_IMPLEMENTATION_UID}`"
    version = re.sub(r"\d+", "N", PYNETDICOM_IMPLEMENTATION_VERSION)
    yield "implementation version name, with pynetdicom's version", f"`{version}`"


def conformance_page() -> str:
    """Return docs/hospital.md with the tables as the code has them."""
    parts = [
        "**Accepted by `meninx receive`**",
        as_table(("SOP class", "UID", "role", "transfer syntaxes"), _accepted()),
        "**Requested of other systems**",
        as_table(("SOP class or service", "UID", "by", "role", "transfer syntaxes"), _requested()),
        "**Associations**",
        as_table(("property", "value"), _limits()),
    ]
    text = PAGE.read_text(encoding="utf-8")
    return BLOCK.sub(lambda block: block[1] + "\n" + "\n\n".join(parts) + "\n\n" + block[2], text)


if __name__ == "__main__":
    PAGE.write_text(conformance_page(), encoding="utf-8")
