"""Run the steps of deploy/Dockerfile without an engine: `python -m tests.deploy.image_steps`.

Each stage begins as a copy-on-write view of this machine, which must be Debian with Python, as the
base image is. Needs root and the right to mount; nothing of this machine is changed.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
_WAIT_SECONDS = 90


@dataclass
class Stage:
    """A stage of an image.

    Args:
        name: Name of the stage; empty for the last one.
        steps: Instructions that change files, in order: RUN, COPY, WORKDIR.
        environment: Variables of ENV.
        settings: The last of each other instruction, such as USER.
    """

    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)


def stages_of(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile."""
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, value = line.partition(" ")
        if word == "FROM":
            stages.append(Stage(value.partition(" AS ")[2]))
        elif word in ("RUN", "COPY", "WORKDIR"):
            stages[-1].steps.append((word, value))
        elif word == "ENV":
            name, _, value = value.partition("=")
            stages[-1].environment[name] = value
        else:
            stages[-1].settings[word] = value
    return stages


def health_command(stage: Stage) -> str:
    """Return the command of a stage's health check."""
    return stage.settings["HEALTHCHECK"].partition("CMD ")[2]


class View:
    """A copy-on-write view of this machine's files.

    Args:
        folder: Folder for it, on a file system of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self.folder = folder / "root", "/"
        for name in ("root", "upper", "work"):
            (folder / name).mkdir(parents=True)
        layers = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        for name in ("proc", "dev", "sys"):
            _run("mount", "--rbind", f"/{name}", self.root / name)
        # Where this machine's Python may be; the base image's is open to all.
        _run("chroot", self.root, "chmod", "o+rx", "/root")

    def command(self, line: str, environment: dict[str, str], user: str = "") -> list[str]:
        """Return the command that runs a line of a shell inside."""
        who = user.partition(":")[0]
        as_user = ["--userspec", user] if who else []
        said = [f"{name}={value}" for name, value in environment.items()]
        script = (
            f"cd {shlex.quote(self.folder)} && exec {line}"
            if who
            else (f"cd {shlex.quote(self.folder)} && {line}")
        )
        return ["chroot", *as_user, str(self.root), "env", "-i", *said, "sh", "-c", script]

    def do(
        self, step: str, value: str, environment: dict[str, str], other: dict[str, "View"]
    ) -> None:
        """Do a step."""
        sys.stdout.write(f"{step} {value}\n")
        sys.stdout.flush()
        if step == "RUN":
            subprocess.run(self.command(value, environment), check=True)
        elif step == "WORKDIR":
            self.folder = value
            self.inside(value).mkdir(parents=True, exist_ok=True)
        else:
            words = value.split()
            source = other[words.pop(0).partition("=")[2]].root if "--from=" in value else ROOT
            *names, target = words
            goal = self.inside(str(Path(self.folder, target)))
            for name in names:
                _copy(source / name.lstrip("/"), goal, is_folder=len(names) > 1)

    def inside(self, path: str) -> Path:
        """Return where a path of the image is on this machine."""
        return self.root / path.lstrip("/")


def _copy(path: Path, goal: Path, *, is_folder: bool) -> None:
    if path.is_dir():
        shutil.copytree(path, goal, symlinks=True, dirs_exist_ok=True)
    else:
        goal.mkdir(parents=True, exist_ok=True) if is_folder else None
        shutil.copy2(path, goal)


def _run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True)


def build(folder: Path) -> tuple[Stage, View]:
    """Run all steps; return the last stage, and what came of it."""
    views: dict[str, View] = {}
    for stage in stages_of(DOCKERFILE.read_text(encoding="utf-8")):
        view = views[stage.name] = View(folder / (stage.name or "last"))
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | stage.environment
        # As in the base image, `python3` is found on every path.
        if "/root" in (shutil.which("python3") or ""):
            environment["PATH"] += f":{Path(sys.base_prefix, 'bin')}"
        stage.environment = environment
        for step, value in stage.steps:
            view.do(step, value, environment, views)
    return stage, view


def run(stage: Stage, view: View, folder: Path) -> None:
    """Run the image as compose.yaml does: no root, nothing to write but the volume and /tmp."""
    user = stage.settings["USER"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = stage.environment | {
        "MENINX_WEB_PORT": str(port),
        "MENINX_HEALTH": f"http://127.0.0.1:{port}/api/v1/ready",
    }
    volume = folder / "volume"
    shutil.copytree(view.inside("/data"), volume)
    owner = view.inside("/data").stat()
    os.chown(volume, owner.st_uid, owner.st_gid)
    _run("mount", "--bind", volume, view.inside("/data"))
    _run("mount", "-t", "tmpfs", "tmpfs", view.inside("/tmp"))
    _run("mount", "-o", "remount,ro,bind", view.root)
    refused = view.command("touch /opt/meninx/x", environment, user)
    assert subprocess.run(refused, check=False, stderr=subprocess.DEVNULL).returncode
    words = json.loads(stage.settings["ENTRYPOINT"]) + json.loads(stage.settings["CMD"])
    with subprocess.Popen(view.command(shlex.join(words), environment, user)) as service:
        try:
            check = view.command(health_command(stage), environment, user)
            for _ in range(_WAIT_SECONDS):
                if not subprocess.run(check, check=False, stderr=subprocess.DEVNULL).returncode:
                    break
                time.sleep(1)
            else:
                sys.exit("the service is not healthy")
            status = Path(f"/proc/{service.pid}/status").read_text(encoding="utf-8")
            assert re.search(rf"^Uid:\t{user.partition(':')[0]}\t", status, re.MULTILINE), status
        finally:
            service.terminate()
    assert service.returncode == 0, service.returncode
    kept = {path.name for path in (volume / "web").iterdir()}
    assert kept >= {"meninx.sqlite", "signing.key"}, kept
    sys.stdout.write("the image was built, is healthy, and keeps its state in the volume\n")


def main() -> None:
    """Build and run, in a mount namespace of this process alone."""
    if "--inside" not in sys.argv:
        sys.exit(
            subprocess.run(
                ["unshare", "--mount", sys.executable, "-m", __spec__.name, "--inside"], check=False
            ).returncode
        )
    with tempfile.TemporaryDirectory(prefix="meninx-image-") as name:
        _run("mount", "-t", "tmpfs", "tmpfs", name)
        folder = Path(name)
        try:
            run(*build(folder), folder)
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", name], check=False)


if __name__ == "__main__":
    main()
