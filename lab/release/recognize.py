"""Fit the heads that recognize sequence, plane, skull and turn, and write them into the package.

They read the features of the finished detector, whose own weights and outputs stay as they are.
Both files get the same heads, fitted on the features of the one in 8-bit integers. What the heads
recognize of people, and of sites, from which they did not learn, goes into a JSON file.
Run: python -m lab.release.recognize PEOPLE.csv --heads FOLDER --json FILE [--weights FOLDER]
"""

import argparse
import dataclasses
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lab.release import head_graph
from lab.release.linear_heads import (
    LinearHead,
    directions_of,
    fit_head,
)
from lab.release.recognition_figures import (
    QUESTIONS,
    Slices,
    answers_of,
    asked,
    cases_of,
    figures,
    held_out_figures,
)
from lab.release.recognition_slices import (
    LOOKED_AT,
    Labeled,
    Labels,
    labeled_slices,
    looked_at,
    picture_scan,
)
from lab.release.ship import WEIGHTS, write_sums
from meninx._data.manifest import Manifest, Picture, read_manifest
from meninx._detect.detector import Detector
from meninx._detect.engine import RECOGNITION
from meninx._detect.findings import Findings
from meninx._detect.recognition import TURNS, Head
from meninx._detect.runtimes import FloatBatch, OnnxNetwork
from meninx._scan.reading import read_one

FILES = ("meninx.onnx", "meninx-int8.onnx")
# Side of a cell of the last stage's map, pixels.
STRIDE = 16
# One slice in this number compares both files.
COMPARED = 20
# Slices of a call.
BATCH = 8
# One stack in this number gives a picture that is turned: each person has up to three.
STACK_STEP = 3


