"""Measure a detector on held-out real volumes, as for the README.

Run: python -m lab.evidence.volumes [--model FILE] [--json FILE] [--maps FOLDER]; `make evidence`
does so with the shipped detector.
"""

import argparse
import dataclasses
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from meninx._assess.referral import referral_curve
from meninx._assess.volumes import (
    VolumeResult,
    bootstrap_interval,
    measure_findings,
    peak_share,
    pooled_auroc,
    within_auroc,
)
from meninx._data.volume_masks import read_mask
from meninx._detect.calibrator import OPERATING_POINTS
from meninx._detect.detector import Detector
from meninx._detect.findings import Findings, SliceFinding
from meninx._detect.loading import load_detector
from meninx._render.heatmap import gray_picture, overlay, slice_heatmap
from meninx._scan.reading import read_scans
from meninx._scan.scan import Scan
from meninx._synthesis.phantom_studies import make_studies

SETS = {
    "brats18 FLAIR": ("brats18", "flair", "tumor-mask"),
    "brats18 T1": ("brats18", "t1", "tumor-mask"),
    "brats13 T1c": ("brats13", "t1c", "tumor-labels"),
}
FIGURES = {"pooled": pooled_auroc, "within": within_auroc, "peak": peak_share}
# Healthy and held out: one person, and phantoms of seeds that are not used elsewhere.
HEALTHY_SCAN = "dicom/healthy-adult-sagittal-t1"
HEALTHY_PHANTOMS, FIRST_HEALTHY_SEED = 20, 7_000_000
MAPS, PANEL = 10, 240
OUTLINE = (0, 255, 0)


def measure(
    detector: Detector, root: Path, image: str, mask: str
) -> tuple[list[VolumeResult], list[Findings], list[Image.Image]]:
    """Return results, findings and heat maps of all patients of one set."""
    results, found, maps = [], [], []
    patients = sorted(root.iterdir())
    for number, patient in enumerate(patients):
        (scan,) = read_scans(patient / f"{image}.nii.gz")
        tumor = read_mask(patient / f"{mask}.nii.gz", scan)
        findings = detector.score(scan)
        results.append(measure_findings(findings, scan, tumor))
        found.append(findings)
        count = MAPS * (number + 1) // len(patients) - MAPS * number // len(patients)
        maps += heat_maps(findings, scan, tumor, count)
    return results, found, maps


def heat_maps(findings: Findings, scan: Scan, tumor: np.ndarray, count: int) -> list[Image.Image]:
    """Return slices at regular intervals of the tumor, each with its heat map beside it."""
    covered = [finding for finding in findings.slices if scan.view.cut(tumor, finding.index).any()]
    chosen = [covered[int((n + 0.5) / count * len(covered))] for n in range(count)]
    pictures = []
    for finding in chosen:
        pictures.append(heat_picture(finding, scan, scan.view.cut(tumor, finding.index)))
    return pictures


def heat_picture(finding: SliceFinding, scan: Scan, mask: np.ndarray) -> Image.Image:
    """Return a slice, and beside it the slice with heat map and mask outline."""
    plain = scan.slice(finding.index)
    image = plain.image
    warm = overlay(image, slice_heatmap(finding, plain))
    warm[mask ^ ndimage.binary_erosion(mask)] = OUTLINE
    panels = np.concatenate([gray_picture(image), warm], axis=1)
    picture = Image.fromarray(panels).resize((2 * PANEL, PANEL))
    caption = f"{scan.name} slice {finding.index}: {finding.probability:.2f}"
    ImageDraw.Draw(picture).text((4, 2), caption, fill="white")
    return picture


