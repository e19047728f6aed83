"""Every command and figure of the README is held to what happens."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lab.pictures.figures.pages import BLOCK, TABLES, pages, sources
from tests.commands import meninx

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


# What the README shows of the first finding.
(SHOWN,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)


def rows_of(table):
    """Return scan and answer of each row: digits may differ between processors."""
    return [tuple(re.split(r"\s{2,}", line)[:2]) for line in table.splitlines()]


def commands(language):
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)`", README))
    targets |= {line.split()[1] for line in commands("sh") if line.startswith("make ")}
    assert {"demo", "demo-web", "test", "picture"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("short_epochs")
def test_every_meninx_command_runs_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")  # as the README shows its table
    lines = [line for line in commands("sh") if line.startswith("meninx ")]
    assert len(lines) >= 7
    # The page on training says the same with one line more.
    training = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", training, re.DOTALL)
    more = [line for line in block.splitlines() if line not in lines]
    assert more == ["meninx predict mydata/studies --model runs/first/detector.onnx"]
    lines += more
    for line in lines:
        result = meninx(*shlex.split(line)[1:], cwd=tmp_path)
        # 1 says that a scan was refused: a detector of a few phantoms may refuse one, ours none.
        may_refuse = line.startswith("meninx predict") and "--model" in line
        assert result.returncode in (0, 1)[: 1 + may_refuse], f"{result.stdout}\n{result.stderr}"
        if line == "meninx predict scans/studies":
            assert rows_of(SHOWN) == rows_of(result.stdout)[: len(rows_of(SHOWN))]
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(result.stdout.splitlines()) == 2


def test_figures_are_those_that_were_measured():
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name}: run python -m lab.pictures.figures"
        )


def test_every_table_is_on_one_page_once():
    found = [
        block["name"] for path in sources() for block in BLOCK.finditer(path.read_text("utf-8"))
    ]
    assert sorted(found) == sorted(TABLES)


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
