"""Read and write what a detector file says of itself."""

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
# Enough of a SHA-256 to know a file by: among a million, two that agree are one in 10 million.
SEEN_DIGITS = 16
FORMAT = 4
# Beside the shipped weights: what their training data ask for, in one line.
LICENSE_FILE = "LICENSE"


# Earlier names of what a detector file stores, and the present ones.
EARLIER_NAMES = {"tumors": "tumor_logits", "healthy": "tumor_free_logits"}


@dataclass(frozen=True)
class ModelCard:
    """What prediction needs to know about a network; it travels in the detector file.

    Args:
        name: Of the recipe.
        preprocessing: What turns a slice into its input.
        calibration: What turns its output into a decision.
        types: Tumor types in the order of its type logits.
        manifest_sha256: Of the training set's manifest.
        top_cells: How many of a slice's highest cells make its score; 0 for the mean of all.
        seen: Beginnings of the SHA-256 of every file that it was fitted on, to learn from, to
            choose the epoch by or to calibrate with; empty where that is not recorded.
        leaking: Whether it was trained on folds that share slices or persons.
        ood_threshold: Out-of-distribution score up to which a slice is of a kind that the network
            knows; None for a detector that refuses by rule alone.
        license: Of the weights, where the data that they were fitted on ask for one; empty for that
            of the code.
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
                ood_threshold=values.get("ood_threshold", values.get("farthest")),
                license=str(values.get("license", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                "the file is an ONNX model but no meninx detector: its metadata do not say how "
                "pictures are to be prepared; write it with `meninx train`"
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