def features_of(path: Path, slices: Iterable[Labeled]) -> Slices:
    """Return the features that a detector file computes of slices, with their labels."""
    model = onnx.load(path)
    detector = Detector(path)
    head_graph.without_heads(model)
    head_graph.add_features(model, detector.card.preprocessing.size // STRIDE)
    network = OnnxNetwork(model.SerializeToString(), threads=0)
    features: list[NDArray[np.float16]] = []
    labels: list[Labels] = []
    left = iter(slices)
    while batch := list(itertools.islice(left, BATCH)):
        x = detector.card.preprocessing.normalize(np.stack([x for x, _ in batch]))
        features.append(network.run(x)[head_graph.FEATURES].astype(np.float16))
        labels += [label for _, label in batch]
    columns = zip(*labels, strict=True)
    named = {
        name: np.array(column).astype(str)
        for name, column in zip(Labels._fields, columns, strict=True)
    }
    return Slices(np.concatenate(features), named)


def write_heads(path: Path, fitted: dict[str, LinearHead], heads: dict[str, Head]) -> None:
    """Write heads into a detector file, in place of those that it has.

    Args:
        path: Detector file, rewritten in place.
        fitted: Heads by name, which read features.
        heads: Their kinds and thresholds, in the same order.

    Raises:
        ValueError: If a weight of the detector itself would change.
    """
    card = Detector(path).card
    model = onnx.load(path)
    head_graph.without_heads(model)
    before = {tensor.name: tensor.SerializeToString() for tensor in model.graph.initializer}
    weights = np.concatenate([head.weights for head in fitted.values()], axis=1)
    bias = np.concatenate([head.bias for head in fitted.values()])
    side = card.preprocessing.size // STRIDE
    head_graph.add_heads(model, side, weights.astype(np.float32), bias.astype(np.float32))
    after = {tensor.name: tensor.SerializeToString() for tensor in model.graph.initializer}
    if changed := [name for name, tensor in before.items() if after.get(name) != tensor]:
        raise ValueError(f"{path}: {', '.join(changed)} would change")
    del model.metadata_props[:]
    with_heads = dataclasses.replace(card, heads=heads)
    onnx.helper.set_model_props(model, with_heads.to_metadata())
    onnx.checker.check_model(model)
    onnx.save(model, path)


def outputs_of(path: Path, x: FloatBatch) -> dict[str, FloatBatch]:
    """Return the outputs of a detector file for normalized slices, by name."""
    network = OnnxNetwork(path.read_bytes(), threads=0)
    parts = [network.run(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def agreement(files: Sequence[dict[str, FloatBatch]], heads: dict[str, Head]) -> dict[str, float]:
    """Return for each head the share of slices of which two files name the same kind first."""
    start, shares = 0, {}
    for name, head in heads.items():
        own = slice(start, start + len(head.kinds))
        start += len(head.kinds)
        first, second = (found[RECOGNITION][:, own].argmax(axis=1) for found in files)
        shares[name] = float((first == second).mean())
    return shares


def learned_from(slices: Slices) -> NDArray[np.bool_]:
    """Return the slices that heads learn from: none of fold 1."""
    in_fold = np.char.endswith(slices.labels["person"], ", fold 1")
    return np.asarray(~(in_fold | (slices.labels["kind"] == LOOKED_AT)))


def fitted_heads(learned: Slices, inputs: NDArray[np.float32]) -> dict[str, LinearHead]:
    """Return the heads fitted on all people, which read directions."""
    heads = {}
    for question in QUESTIONS:
        known = asked(question, learned)
        heads[question] = fit_head(inputs[known], learned.labels[question][known])
    return heads


def fold_figures(
    slices: Slices,
    inputs: NDArray[np.float32],
    fitted: dict[str, LinearHead],
    heads: dict[str, Head],
) -> dict[str, Any]:
    """Return what the heads say of pictures of fold 1, from which no head learned."""
    table: dict[str, Any] = {}
    for question, head in fitted.items():
        known = asked(question, slices)
        shares = np.full((len(slices), len(head.kinds)), np.nan)
        shares[known] = head.probabilities(inputs[known])
        for case, own, own_shares in cases_of(slices, shares):
            answers = answers_of(question, own, head.kinds, own_shares)
            certain = heads[question].certain_picture
            named = answers._replace(
                likeliest=np.where(answers.certainty >= certain, answers.likeliest, "not named")
            )
            table[f"{case}, {question}"] = {
                "likeliest": figures(answers)["answers"],
                "named": figures(named)["answers"],
            }
    return table


def turned_answers(path: Path, manifest: Manifest) -> dict[str, Any]:
    """Return how the answers to turned pictures differ from those to upright ones.

    Slices from the middle of stacks, and the pictures of fold 1 that were looked at, each
    turned by 90, 180 or 270 degrees: with the heads, and without them.
    """
    with_heads, without = Detector(path), Detector(path)
    without.card = dataclasses.replace(without.card, heads={})
    rows: list[dict[str, Findings]] = []
    for number, picture in enumerate(middle_pictures(manifest)):
        scan = read_one(picture)
        turn = TURNS[1 + number % 3]
        image = np.rot90(scan.slice(0).image, turn // 90)
        upright = without.score(scan)
        kept = with_heads.score(scan)
        turned = picture_scan(image)
        rows.append(
            {
                "upright": upright,
                "upright, with heads": kept,
                "turned, as stored": without.score(turned),
                "turned, with heads": with_heads.score(turned),
            }
        )
    unit = with_heads.card.calibration.picture.unit
    return {
        name: compared([row["upright"] for row in rows], [row[name] for row in rows], unit)
        for name in rows[0]
    }


def turned_elsewhere(detector: Detector, manifest: Manifest) -> dict[str, Any]:
    """Return which Kaggle pictures, from sites that no head learned from, are turned back.

    They are upright, but for some of `kaggle-br35h`, which has pictures mirrored upside down.
    """
    rows = [row for row in manifest.pictures if row.source.startswith("kaggle")]
    turned = [row.id for row in rows if is_turned_back(detector.score(read_one(row.picture)))]
    return {"pictures": len(rows), "turned back": turned}


def is_turned_back(findings: Findings) -> bool:
    """Return whether a picture was turned back before it was scored."""
    return any(warning.code == "turned_back" for warning in findings.warnings)


def middle_pictures(manifest: Manifest) -> Iterator[Path]:
    """Yield the picture in the middle of some stacks, then those that were looked at."""
    stacks: dict[str, list[Picture]] = defaultdict(list)
    for row in manifest.pictures:
        if row.stack:
            stacks[row.stack].append(row)
    for members in list(stacks.values())[::STACK_STEP]:
        ordered = sorted(members, key=lambda row: row.position or 0)
        yield ordered[len(ordered) // 2].picture
    for row, _, _ in looked_at(manifest):
        yield row.picture


def compared(upright: Sequence[Findings], other: Sequence[Findings], unit: float) -> dict[str, Any]:
    """Return how findings of the same pictures differ.

    Args:
        upright: Findings of the pictures upright.
        other: Findings of them in another way.
        unit: Unit of the logits.

    Returns:
        Numbers of pictures, of turned-back and refused ones, the share whose answer differs, and
        the mean and largest change of a logit, in units.
    """
    pairs = list(zip(upright, other, strict=True))
    moved = [
        abs(first.logit - second.logit) / unit
        for first, second in pairs
        if first.logit is not None and second.logit is not None
    ]
    differ = [(a.status, a.decision) != (b.status, b.decision) for a, b in pairs]
    return {
        "pictures": len(pairs),
        "turned back": sum(is_turned_back(findings) for findings in other),
        "refused": sum(b.status == "refused" for _, b in pairs),
        "other answer": float(np.mean(differ)),
        "change of logit": [float(np.mean(moved)), float(np.max(moved))],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, help="of people and pictures: people.py wrote it")
    parser.add_argument("--heads", type=Path, required=True, help="folder of packed heads")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of both files")
    options = parser.parse_args(arguments)
    manifest = read_manifest(options.manifest)
    paths = [options.weights / name for name in FILES]
    detector = Detector(paths[-1])
    compared_inputs: list[NDArray[np.float32]] = []

    def slices() -> Iterator[Labeled]:
        found = labeled_slices(detector, manifest, options.heads)
        for number, (x, labels) in enumerate(found):
            if number % COMPARED == 0:
                compared_inputs.append(x)
            yield x, labels

    every = features_of(paths[-1], slices())
    is_learned = learned_from(every)
    learned, others = every[is_learned], every[~is_learned]
    directions = directions_of(learned.features)
    inputs = directions.of(learned.features)
    table, heads = held_out_figures(learned, inputs)
    fitted = fitted_heads(learned, inputs)
    table["fold 1"] = fold_figures(others, directions.of(others.features), fitted, heads)
    on_features = {name: head.on_features(directions) for name, head in fitted.items()}
    for path in paths:
        write_heads(path, on_features, heads)
    write_sums(options.weights)
    x = detector.card.preprocessing.normalize(np.stack(compared_inputs))
    table["agreement of both files"] = agreement([outputs_of(path, x) for path in paths], heads)
    table["turned pictures"] = turned_answers(paths[-1], manifest)
    table["pictures of other sites"] = turned_elsewhere(Detector(paths[-1]), manifest)
    options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
