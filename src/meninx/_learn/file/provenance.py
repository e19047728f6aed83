"""Write and read run.json: the recipe, data and software of a run."""

import dataclasses
import json
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from meninx._data.manifest import MANIFEST_NAME, Manifest, write_manifest
from meninx._detect.model_card import NOT_RECORDED, SeenSlices
from meninx._errors import OptionError
from meninx._learn.file.export import Origin
from meninx._learn.recipe import Recipe
from meninx._learn.run_folder import RUN_NAME

_PACKAGES = (
    "meninx",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "numpy",
    "scipy",
    "pillow",
    "onnx",
)


def write_provenance(
    output: Path, recipe: Recipe, manifest: Manifest, before: Origin, processes: int
) -> None:
    """Write run.json and the manifest into a run folder.

    Args:
        output: Run folder.
        recipe: Recipe of the run.
        manifest: Manifest of its pictures.
        before: Provenance of its first weights.
        processes: Number of processes that train together: it decides the batch and the schedule.
    """
    facts = {
        "recipe": dataclasses.asdict(recipe),
        "processes": processes,
        "manifest_sha256": manifest.sha256,
        "leaks": list(manifest.leaks),
        "seen_before": list(before.seen),
        "slices_seen_before": before.seen_slices.as_json(),
        "license": before.license,
        "git": _git_state(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in _PACKAGES},
    }
    (output / RUN_NAME).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if not (output / MANIFEST_NAME).exists():
        write_manifest(manifest.pictures, output / MANIFEST_NAME)


def origin_of(output: Path) -> Origin:
    """Return the provenance of a run's first weights, from run.json."""
    facts = json.loads((output / RUN_NAME).read_text(encoding="utf-8"))
    slices = NOT_RECORDED
    if "slices_seen_before" in facts:
        slices = SeenSlices.from_json(facts["slices_seen_before"])
    return Origin(tuple(facts.get("seen_before", ())), facts.get("license", ""), slices)


def _git_state() -> str | None:
    """Return the commit of this code, with `+` if it was changed since; None if unknown."""
    folder = Path(__file__).parent
    try:
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        if tracked.returncode:
            return None
        described = subprocess.run(
            # Otherwise git would update its index.
            [
                "git",
                "--no-optional-locks",
                "describe",
                "--always",
                "--abbrev=40",
                "--dirty=+",
                "--exclude=*",
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return described.stdout.strip() or None


def check_same_run(output: Path, recipe: Recipe, manifest_sha256: str, processes: int) -> None:
    """Check that a resumed run has its original settings.

    With another fold it would validate on pictures that it was trained on. With another number of
    epochs or processes the learning rate would rise again. Further epochs may be added once.

    Args:
        output: Run folder.
        recipe: Recipe to resume with.
        manifest_sha256: SHA-256 of the manifest to resume with.
        processes: Number of processes of the resumed run.

    Raises:
        OptionError: If the recipe or the manifest differs from that of the run.
    """
    path = output / RUN_NAME
    if not path.is_file():
        return
    facts = json.loads(path.read_text(encoding="utf-8"))
    before, now = facts["recipe"], json.loads(json.dumps(dataclasses.asdict(recipe)))
    changed = sorted(_changed_keys(before, now))
    if not before["training"].get("further_epochs"):
        changed = [key for key in changed if key != "training.further_epochs"]
    if facts.get("processes", processes) != processes:
        changed.append(f"processes = {facts['processes']}")
    if facts["manifest_sha256"] != manifest_sha256:
        changed.append("the manifest")
    if changed:
        raise OptionError(
            f"{output}: this run began with other settings ({', '.join(changed)}); resume it with "
            "its own, or start a new one with another --output"
        )


def _changed_keys(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Yield the names of settings that differ, such as `training.precision`."""
    for key, value in now.items():
        earlier = before.get(key)
        if isinstance(value, dict) and isinstance(earlier, dict):
            yield from (f"{key}.{name}" for name in value if earlier.get(name) != value[name])
        elif earlier != value:
            yield key
