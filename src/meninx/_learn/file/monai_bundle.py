"""Write a detector as a MONAI bundle: network, metadata, a configuration for inference."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from meninx._detect.loading import load_detector
from meninx._detect.model_card import ModelCard
from meninx._errors import ModelError, OptionError
from meninx._version import __version__

# The newest version of MONAI with which bundles were run.
MONAI_VERSION = "1.6.1"
_SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
_DETECTOR, _WEIGHTS = "detector.onnx", "detector.safetensors"
_TABLE = "slices.csv"
_LICENSE = "Apache-2.0, as the code."

_PAGE = """# {name}

**For research, not for diagnosis.** A detector of tumors in brain MRI as a MONAI bundle: a
{network} that gives each slice of {size} px one logit, above 0 for a tumor.

The bundle needs MONAI with `pytorch-ignite` and `fire`, and the package `meninx` with its extra
`train`: it reads and crops the scans as the detector does, because no transforms of MONAI do so.

    python -m monai.bundle run --bundle_root . --config_file configs/inference.json \\
        --meta_file configs/metadata.json --dataset_dir STUDY --output_dir OUT

It writes OUT/{table}: the name of the scan with the number of the slice, from 0 among those that
show enough of the head, and its logit.

A logit is not calibrated, and refuses nothing. Calibrated answers, refusals and heat maps come from
the same folder by `meninx predict STUDY --model models/{detector}`.

License of the weights: {license}
"""


def export_monai_bundle(detector: Path, folder: Path) -> list[Path]:
    """Write a detector as a folder of MONAI's bundle format.

    Args:
        detector: Detector file, with its weights beside it.
        folder: Folder to write; made if missing, and empty if it is there.

    Returns:
        The files: configurations, the network's weights, the detector file, page and license.

    Raises:
        ModelError: If a file is missing or damaged.
        OptionError: If the folder holds something.

    References:
        MONAI Bundle Specification, https://docs.monai.io/en/latest/mb_specification.html.
    """
    weights = detector.with_suffix(".safetensors")
    if not weights.is_file():
        raise ModelError(f"{weights}: the weights of the detector file are missing beside it")
    if folder.exists() and any(folder.iterdir()):
        raise OptionError(f"{folder}: expected an empty folder to write into")
    card = load_detector(detector, threads=1).card
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(detector, folder / "models" / _DETECTOR)
    shutil.copyfile(weights, folder / "models" / _WEIGHTS)
    # The name and the format that MONAI asks for.
    state = {f"network.{name}": value for name, value in load_file(weights).items()}
    torch.save(state, folder / "models" / "model.pt")
    for name, values in (("metadata", _metadata(card)), ("inference", _inference())):
        text = json.dumps(values, indent=2) + "\n"
        (folder / "configs" / f"{name}.json").write_text(text, encoding="utf-8")
    page = _PAGE.format(
        name=card.name,
        network=card.network_title,
        size=card.preprocessing.size,
        detector=_DETECTOR,
        table=_TABLE,
        license=card.license or _LICENSE,
    )
    (folder / "docs" / "README.md").write_text(page, encoding="utf-8")
    (folder / "docs" / "license.txt").write_text(
        (card.license or _LICENSE) + "\n", encoding="utf-8"
    )
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _metadata(card: ModelCard) -> dict[str, Any]:
    """Return configs/metadata.json."""
    size = card.preprocessing.size
    tensor = {"dtype": "float32", "value_range": [], "is_patch_data": False}
    image = {
        **tensor,
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": 3,
        "spatial_shape": [size, size],
        "channel_def": {"0": "slice below", "1": "slice", "2": "slice above"},
    }
    prediction = {
        **tensor,
        "type": "image",
        "format": "classes",
        "num_channels": 1,
        "spatial_shape": [],
        "channel_def": {"0": "logit of a tumor in the slice, not calibrated"},
    }
    return {
        "schema": _SCHEMA,
        "version": __version__,
        "changelog": {__version__: "exported by meninx"},
        "monai_version": MONAI_VERSION,
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "meninx": __version__,
            "pytorch-ignite": "0.5.5",
        },
        "optional_packages_version": {},
        "name": card.name,
        "task": "Tumor or no tumor in slices of brain MRI",
        "description": f"{card.network_title} of meninx. For research, not for diagnosis.",
        "authors": "see the license",
        "copyright": card.license or _LICENSE,
        "intended_use": "Research only",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": prediction}},
    }


def _inference() -> dict[str, Any]:
    """Return configs/inference.json: a batch is a scan, its slices are the examples."""
    return {
        "imports": ["$import meninx", "$import meninx.torch"],
        "bundle_root": ".",
        "dataset_dir": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "detector_file": f"$@bundle_root + '/models/{_DETECTOR}'",
        "detector": "$meninx.load_detector(@detector_file)",
        "preprocessing": "$lambda item: {"
        "'image': meninx.torch.inputs(item['scan'], @detector), 'scan': item['scan'].name}",
        "dataset": {
            "_target_": "monai.data.Dataset",
            "data": "$[{'scan': scan} for scan in meninx.read_scans(@dataset_dir)]",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "torch.utils.data.DataLoader",
            "dataset": "@dataset",
            "collate_fn": "$lambda items: items[0]",
        },
        "network_def": {"_target_": "meninx.torch.SliceClassifier", "path": "@detector_file"},
        "network": "$@network_def.to(@device)",
        "inferer": {"_target_": "monai.inferers.SimpleInferer"},
        "handlers": [
            {
                "_target_": "monai.handlers.ClassificationSaver",
                "output_dir": "@output_dir",
                "filename": _TABLE,
                "batch_transform": "$lambda batch: [{'filename_or_obj': "
                "f\"{batch['scan']} {place}\"} for place in range(len(batch['image']))]",
                "output_transform": "$lambda output: output['pred']",
            }
        ],
        "evaluator": {
            "_target_": "monai.engines.SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "val_handlers": "@handlers",
            "decollate": False,
        },
        "run": ["$@evaluator.run()"],
    }
