"""The card of a detector file: preprocessing, calibration and training data of a network."""

import base64
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meninx._detect.calibration import Calibration, StudyCalibrator
from meninx._detect.calibrator import Calibrator
from meninx._detect.pooling import TOP_CELLS
from meninx._detect.preprocessing import Preprocessing
from meninx._detect.recognition import Head
from meninx._errors import ModelError

# Folder of the shipped detector; `importlib.resources` takes 5 ms to import.
WEIGHTS = Path(__file__).parents[1] / "weights"
KEY = "meninx"
# Hexadecimal digits that identify a file: the chance of any collision among a million files is
# about 1 in 40 million.
SEEN_DIGITS = 16
FORMAT = 5
# Backbone of a detector file that names none.
DEFAULT_BACKBONE = "resnet18"
# File beside the shipped weights: the license that their training data require, in one line.
_LICENSE_FILE = "LICENSE"
# File beside them: the data they were evaluated on, and the limits of that, for readers.
_MEASURED_FILE = "MEASURED"
# Bytes of a slice's descriptor (`_data/descriptors.py`), and the largest number of slices in a
# file: 1 MB of text, five characters for four bytes.
DESCRIPTOR_BYTES = 32
MAX_DESCRIPTORS = 25_000
# Value of each character in base 85 (RFC 1924); those that it lacks have the base itself.
_BASE = 85
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_DIGITS = bytes(
    _ALPHABET.index(chr(code)) if chr(code) in _ALPHABET else _BASE for code in range(256)
)


@dataclass(frozen=True)
class SeenSlices:
    """Descriptors of the training slices of a detector file, to find copies in test data.

    Args:
        descriptors: Descriptors, `DESCRIPTOR_BYTES` each, ascending; no picture can be
            reconstructed from them.
        complete: Whether they cover all training slices, including those of initial weights.
    """

    descriptors: bytes = field(default=b"", repr=False)
    complete: bool = False

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.descriptors) // DESCRIPTOR_BYTES

    def as_json(self) -> dict[str, Any]:
        """Return the descriptors as JSON."""
        text = base64.b85encode(self.descriptors).decode("ascii")
        return {"complete": self.complete, "descriptors": text}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SeenSlices":
        """Return descriptors from JSON.

        Args:
            values: Keys and values, as `as_json` returns them.

        Returns:
            The descriptors.

        Raises:
            ValueError: If the text is no base 85, or a descriptor is truncated.
        """
        descriptors = _from_base85(values["descriptors"])
        if len(descriptors) % DESCRIPTOR_BYTES:
            raise ValueError(
                f"{len(descriptors)} bytes of descriptors, expected {DESCRIPTOR_BYTES} per slice"
            )
        return cls(descriptors, bool(values["complete"]))


def _from_base85(text: str) -> bytes:
    """Return the bytes of a text in base 85.

    The same as `base64.b85decode`, in a hundredth of its time: it took half of loading a detector.
    """
    if len(text) % 5 or not text.isascii():
        return base64.b85decode(text)
    coded = text.encode("ascii").translate(_DIGITS)
    digits = np.frombuffer(coded, dtype=np.uint8).reshape(-1, 5).astype(np.uint64)
    words = digits[:, 0]
    for place in range(1, 5):
        words = words * _BASE + digits[:, place]
    if (digits >= _BASE).any() or (words >= 2**32).any():
        return base64.b85decode(text)  # which says where it is wrong
    return words.astype(">u4").tobytes()


# For weights that were trained on no picture, and for those without a record.
NOTHING_SEEN, NOT_RECORDED = SeenSlices(complete=True), SeenSlices()


