"""Tables of docs/limits.md."""

from collections.abc import Callable, Mapping

from lab.pictures.figures.tables import as_table, read


def scanners_table() -> str:
    """Return the table of scans that were tried, by scanner, field strength, sequence and plane."""
    rows = read("scanners")
    keys = ("vendor", "field", "sequence", "plane")
    outcomes = sorted({row["result"] for row in rows}, key=lambda name: (name != "scored", name))
    kinds = sorted({tuple(row[key] for key in keys) for row in rows})
    counts = {(*(row[key] for key in keys), row["result"]): row["scans"] for row in rows}
    return as_table(
        ("scanner", "field strength", "sequence", "plane", *outcomes),
        ((*kind, *(str(counts.get((*kind, name), "")) for name in outcomes)) for kind in kinds),
    )


TABLES: Mapping[str, Callable[[], str]] = {
    "scanners": scanners_table,
}
