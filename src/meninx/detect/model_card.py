"""The card of a detector file: how its inputs are prepared and its outputs calibrated."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from meninx.detect.calibration import TOP_CELLS, Calibration, Calibrator, StudyCalibrator
from meninx.detect.preprocessing import Preprocessing
from meninx.errors import ModelError

KEY = "meninx"
# Hexadecimal digits that identify a file: among a million files, two agree by chance once in some
# 10 million cases.
SEEN_DIGITS = 16
FORMAT = 4
# File beside the shipped weights: the license that their training data ask for, in one line.
LICENSE_FILE = "LICENSE"

# Names in earlier detector files (retired words), and the present ones.
EARLIER_NAMES = {"tumors": "tumor_logits", "healthy": "tumor_free_logits"}


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
    leaking: bool = False
    ood_threshold: float | None = None
    license: str = ""

    def to_metadata(self) -> dict[str, str]:
        """Return the card as the key and value that an ONNX file stores."""
        return {KEY: json.dumps(dataclasses.asdict(self) | {"format": FORMAT})}

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
                    f"{FORMAT}; export it again with this version"
                )
            return cls(
                name=values["name"],
                preprocessing=Preprocessing(**values["preprocessing"]),
                calibration=calibration_of(values["calibration"]),
                types=tuple(values["types"]),
                manifest_sha256=values["manifest_sha256"],
                top_cells=values.get("top_cells", TOP_CELLS),
                seen=tuple(values.get("seen", ())),
                leaking=bool(values.get("leaking", False)),
                ood_threshold=values.get(
                    "ood_threshold",
                    values.get("farthest"),  # a retired word, in earlier files
                ),
                license=str(values.get("license", "")),
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
    stored = values["calibrator"] if "calibrator" in values else values["scale"]
    return StudyCalibrator(dict(values["weights"]), _calibrator(stored))


def _calibrator(values: Mapping[str, Any]) -> Calibrator:
    """Return a calibrator from JSON, which has lists for tuples."""
    plain: dict[str, Any] = {
        EARLIER_NAMES.get(key, key): tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
    }
    return Calibrator(**plain)


def shipped_license() -> str:
    """Return the license of the shipped weights, in one line; it is not that of the code."""
    path = files("meninx") / "weights" / LICENSE_FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else "Apache-2.0"
