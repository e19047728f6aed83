"""The pages build without a warning, name everything that is public, and their commands run."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path

import click
import pytest

import meninx
from lab.pictures import conformance
from lab.pictures.conformance import conformance_page
from lab.pictures.rooms import PAGE, design_page
from meninx._cli import VERBS
from meninx._clinic.results import RESULT_CLASSES
from meninx._data.manifest import read_manifest
from meninx._detect.decision import NOT_CALIBRATED
from meninx._detect.gate import MIN_LEVELS, SMALLEST_SIDE
from meninx._scan.completeness import INCOMPLETE
from tests.commands import meninx as run_meninx

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*DOCS.rglob("*.md"), *set(ROOT.glob("*.md")) - {ROOT / "CHANGELOG.md"}]
BASE_CODES = {"several", "unsupported", "unusable"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages as `make docs` builds them; strict, so that a dead link or anchor fails."""
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def _commands():
    sys.path.insert(0, str(DOCS))
    try:
        from hooks import commands_of
    finally:
        sys.path.pop(0)
    return list(commands_of())


def text_of(page):
    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_public_name_is_on_the_page_of_python(site):
    text = text_of(site / "api.html")
    missing = [name for name in meninx.__all__ if name not in text]
    assert not missing


def test_every_option_is_on_the_page_of_commands(site):
    text = text_of(site / "commands.html")
    assert [verb for verb, _ in _commands()] == list(VERBS)
    for verb, command in _commands():
        for option in (name for parameter in command.params for name in parameter.opts):
            assert not option.startswith("-") or option in text, f"{verb} {option}"


def test_every_code_has_a_row():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src/meninx").rglob("*.py"))
    codes = set(re.findall(r'reason(?:: str)? ?= ?"([a-z_]+)"', source))
    codes |= set(re.findall(r'_kind\(\s*"([a-z_]+)"', source))
    codes |= set(re.findall(r'ScanWarning\(\s*"([a-z_]+)"', source))
    codes |= {INCOMPLETE, NOT_CALIBRATED}
    page = (DOCS / "codes.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))
    assert codes - BASE_CODES == rows
    for figure in (f"fewer than {SMALLEST_SIDE} pixels", f"fewer than {MIN_LEVELS} gray"):
        assert figure in page
    options = {
        name
        for _, command in _commands()
        for parameter in command.params
        for name in parameter.opts
    }
    assert set(re.findall(r"`(--[a-z-]+)`", page)) <= options


def written_commands():
    """Return each command that a page names, with its page: in a block, or within a sentence."""
    found = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
        lines = re.findall(r"^(meninx .*)$", blocks, re.MULTILINE)
        lines += re.findall(r"^ {4}(meninx .*)$", text, re.MULTILINE)
        # What a line says about its command stands behind two spaces.
        lines = [re.split(r" {2,}|; meninx", line)[0] for line in lines]
        lines += re.findall(r"`(meninx [a-z][^`]*)`", text)
        found |= {(page.name, line.removesuffix(" || true")) for line in lines}
    return sorted(found)


@pytest.mark.parametrize(("page", "line"), written_commands())
def test_every_command_that_a_page_names_can_be_typed(page, line):
    verb, *arguments = shlex.split(line.split(" ...")[0])[1:]
    commands = dict(_commands())
    for name in verb.replace(",", "").split("|"):
        command = commands[name]
        # Values are not checked: files and addresses are stand-ins.
        parser = command.make_parser(click.Context(command, info_name=name))
        parser.parse_args(arguments)


def test_every_script_that_a_page_names_is_there():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    scripts = set(re.findall(r"(?:python|sh) ((?:lab|tests)/[\w/.]+)", text))
    scripts |= {
        f"{name.replace('.', '/')}.py" for name in re.findall(r"python -m (lab\.\w+\.\w+)", text)
    }
    assert len(scripts) > 12
    programs = {
        name: (ROOT / name, (ROOT / name).with_suffix("") / "__main__.py") for name in scripts
    }
    assert not [name for name, files in programs.items() if not any(map(Path.is_file, files))]


def _run_line(line, folder):
    """Run a line of the tutorial: meninx in this process, all else by a shell."""
    program, *arguments = shlex.split(line)
    if program != "meninx":
        return subprocess.run(
            ["bash", "-euc", line], cwd=folder, capture_output=True, text=True, check=False
        )
    may_fail = arguments[-2:] == ["||", "true"]
    done = run_meninx(*(arguments[:-2] if may_fail else arguments), cwd=folder)
    return replace(done, returncode=0) if may_fail and done.returncode == 1 else done


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("short_epochs")
def test_the_tutorial_runs_as_it_stands(tmp_path):
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    assert len(re.findall(r"^meninx ", script, re.MULTILINE)) == 7
    for line in filter(None, script.splitlines()):
        done = _run_line(line, tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr[-3000:]}"
    # What the page promises: the copy is found, and never parted from what it is a copy of.
    pictures = {
        picture.picture.name: picture for picture in read_manifest(tmp_path / "brains.csv").pictures
    }
    assert len(pictures) == 81
    assert pictures["another-name.png"].fold == pictures["phantom-0000.png"].fold
    assert "LEAKING" in (tmp_path / "leaking/report.html").read_text(encoding="utf-8")
    assert "LEAKING" not in (tmp_path / "evaluation/report.html").read_text(encoding="utf-8")


def test_the_conformance_statement_is_that_of_the_code():
    text = conformance_page()
    assert conformance.PAGE.read_text(encoding="utf-8") == text, (
        "run python -m lab.pictures.conformance"
    )
    assert all(uid in text for uid in RESULT_CLASSES.values())


def test_the_design_lists_the_rooms():
    assert PAGE.read_text(encoding="utf-8") == design_page(), "run python -m lab.pictures.rooms"
