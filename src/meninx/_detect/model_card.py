"""The card of a detector file: how its inputs are prepared and its outputs calibrated."""

import base64
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from meninx._detect.calibration import TOP_CELLS, Calibration, Calibrator, StudyCalibrator
from meninx._detect.preprocessing import Preprocessing
from meninx._errors import ModelError

KEY = "meninx"
# Hexadecimal digits that identify a file: among a million files, two agree by chance once in some
# 10 million cases.
SEEN_DIGITS = 16
FORMAT = 5
# File beside the shipped weights: the license that their training data ask for, in one line.
LICENSE_FILE = "LICENSE"
# File beside them: what they were measured on, and its limits, for readers.
MEASURED_FILE = "MEASURED"
# Bytes that describe a slice (`data/descriptors.py` makes and compares them), and the number of
# slices that a file holds at most: 1 MB of text, five characters for four bytes.
DESCRIPTOR_BYTES = 32
MAX_DESCRIPTORS = 25_000


@dataclass(frozen=True)
class SeenSlices:
    """What a detector file remembers of the slices that it learned from.

    Args:
        descriptors: Descriptors, `DESCRIPTOR_BYTES` each, ascending; no picture can be made of
            them.
        complete: Whether they are of all slices that it, and the files it goes on from, learned
            from: with other data no copy can then go unnoticed.
    """

    descriptors: bytes = field(default=b"", repr=False)
    complete: bool = False

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.descriptors) // DESCRIPTOR_BYTES

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        text = base64.b85encode(self.descriptors).decode("ascii")
        return {"complete": self.complete, "descriptors": text}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SeenSlices":
        """Return a record from JSON.

        Args:
            values: Keys and values, as `as_json` returns them.

        Returns:
            The record.

        Raises:
            ValueError: If the descriptors are no text of that kind, or part of one is missing.
        """
        descriptors = base64.b85decode(values["descriptors"])
        if len(descriptors) % DESCRIPTOR_BYTES:
            raise ValueError(
                f"{len(descriptors)} bytes of descriptors, expected {DESCRIPTOR_BYTES} a slice"
            )
        return cls(descriptors, bool(values["complete"]))


# Records of weights that learned from no picture, and of those that do not say.
NOTHING_SEEN, NOT_RECORDED = SeenSlices(complete=True), SeenSlices()


@dataclass(frozen=True)
class ModelCard:
    """What prediction needs to know about a network; it travels in the detector file.

    Args:
        name: Name of the recipe.
        preprocessing: Preprocessing that makes the network's input from a slice.
        calibration: Calibrators that make decisions from its output.
        types: Tumor types in the order of its type logits; empty where it never learned to tell
            them.
        manifest_sha256: SHA-256 of the training set's manifest.
        top_cells: Number of a slice's highest cells whose mean is its score; 0 for all.
        seen: First digits of the SHA-256 of every file that it was fitted on: learned from, used to
            choose the epoch or to calibrate; empty where not recorded.
        seen_slices: Record of the slices in those files, and in those of the detector files that it
            goes on from: copies of them have another SHA-256.
        leaking: Whether it was trained on folds that share slices or persons.
        ood_threshold: Largest out-of-distribution score of a known slice; None for a detector that
            refuses by rules alone.
        license: License of the weights, where their training data ask for one; empty for the
            license of the code.
    """

    name: str
    preprocessing: Preprocessing
    calibration: Calibration
    types: tuple[str, ...]
    manifest_sha256: str
    top_cells: int = TOP_CELLS
    seen: tuple[str, ...] = ()
    seen_slices: SeenSlices = NOT_RECORDED
    leaking: bool = False
    ood_threshold: float | None = None
    license: str = ""

    def to_metadata(self) -> dict[str, str]:
        """Return the card as the key and value that an ONNX file stores."""
        values = dataclasses.asdict(self) | {
            "seen_slices": self.seen_slices.as_json(),
            "format": FORMAT,
        }
        return {KEY: json.dumps(values)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ModelCard":
        """Read a card from an ONNX file's metadata.

        Args:
            metadata: Keys and values of the file.

        Returns:
            The card.

        Raises:
            ModelError: If there is none, or another version wrote it.
        """
        try:
            values = json.loads(metadata[KEY])
            if values["format"] != FORMAT:
                raise ModelError(
                    f"the detector file has format {values['format']}, this version reads "
                    f"{FORMAT}; train it again with this version"
                )
            return cls(
                name=values["name"],
                preprocessing=Preprocessing(**values["preprocessing"]),
                calibration=calibration_of(values["calibration"]),
                types=tuple(values["types"]),
                manifest_sha256=values["manifest_sha256"],
                top_cells=values["top_cells"],
                seen=tuple(values["seen"]),
                seen_slices=SeenSlices.from_json(values["seen_slices"]),
                leaking=bool(values["leaking"]),
                ood_threshold=values["ood_threshold"],
                license=str(values["license"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                "the file is an ONNX model but no meninx detector: its metadata do not say how "
                "pictures are to be prepared; name a file that `meninx train` wrote"
            ) from error


def calibration_of(values: Mapping[str, Any]) -> Calibration:
    """Return a calibration as JSON has it."""
    study = values["study"]
    return Calibration(
        picture=_calibrator(values["picture"]),
        volume=_calibrator(values["volume"]),
        by_sequence={
            name: _calibrator(calibrator) for name, calibrator in values["by_sequence"].items()
        },
        study=study and _study_calibrator(study),
    )


def _study_calibrator(values: Mapping[str, Any]) -> StudyCalibrator:
    """Return a study's calibrator from JSON."""
    return StudyCalibrator(dict(values["weights"]), _calibrator(values["calibrator"]))


def _calibrator(values: Mapping[str, Any]) -> Calibrator:
    """Return a calibrator from JSON, which has lists for tuples."""
    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    return Calibrator(**plain)


def shipped_measured() -> str:
    """Return what the shipped weights were measured on, and its limits, in sentences."""
    path = files("meninx") / "weights" / MEASURED_FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def shipped_license() -> str:
    """Return the license of the shipped weights, in one line; it is not that of the code."""
    path = files("meninx") / "weights" / LICENSE_FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else "Apache-2.0"
