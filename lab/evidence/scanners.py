"""Try every DICOM series of MENINX_DATA; count results by scanner, field strength, sequence, plane.

Only vendors and numbers are kept. Pictures, NIfTI volumes and the slices of `lgg/` have no header
that names a scanner: they are measured by curated.py and volumes.py.
Run: python -m lab.evidence.scanners --json docs/evidence/scanners.json
"""

import argparse
import json
import os
from collections import Counter
from pathlib import Path

from meninx._detect.loading import load_detector
from meninx._render.result import Result
from meninx._scan.dicom.values import text
from meninx._scoring.loop import score_path

UNSTATED = "not stated"
# First word of a manufacturer's name as headers have it, and the vendor.
VENDORS = {"siemens": "Siemens", "philips": "Philips", "ge": "GE", "toshiba": "Canon"}


def _vendor_of(result: Result) -> str:
    if not result.headers:
        return UNSTATED
    words = text(result.headers[0], "Manufacturer").lower().split()
    return VENDORS.get(words[0], "other") if words else UNSTATED


def _field_of(result: Result) -> str:
    """Return the field strength, T: also of an enhanced file, where it may stand deeper."""
    for header in result.headers[:1]:
        for element in header.iterall():
            if element.keyword == "MagneticFieldStrength" and element.value:
                tesla = float(element.value)
                # Some headers state it in gauss.
                return f"{tesla / 10_000 if tesla > 100 else tesla:.1f} T"
    return UNSTATED


def counts_of(data: Path) -> list[dict[str, str | int]]:
    """Return the number of scans of each kind."""
    detector = load_detector(threads=1)
    found: Counter[tuple[str, ...]] = Counter()
    for series in sorted({path.parent for path in (data / "dicom").rglob("*.dcm")}):
        for result in score_path(detector, series):
            findings, scan = result.findings, result.scan
            plane = scan.view.plane if scan is not None and scan.affine is not None else None
            outcome = findings.status if findings.status == "scored" else findings.reason or ""
            found[
                _vendor_of(result),
                _field_of(result),
                findings.sequence,
                plane or UNSTATED,
                outcome,
            ] += 1
    keys = ("vendor", "field", "sequence", "plane", "result")
    return [
        dict(zip(keys, kind, strict=True)) | {"scans": count}
        for kind, count in sorted(found.items())
    ]


def main() -> None:
    """Count, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="file of the counts")
    options = parser.parse_args()
    rows = counts_of(Path(os.environ["MENINX_DATA"]))
    options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