@dataclass(frozen=True)
class ModelCard:
    """What prediction needs to know about a network, stored in the detector file.

    Args:
        name: Name of the recipe.
        preprocessing: Steps from a slice to the network's input.
        calibration: Calibrators of its output.
        types: Tumor types in the order of its type logits; empty if it was not trained on types.
        manifest_sha256: SHA-256 of the training set's manifest.
        top_cells: Number of a slice's highest cells whose mean is its score; 0 for all.
        seen: First digits of the SHA-256 of every file used for training, selection or
            calibration; empty if not recorded.
        seen_slices: Descriptors of the slices in those files, and in those of initial weights:
            copies of a slice have another SHA-256.
        leaking: Whether it was trained on folds that share slices or persons.
        ood_threshold: Largest accepted out-of-distribution score; None for a detector that refuses
            by rules alone.
        heads: Linear heads that recognize sequence, plane, skull and turn, in the order of their
            logits; empty for a detector without them.
        license: License of the weights, if their training data require one; empty for the license
            of the code.
        backbone: Name of the network's ResNet, for those who load its weights.
        members: SHA-256 of each detector of an ensemble; empty for a single network.
        inherited_types: Whether the weights that it started from had learned the types, and no
            picture of its own has one.
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
    heads: Mapping[str, Head] = field(default_factory=dict)
    license: str = ""
    backbone: str = DEFAULT_BACKBONE
    members: tuple[str, ...] = ()
    inherited_types: bool = False

    @property
    def network_title(self) -> str:
        """The network's kind in words, such as ResNet-18."""
        return self.backbone.replace("resnet", "ResNet-")

    def to_metadata(self) -> dict[str, str]:
        """Return the card as metadata of an ONNX file, its main facts a key each for viewers."""
        values = dataclasses.asdict(self) | {
            "seen_slices": self.seen_slices.as_json(),
            "format": FORMAT,
        }
        facts = {
            "name": self.name,
            "use": "finds tumors in brain MRI; for research, not for diagnosis",
            "license": self.license or "Apache-2.0",
            "input": f"slice below, slice, slice above: {self.preprocessing.size} px, "
            f"mean {self.preprocessing.mean:g}, standard deviation {self.preprocessing.std:g}",
            "network": self.network_title,
            "types": ", ".join(self.types) or "none",
            "files learned from": str(len(self.seen)),
            "out-of-distribution model": "none: what is no brain MRI is refused by rules alone"
            if self.ood_threshold is None
            else f"refuses scores above {self.ood_threshold:g}",
        }
        return {KEY: json.dumps(values), **facts}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ModelCard":
        """Read a card from an ONNX file's metadata.

        Args:
            metadata: Keys and values of the file.

        Returns:
            The card.

        Raises:
            ModelError: If there is none, or it has another format.
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
                # A detector that users trained has none.
                heads={
                    name: Head(**head | {"kinds": tuple(head["kinds"])})
                    for name, head in values.get("heads", {}).items()
                },
                license=str(values["license"]),
                # Files of a ResNet-18 need not name it, as the shipped ones.
                backbone=str(values.get("backbone", DEFAULT_BACKBONE)),
                members=tuple(values.get("members", ())),
                inherited_types=bool(values.get("inherited_types", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                "the file is an ONNX model but no meninx detector: its metadata lack the "
                "preprocessing; name a file that `meninx train` wrote"
            ) from error


def calibration_of(values: Mapping[str, Any]) -> Calibration:
    """Return a calibration from JSON."""
    study = values["study"]
    # Files without single slices of held-out people, as those that `meninx train` writes, lack it.
    pictures = values.get("picture_by_sequence", {})
    return Calibration(
        picture=_calibrator(values["picture"]),
        volume=_calibrator(values["volume"]),
        by_sequence=_calibrators(values["by_sequence"]),
        study=study and StudyCalibrator(dict(study["weights"]), _calibrator(study["calibrator"])),
        picture_by_sequence=_calibrators(pictures),
    )


def _calibrators(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Calibrator]:
    """Return the calibrator of each sequence from JSON."""
    return {name: _calibrator(calibrator) for name, calibrator in values.items()}


def _calibrator(values: Mapping[str, Any]) -> Calibrator:
    """Return a calibrator from JSON, with tuples for lists."""
    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    return Calibrator(**plain)


def shipped_measured() -> str:
    """Return on which data the shipped weights were evaluated, and the limits, in sentences."""
    path = WEIGHTS / _MEASURED_FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def shipped_license() -> str:
    """Return the license of the shipped weights, in one line."""
    path = WEIGHTS / _LICENSE_FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else "Apache-2.0"
