"""The files in deploy/: what they name exists, what they promise holds."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from meninx._cli import VERBS, Verbs
from meninx._cli.config_file import Section, configured_options, variable_of
from meninx._cli.sections import VERB_OF_SECTION
from tests.deploy.image_steps import DOCKERFILE, ROOT, health_command, stages_of

DEPLOY = ROOT / "deploy"
# Variables that no section has: a key of a program, the file, and the image's own.
OTHERS = {"MENINX_WORKLIST_KEY", "MENINX_CONFIG", "MENINX_HEALTH", "MENINX_DB_PASSWORD"}
# Exposure of a unit by `systemd-analyze security`, in tenths; nothing else runs at under 2.
MAX_EXPOSURE = 20


def known_variables():
    found = set(OTHERS)
    for name, verb in VERB_OF_SECTION.items():
        section = Section.of(name, Verbs().get_command(None, verb))
        found |= {variable_of(name, key) for key in (*section.options, *section.more)}
    return found


def test_every_variable_that_a_file_sets_is_one():
    text = "".join(path.read_text(encoding="utf-8") for path in DEPLOY.iterdir())
    named = set(re.findall(r"MENINX_[A-Z_]*[A-Z]", text))
    assert len(named) > 10
    assert named <= known_variables()


def test_the_image_runs_without_root_and_copies_what_is_there():
    stages = stages_of(DOCKERFILE.read_text(encoding="utf-8"))
    last = stages[-1]
    assert last.settings["USER"].partition(":")[0] not in ("", "0", "root")
    assert last.settings["VOLUME"] == "/data"
    assert all(
        path.startswith("/data/")
        for name, path in last.environment.items()
        if name.endswith("_DATA")
    )
    assert "urlopen" in health_command(last)
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        name
        for stage in stages
        for word, value in stage.steps
        if word == "COPY" and "--from" not in value
        for name in value.split()[:-1]
    ]
    assert "src" in copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in sent, name


def test_every_service_of_the_compose_file_is_closed():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    own = {name: service for name, service in services.items() if service["image"] == "meninx"}
    assert own.keys() == {"web", "worker", "node"}
    for service in own.values():
        assert service["command"][0] in VERBS
        command = Verbs().get_command(None, service["command"][0])
        command.make_context("x", service["command"][1:])
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["volumes"] == ["data:/data"]
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    # Only DICOM is open to other machines; HTTP is behind the proxy.
    opened = [port for service in services.values() for port in service.get("ports", ())]
    assert [port for port in opened if not port.startswith("127.0.0.1:")] == ["11112:11112"]


def test_the_page_shows_a_configuration_that_is_one_and_packages_of_the_image(tmp_path):
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"\n((?: {8}(?:\[\w+\]|\w+ = .*)\n)+)", page)
    path = tmp_path / "meninx.toml"
    path.write_text(shown.replace("        ", ""), encoding="utf-8")
    sections = {name: faults for name, faults, _ in configured_options(path)}
    assert sections == {"web": [], "receive": []}
    (packages,) = re.findall(r"apt-get install (.*)", page)
    installed = DOCKERFILE.read_text(encoding="utf-8").split()
    assert set(packages.split()) - {"python3-venv"} <= set(installed)


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.stem)
def test_a_unit_is_valid_and_hardened(unit, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed (Debian: systemd)")
    text = unit.read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=(\S+) (\S+)$", text, re.MULTILINE)
    assert command[1] in VERBS
    copy = tmp_path / unit.name
    copy.write_text(text.replace(command[0], "/bin/true"), encoding="utf-8")
    checked = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-300:]


def test_units_differ_in_their_service_alone():
    web, node = ((DEPLOY / f"meninx-{kind}.service").read_text("utf-8") for kind in ("web", "node"))
    lines = zip(web.splitlines(), node.splitlines(), strict=True)
    changed = [first.partition("=")[0] for first, second in lines if first != second]
    assert changed == ["Description", "ExecStart"]


def test_the_sample_of_nginx_lets_the_largest_request_through():
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    (limit,) = re.findall(r"client_max_body_size (\d+)m;", text)
    page = (ROOT / "docs" / "web.md").read_text(encoding="utf-8")
    (stated,) = re.findall(r"many at a time, up to (\d+) MiB", page)
    assert int(limit) > int(stated)
    assert "$request " not in text and "$request_uri'" not in text
    assert Path(DEPLOY, "meninx.toml").is_file()
