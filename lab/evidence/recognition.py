"""Measure what linear heads on the shipped network's features recognize: sequence, plane, rotation.

Single slices of lgg/ and tumor-free/, each in its four rotations, and scans by the mean of three
slices. Folds are parted by person: every slice is recognized by a head that was not fitted on its
person. The network itself was trained on these people, without these labels.
Run: python -m lab.evidence.recognition [--json FILE] with MENINX_DATA
"""

import argparse
import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import adaptive_avg_pool2d

from lab.release.planes import in_other_planes
from meninx._data.stacks import read_stack
from meninx._data.table_items import read_rows_of_table
from meninx._detect.head_slices import brain_slices
from meninx._detect.loading import load_detector
from meninx._learn.file.ood_model import early_features
from meninx._learn.fit.initialization import fill_from_shipped
from meninx._learn.input.dataset import SIMULATED, Example, Facts, SliceDataset
from meninx._learn.model.network import CellNetwork
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan

# Slices of a scan, at these shares of the slices that show the head.
PLACES = (0.35, 0.5, 0.65)
ROTATIONS = (0, 90, 180, 270)
SEQUENCES = ("T1", "T1c", "FLAIR")
FOLDS = 5
# Cells of the last stage's map, along each side, that tell where structures lie.
GRID = 3
# Inverse strength of the heads' L2 penalty, fixed before the first fit.
PENALTY = 0.01
BATCH = 32
REPEATS = 1000


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of a slice.

    Args:
        scan: Name of its scan.
        person: Name of its person.
        sequence: MR sequence.
        plane: Anatomic plane; empty if the geometry is unknown.
        skull: Whether the skull is shown: `on` or `stripped`.
        rotation: Counterclockwise rotation of the image, degrees.
    """

    scan: str
    person: str
    sequence: str
    plane: str
    skull: str
    rotation: int = 0


def scans(data: Path) -> Iterator[tuple[Scan, Labels]]:
    """Yield the scans with their labels; volumes of fine voxels in all planes."""
    stacks = defaultdict(list)
    for row in read_rows_of_table(data / "lgg" / "manifest.csv"):
        stacks[row.stack].append(row)
    for members in stacks.values():
        first = members[0]
        labels = Labels(first.stack, first.person, first.sequence, "axial", "on")
        yield read_stack(members)[0], labels
    skulls = _skulls(data / "tumor-free" / "manifest.csv")
    for row in read_rows_of_table(data / "tumor-free" / "manifest.csv"):
        scan = read_one(row.picture)
        skull = skulls[row.picture.name]
        for cut in (scan, *in_other_planes(scan)):
            plane = cut.view.plane or ""
            yield cut, Labels(f"{row.id} {plane}", row.person, scan.sequence, plane, skull)


def _skulls(manifest: Path) -> dict[str, str]:
    heading, *lines = manifest.read_text(encoding="utf-8").splitlines()
    columns = heading.split(",")
    volume, skull = columns.index("volume"), columns.index("skull")
    # A defaced head keeps its skull.
    return {
        cells[volume]: cells[skull].removesuffix(" (defaced)")
        for cells in (line.split(",") for line in lines)
    }


def slices_of(data: Path) -> Iterator[tuple[NDArray[np.float32], Labels]]:
    """Yield some slices of each scan, in all rotations."""
    for scan, labels in scans(data):
        shown = brain_slices(scan)
        for place in PLACES:
            image = shown[int(place * (len(shown) - 1))].image
            for rotation in ROTATIONS:
                turned = np.ascontiguousarray(np.rot90(image, rotation // 90))
                yield turned, dataclasses.replace(labels, rotation=rotation)


def features_of(images: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the features of pictures, shape (n, f): early ones, and the last stage in a grid."""
    network = CellNetwork()
    fill_from_shipped(network)
    network.eval()
    preprocessing = load_detector().card.preprocessing
    examples = (Example(image, None, Facts(SIMULATED)) for image in images)
    slices = SliceDataset(examples, preprocessing)
    found = []
    with torch.inference_mode():
        for batch in slices.batches(BATCH):
            maps = network.stage_maps((batch.image - preprocessing.mean) / preprocessing.std)
            grid = adaptive_avg_pool2d(maps[-1], GRID).flatten(1)
            found.append(torch.cat([early_features(maps), grid], dim=1).numpy())
    return np.concatenate(found)


def log_odds(
    features: NDArray[np.float32], truth: NDArray[np.str_], people: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Return the log probability of each kind, (n, k), by heads fitted on other people.

    Kinds are in alphabetical order.
    """
    answers = np.empty((len(truth), len(np.unique(truth))))
    for fitted, held_out in GroupKFold(FOLDS).split(features, truth, people):
        head = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=500),
        )
        head.fit(features[fitted], truth[fitted])
        answers[held_out] = head.predict_log_proba(features[held_out])
    return answers


def figures(
    truth: NDArray[np.str_], answers: NDArray[np.str_], people: NDArray[np.str_]
) -> dict[str, object]:
    """Return balanced accuracy with its 95 % interval over people, and the confusion matrix."""
    rng = np.random.default_rng(0)
    places = {person: np.flatnonzero(people == person) for person in np.unique(people)}
    draws = []
    for _ in range(REPEATS):
        drawn = np.concatenate([places[name] for name in rng.choice(list(places), len(places))])
        # A kind that was not drawn has no accuracy.
        kinds = np.unique(truth[drawn])
        draws.append(recall_score(truth[drawn], answers[drawn], labels=kinds, average="macro"))
    low, high = np.percentile(draws, [2.5, 97.5])
    kinds = np.unique(truth)
    return {
        "balanced accuracy": [balanced_accuracy_score(truth, answers), float(low), float(high)],
        "people": len(places),
        "kinds": kinds.tolist(),
        "confusion": confusion_matrix(truth, answers, labels=kinds).tolist(),
    }


def by_scan(
    scores: NDArray[np.float64], scans: NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the mean scores of each scan, and the place of its first slice."""
    _, first, own = np.unique(scans, return_index=True, return_inverse=True)
    means = np.stack([scores[own == number].mean(axis=0) for number in range(len(first))])
    return means, first


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    images, labels = zip(*slices_of(Path(os.environ["MENINX_DATA"])), strict=True)
    features = features_of(images)
    people = np.array([label.person for label in labels])
    scan_names = np.array([label.scan for label in labels])
    upright = np.array([label.rotation == 0 for label in labels])
    axial = np.array([label.plane == "axial" for label in labels])
    known = np.array([label.sequence in SEQUENCES for label in labels])
    placed = np.array([bool(label.plane) for label in labels])
    questions = {
        "sequence": upright & axial & known,
        "plane": upright & placed,
        "skull": upright & axial,
        "rotation": axial,
    }
    table = {}
    for name, asked in questions.items():
        truth = np.array([str(getattr(label, name)) for label in labels])[asked]
        scores = log_odds(features[asked], truth, people[asked])
        kinds = np.unique(truth)
        table[name] = {"slices": figures(truth, kinds[scores.argmax(1)], people[asked])}
        if name != "rotation":
            means, first = by_scan(scores, scan_names[asked])
            answers = kinds[means.argmax(1)]
            table[name]["scans"] = figures(truth[first], answers, people[asked][first])
        print(name, json.dumps(table[name]))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
