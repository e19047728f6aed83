"""Write the measured figures into the README, so that none is typed by hand.

Run: python benchmarks/figures.py, after benchmarks/volumes.py and benchmarks/speed.py.
"""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "docs" / "evidence"
BEGIN, END = "<!-- figures: written by benchmarks/figures.py -->", "<!-- end of figures -->"


def volumes_table() -> str:
    """Return the table of scans that nothing was fitted on."""
    table = json.loads((EVIDENCE / "volumes.json").read_text(encoding="utf-8"))["table"]
    heading = ("set", "AUROC over slices", "AUROC within patient", "hottest voxel in the tumor",
               "AUROC of position and brightness alone")  # fmt: skip
    rows = [heading, ["---"] * len(heading)]
    for name, figures in table.items():
        cells = [
            f"{value:.2f} [{low:.2f}, {high:.2f}]"
            for value, low, high in (
                figures[key] for key in ("pooled", "within", "peak", "baseline")
            )
        ]
        rows.append([name, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def speed_table() -> str:
    """Return the table of times."""
    speed = json.loads((EVIDENCE / "speed.json").read_text(encoding="utf-8"))
    rows = [["what", speed["machine"]], ["---", "---"]]
    rows += [[name, f"{value:.2f}"] for name, value in speed["figures"].items() if value]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def with_figures(text: str) -> str:
    """Return a README with the tables between its two marks."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{volumes_table()}\n\n{speed_table()}\n\n{END}{after}"


def main() -> None:
    """Rewrite README.md."""
    readme = ROOT / "README.md"
    readme.write_text(with_figures(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
