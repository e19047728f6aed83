"""Evaluate models of other people: a table of scores, an ONNX classifier, or a Python function."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from meninx._assess.cases import Case, facts_of
from meninx._assess.learned_from import UNNAMED, LearnedFrom
from meninx._assess.metrics import Floats
from meninx._data.manifest import Picture, read_rows
from meninx._data.progress import Progress, silent
from meninx._data.tables import NamedFiles
from meninx._detect.calibrator import sigmoid
from meninx._detect.decision import Borders
from meninx._detect.findings import Findings
from meninx._detect.head_slices import brain_slices
from meninx._detect.preprocessing import sampled
from meninx._errors import DataError, InputError, OptionError, UnsupportedScan
from meninx._scan.intensity import intensity_range
from meninx._scan.kinds import PICTURE_SUFFIXES
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan

# Smallest distance of a probability from 0 and 1 before its logit is taken: a function's float64.
_MIN_DISTANCE = 1e-12
# Returns the logit of a tumor in each of b RGB pictures, shape (b,).
LogitsOf = Callable[[Sequence[Image.Image]], Floats]


class Scores(Protocol):
    """Where the scores of a classifier come from."""

    def logit(self, picture: Picture, scan: Scan) -> float:
        """Return the log odds of a tumor in a row of a manifest.

        Args:
            picture: Row of a manifest.
            scan: The scan of that row.

        Returns:
            Log odds, finite.

        Raises:
            InputError: If there is no score of it.
        """


@dataclass(frozen=True)
class Classifier:
    """A model that is no meninx detector, as an evaluation needs it.

    Args:
        scores: Where its scores come from.
        model: Name, and SHA-256 of its file; empty where it has none.
        how: Sentence on what its scores are, for the report.
        threshold: Probability from which on it says tumor, 0..1.
        card: Record of what it learned from.
        workers: Number of pictures that it can score at a time.
    """

    scores: Scores
    model: Mapping[str, str]
    how: str
    threshold: float = 0.5
    card: LearnedFrom = UNNAMED
    workers: int = 1

    def score(self, picture: Picture, scan: Scan) -> Findings:
        """Score a row of a manifest.

        Args:
            picture: Row of a manifest.
            scan: The scan of that row.

        Returns:
            Findings without slices; the decision is that of the threshold, and never `refer`.

        Raises:
            InputError: If there is no score of it.
        """
        logit = self.scores.logit(picture, scan)
        probability = float(sigmoid(logit))
        return Findings(
            scan=picture.id,
            status="scored",
            decision="tumor" if probability >= self.threshold else "no_tumor",
            probability=probability,
            borders=Borders(self.threshold, self.threshold),
            threshold=self.threshold,
            model=self.model,
            slice_count=len(scan),
            logit=logit,
            sequence=scan.sequence,
        )


def classified_cases(
    classifier: Classifier,
    pictures: Sequence[Picture],
    progress: Progress = silent,
    workers: int = 1,
) -> list[Case]:
    """Score labeled pictures by a classifier, each on its own, also those of a stack.

    Args:
        classifier: Model to measure.
        pictures: Rows of a manifest.
        progress: Called with a step, the amount done, and the total.
        workers: Largest number of pictures scored at a time, in threads.

    Returns:
        One case a picture, in order. Each that can be read counts: a classifier refuses nothing.
    """
    cases = []
    with ThreadPoolExecutor(min(workers, classifier.workers)) as pool:
        for case in pool.map(lambda picture: _classified(classifier, picture), pictures):
            cases.append(case)
            progress("scoring", len(cases), len(pictures))
    return cases


def _classified(classifier: Classifier, picture: Picture) -> Case:
    try:
        scan = read_one(picture.picture)
        findings = classifier.score(picture, scan)
    except InputError as error:
        return Case(picture, Findings.of_error(error, classifier.model))
    return Case(picture, findings, facts_of(picture, scan))


@dataclass(frozen=True)
class PictureScores:
    """Scores that a function computes from pictures.

    Args:
        logits_of: Function that returns the logit of each of b RGB pictures.
    """

    logits_of: LogitsOf

    def logit(self, picture: Picture, scan: Scan) -> float:
        """Return the log odds of a tumor; of a volume, those of its highest slice."""
        return float(np.max(self.logits_of(pictures_of(picture, scan))))


def pictures_of(picture: Picture, scan: Scan) -> list[Image.Image]:
    """Return what a classifier sees of a scan.

    Args:
        picture: Row of a manifest.
        scan: The scan of that row.

    Returns:
        RGB pictures: a picture file as it is stored; of any other scan each slice that shows
        enough of the head, its intensities on one scale of 8 bits.
    """
    if picture.picture.name.lower().endswith(PICTURE_SUFFIXES):
        with Image.open(picture.picture) as opened:
            return [opened.convert("RGB")]
    slices = brain_slices(scan)
    low, high = intensity_range(np.stack([shown.image for shown in sampled(slices)]))
    scale = 255 / max(high - low, float(np.finfo(np.float32).tiny))
    levels = [np.clip((shown.image - low) * scale, 0, 255) for shown in slices]
    return [Image.fromarray(image.astype(np.uint8)).convert("RGB") for image in levels]


def function_classifier(
    predict: Callable[[Image.Image], float], name: str, sha256: str = ""
) -> Classifier:
    """Return a classifier of a Python function.

    Args:
        predict: Function that returns the probability of a tumor, 0..1, in an RGB picture.
        name: Name of the model, for reports.
        sha256: SHA-256 of its file; empty where it has none.

    Returns:
        The classifier, which scores one picture at a time.
    """

    def logits(pictures: Sequence[Image.Image]) -> Floats:
        return np.array([_logit(_predicted(predict, name, picture)) for picture in pictures])

    how = f"The function {name} was given each picture in RGB, of a volume each slice."
    return Classifier(PictureScores(logits), {"name": name, "sha256": sha256}, how)


def _predicted(predict: Callable[[Image.Image], float], name: str, picture: Image.Image) -> float:
    """Return the probability that a user's function returns, checked."""
    try:
        value = float(predict(picture))
    # Whatever a stranger's function raises.
    except Exception as error:
        raise OptionError(
            f"{name}: the function failed: {type(error).__name__}: {error}"
        ) from error
    if not 0 <= value <= 1:
        raise OptionError(
            f"{name}: the function returned {value:g}, expected the probability of a tumor, 0..1"
        )
    return value


