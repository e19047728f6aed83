"""Write a detector in the layout of Hugging Face: weights, configuration, card; nothing is sent."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from meninx._detect.calibrator import Calibrator
from meninx._detect.loading import load_detector
from meninx._detect.model_card import ModelCard, shipped_measured
from meninx._errors import ModelError, OptionError
from meninx._version import __version__

WEIGHTS, CONFIG, CARD, DETECTOR = "model.safetensors", "config.json", "README.md", "detector.onnx"
# What a configuration says of a calibrator; the detector file has the held-out logits too.
_SCALE = ("temperature", "offset", "balanced", "sensitive", "specific")
_CODE_LICENSE = "apache-2.0"
_NO_GATE = """
It has no out-of-distribution model: pictures of another organ, or of no brain, may be scored."""

_PAGE = """---
library_name: meninx
license: {license_id}
{license_name}pipeline_tag: image-classification
tags: [medical, brain, mri, tumor, research-only]
---

# {name}

**For research, not for diagnosis.** A detector of tumors in brain MRI: a {network} that scores
slices of {size} px{types}, with calibrated probabilities and heat maps.{gate}

## Use

```python
import meninx

detector = meninx.load_detector("{detector}")
for scan in meninx.read_scans("study/"):
    print(detector.score(scan).decision)
```

`{weights}` holds the weights for PyTorch (`meninx.torch.load_network("{detector}")` reads the copy
named `detector.safetensors`), `{config}` the preprocessing and the calibration, `{detector}` all of
it with the network, for ONNX Runtime.

## Training data

{seen} files, named by their SHA-256 in `{detector}`, and descriptors of {slices} slices, by which
`meninx evaluate` leaves out copies. {complete}{leaking}

## Measured

{measured}

## License

{license}

Written by meninx {version}. SHA-256 of `{detector}`: `{sha256}`.
"""


def export_hugging_face(detector: Path, folder: Path, *, shipped: bool = False) -> list[Path]:
    """Write a detector as a folder of Hugging Face's layout.

    Args:
        detector: Detector file, with its weights beside it.
        folder: Folder to write; made if missing, and empty if it is there.
        shipped: Whether it is the shipped detector, whose figures are known.

    Returns:
        The files: weights (twice, under both names), configuration, detector and card.

    Raises:
        ModelError: If a file is missing or damaged.
        OptionError: If the folder holds something.
    """
    weights = detector.with_suffix(".safetensors")
    if not weights.is_file():
        raise ModelError(f"{weights}: the weights of the detector file are missing beside it")
    if folder.exists() and any(folder.iterdir()):
        raise OptionError(f"{folder}: expected an empty folder to write into")
    loaded = load_detector(detector, threads=1)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, folder / WEIGHTS)
    shutil.copyfile(weights, folder / "detector.safetensors")
    shutil.copyfile(detector, folder / DETECTOR)
    config = json.dumps(_config_of(loaded.card), indent=2)
    (folder / CONFIG).write_text(config + "\n", encoding="utf-8")
    measured = shipped_measured() if shipped else "Not here: see the report of `meninx evaluate`."
    page = _page_of(loaded.card, loaded.model["sha256"], measured)
    (folder / CARD).write_text(page, encoding="utf-8")
    return sorted(folder.iterdir())


def _config_of(card: ModelCard) -> dict[str, Any]:
    """Return what a program needs to know of a network beside its weights."""
    calibration = card.calibration
    return {
        "model_type": "meninx",
        "architectures": ["CellNetwork" if card.top_cells else "PooledNetwork"],
        "meninx_version": __version__,
        "name": card.name,
        "backbone": card.backbone,
        "image_size": card.preprocessing.size,
        "num_channels": 3,
        "channels": ["slice below", "slice", "slice above"],
        "preprocessing": dataclasses.asdict(card.preprocessing),
        "top_cells": card.top_cells,
        "id2label": dict(enumerate(card.types)),
        "calibration": {
            "picture": _scale_of(calibration.picture),
            "volume": _scale_of(calibration.volume),
            **{name: _scale_of(own) for name, own in calibration.by_sequence.items()},
            **{
                f"{name} picture": _scale_of(own)
                for name, own in calibration.picture_by_sequence.items()
            },
        },
        "ood_threshold": card.ood_threshold,
        "manifest_sha256": card.manifest_sha256,
    }


def _types_of(card: ModelCard) -> str:
    """Return which types of tumors it names, and whether it learned them itself."""
    if not card.types:
        return ""
    names = f" and in T1 with contrast agent names {', '.join(card.types)}"
    return f"{names} (learned by its first weights alone)" if card.inherited_types else names


def _scale_of(calibrator: Calibrator) -> dict[str, float]:
    return {name: getattr(calibrator, name) for name in _SCALE}


def _page_of(card: ModelCard, sha256: str, measured: str) -> str:
    """Return the card's page."""
    own = bool(card.license)
    complete = (
        "All that it learned from is described."
        if card.seen_slices.complete
        else ("Not all that it, or the files it started from, learned from is described.")
    )
    return _PAGE.format(
        license_id="other" if own else _CODE_LICENSE,
        license_name=f"license_name: {json.dumps(card.license)}\n" if own else "",
        name=card.name,
        network=card.network_title,
        size=card.preprocessing.size,
        types=_types_of(card),
        gate="" if card.ood_threshold is not None else _NO_GATE,
        detector=DETECTOR,
        weights=WEIGHTS,
        config=CONFIG,
        seen=len(card.seen),
        slices=len(card.seen_slices),
        complete=complete,
        leaking=" LEAKING: its folds shared slices or persons." if card.leaking else "",
        measured=measured,
        license=card.license or "Apache-2.0, as the code.",
        version=__version__,
        sha256=sha256,
    )
