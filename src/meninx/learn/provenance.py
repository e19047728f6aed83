"""Write down what a run was made of, and hold a resumed one to it."""

import dataclasses
import json
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from meninx.data.manifest import MANIFEST_NAME, Manifest, write_manifest
from meninx.errors import OptionError
from meninx.learn.recipe import Recipe

PACKAGES = (
    "meninx",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "numpy",
    "scipy",
    "pillow",
    "onnx",
)
RUN_NAME = "run.json"


def write_provenance(
    output: Path, recipe: Recipe, manifest: Manifest, before: Sequence[str]
) -> None:
    """Write run.json and the manifest into a run folder.

    Args:
        output: The run folder.
        recipe: All choices.
        manifest: What it learns from.
        before: SHA-256 of what its first weights were fitted on, or their beginnings.
    """
    facts = {
        "recipe": dataclasses.asdict(recipe),
        "manifest_sha256": manifest.sha256,
        "leaks": list(manifest.leaks),
        "seen_before": list(before),
        "git": git_state(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in PACKAGES},
    }
    (output / RUN_NAME).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if not (output / MANIFEST_NAME).exists():
        write_manifest(manifest.pictures, output / MANIFEST_NAME)


def seen_before(output: Path) -> tuple[str, ...]:
    """Return what the first weights of a run were fitted on, as `write_provenance` wrote it."""
    facts = json.loads((output / RUN_NAME).read_text(encoding="utf-8"))
    return tuple(facts.get("seen_before", ()))


def git_state() -> str | None:
    """Return the commit that this code is of, `+` behind it if changed since; None if unknown."""
    folder = Path(__file__).parent
    try:
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],
            cwd=folder, capture_output=True, check=False,
        )  # fmt: skip
        if tracked.returncode:
            return None
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return None
    return told.stdout.strip() or None


def check_same_run(output: Path, recipe: Recipe, manifest_sha256: str) -> None:
    """Check that a run goes on as it began.

    Another fold would validate on what was trained on; more epochs would revive the old schedule.

    Args:
        output: The run folder.
        recipe: Of now.
        manifest_sha256: Of now.

    Raises:
        OptionError: If the recipe or the manifest is another one.
    """
    path = output / RUN_NAME
    if not path.is_file():
        return
    facts = json.loads(path.read_text(encoding="utf-8"))
    before, now = facts["recipe"], json.loads(json.dumps(dataclasses.asdict(recipe)))
    changed = [key for key in now if before.get(key) != now[key]]
    if facts["manifest_sha256"] != manifest_sha256:
        changed.append("the manifest")
    if changed:
        raise OptionError(
            f"{output}: this run began with other settings ({', '.join(changed)}); resume it with "
            "its own, or start a new one with another --output"
        )