def _logit(probability: float) -> float:
    inside = min(max(probability, _MIN_DISTANCE), 1 - _MIN_DISTANCE)
    return math.log(inside / (1 - inside))


@dataclass(frozen=True)
class TableScores:
    """Scores of a table.

    Args:
        logits: Log odds of a tumor by the resolved path of a picture, and by its id.
        table: File of the table, for messages.
    """

    logits: Mapping[str, float]
    table: Path

    def logit(self, picture: Picture, scan: Scan) -> float:
        """Return the log odds that the table states.

        Args:
            picture: Row of a manifest.
            scan: The scan of that row.

        Returns:
            Log odds.

        Raises:
            UnsupportedScan: If the table has no score of the picture.
        """
        for key in (str(picture.picture.resolve()), picture.id):
            if key in self.logits:
                return self.logits[key]
        raise UnsupportedScan(
            f"{self.table} has no score of it", place=scan.name, reason="no_score"
        )


def table_classifier(table: Path, pictures: Sequence[Picture]) -> Classifier:
    """Read a table of scores.

    Args:
        table: CSV file with the columns `picture` (a path, relative to the table or to the
            working folder, a file name, or the manifest's id) and `score`. Scores are
            probabilities if all lie in 0..1, else log odds.
        pictures: Rows of the manifest that it scores.

    Returns:
        The classifier.

    Raises:
        DataError: If the file is no such table, a score is no number, a picture has two scores, or
            no picture of the data has one.
    """
    raw = table.read_bytes()
    rows = read_rows(table, raw, ("picture",))
    column = _score_column(table, rows)
    keys = _keys_of(table, [row["picture"] for row in rows], pictures)
    values = [_number(table, line, row[column]) for line, row in enumerate(rows, 2)]
    scores: dict[str, float] = {}
    for line, (key, value) in enumerate(zip(keys, values, strict=True), 2):
        if scores.setdefault(key, value) != value:
            raise DataError(f"{table}: line {line}: a second score of {key}; expected one")
    are_probabilities = all(0 <= value <= 1 for value in values)
    known = {key for row in pictures for key in (str(row.picture.resolve()), row.id)}
    unknown = len(set(scores) - known)
    if unknown == len(scores):
        raise DataError(
            f"{table}: none of its {len(scores)} pictures is in the data; expected their paths, "
            f"file names or ids, such as {pictures[0].id}"
        )
    kind = "probabilities" if are_probabilities else "log odds, because some lie outside of 0..1"
    how = f"Scores come from the table {table.name} and were taken for {kind}."
    if unknown:
        how += f" {unknown} of its pictures are not in these data."
    logits = {key: _logit(value) if are_probabilities else value for key, value in scores.items()}
    model = {"name": table.name, "sha256": hashlib.sha256(raw).hexdigest()}
    return Classifier(TableScores(logits, table), model, how)


def _score_column(table: Path, rows: Sequence[Mapping[str, str]]) -> str:
    """Return the name of the column of scores, as the table writes it."""
    if not rows:
        raise DataError(f"{table}: it has no row")
    names = [name for name in rows[0] if name.strip().lower() == "score"]
    if not names:
        raise DataError(f"{table}: no column score; its columns are {', '.join(rows[0])}")
    return names[0]


def _number(table: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{table}: line {line}: score {text!r}, expected a number")
    return value


def _keys_of(table: Path, names: Sequence[str], pictures: Sequence[Picture]) -> list[str]:
    """Return for each picture that a table names its resolved path in the data, or the name."""
    ids = {picture.id for picture in pictures}
    by_name: dict[str, list[Path]] = {}
    for picture in pictures:
        by_name.setdefault(picture.picture.name, []).append(picture.picture)
    beside, here = NamedFiles(table.parent), Path.cwd()
    keys = []
    for name in names:
        # A name with folders, which are not here, may be that of another picture.
        own = by_name.get(name, [])
        exact = [path for path in (table.parent / name, here / name) if path.exists()]
        if name in ids:
            keys.append(name)
        elif exact:
            keys.append(str(exact[0].resolve()))
        elif len(own) == 1:
            keys.append(str(own[0].resolve()))
        else:
            keys.append(str(beside(name).resolve()))
    return keys