def write_sheet(pictures: list[Image.Image], path: Path) -> None:
    """Write pictures of equal size as a sheet of two columns."""
    width, height = pictures[0].size
    sheet = Image.new("RGB", (2 * width, height * ((len(pictures) + 1) // 2)))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % 2 * width, number // 2 * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def baseline_auroc(results: list[VolumeResult]) -> float:
    """Return the pooled AUROC of the baseline, which does not use the inside of the brain."""
    return pooled_auroc(results, "baseline")


def called_tumor(detector: Detector, findings: list[Findings]) -> dict[str, Any]:
    """Return the number of scans, their answers, and those above each operating point."""
    known = detector.card.calibration
    called = {
        point: sum(
            found.logit is not None
            and found.logit
            >= known.of(volume=found.is_volume, sequence=found.sequence).threshold(point)
            for found in findings
        )
        for point in OPERATING_POINTS
    }
    answers = Counter(found.decision or found.status for found in findings)
    return {"scans": len(findings), "answers": dict(answers), **called}


def healthy(detector: Detector, data: Path) -> dict[str, list[Findings]]:
    """Return the findings of healthy scans."""
    real = [detector.score(scan) for scan in read_scans(data / HEALTHY_SCAN)]
    studies = make_studies(2 * HEALTHY_PHANTOMS, FIRST_HEALTHY_SEED)
    made = [detector.score(study.scan) for study in studies if study.lesion is None]
    for found in (*real, *made):
        print(f"healthy {found.scan}: {found.probability:.3f}, {found.decision}", flush=True)
    return {"healthy adult": real, "healthy phantoms": made}


def referral(tumors: dict[str, list[Findings]], tumor_free: dict[str, list[Findings]]) -> list[Any]:
    """Return the referral curve; the sequences of a patient are a cluster."""
    patients = [f"{SETS[name][0]} {n}" for name, found in tumors.items() for n in range(len(found))]
    findings = [finding for found in (*tumors.values(), *tumor_free.values()) for finding in found]
    tumor = np.arange(len(findings)) < len(patients)
    names = patients + [finding.scan for finding in findings[len(patients) :]]
    cluster = np.unique(names, return_inverse=True)[1]
    scored = np.array([finding.status == "scored" for finding in findings])
    scored_findings = [finding for finding in findings if finding.status == "scored"]
    return [
        point.as_json() for point in referral_curve(scored_findings, tumor[scored], cluster[scored])
    ]


def measured(detector: Detector, data: Path, sets: list[str], maps: Path | None) -> dict[str, Any]:
    """Return all figures."""
    table, tumors = {}, {}
    for name in sets:
        folder, image, mask = SETS[name]
        results, found, pictures = measure(detector, data / "volumes" / folder, image, mask)
        if maps is not None:
            write_sheet(pictures, maps / f"{name.lower().replace(' ', '-')}.png")
        table[name] = {
            key: [figure(results), *bootstrap_interval(results, figure)]
            for key, figure in {**FIGURES, "baseline": baseline_auroc}.items()
        }
        tumors[name] = found
        slices = int(np.sum([len(result.tumor) for result in results]))
        intervals = ", ".join(
            f"{k} {v:.3f} [{a:.3f}, {b:.3f}]" for k, (v, a, b) in table[name].items()
        )
        print(f"{name}: {len(results)} patients, {slices} slices: {intervals}", flush=True)
    tumor_free = healthy(detector, data)
    called = {name: called_tumor(detector, found) for name, found in (tumors | tumor_free).items()}
    return {"table": table, "called tumor": called, "referral": referral(tumors, tumor_free)}


def main() -> None:
    """Print the figures and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--maps", type=Path, help="folder for ten heat maps of each set")
    parser.add_argument("--no-gate", action="store_true", help="score what is refused, too")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    options = parser.parse_args()
    started = time.perf_counter()
    detector = load_detector(options.model)
    if options.no_gate:
        detector.card = dataclasses.replace(detector.card, ood_threshold=None)
    data = Path(os.environ["MENINX_DATA"])
    found = {"model": detector.model, **measured(detector, data, options.sets, options.maps)}
    for name, called in found["called tumor"].items():
        print(f"{name}, called tumor: {called}")
    print(f"{time.perf_counter() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
