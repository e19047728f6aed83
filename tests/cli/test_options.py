"""Options that several verbs share."""

import shlex
import sys

import pytest

from meninx._cli import extras
from meninx._cli.labeled_data import is_dialog
from meninx._cli.options import parse_split
from meninx._errors import OptionError
from meninx._extras import install_command
from tests.commands import meninx


def test_no_question_is_asked_of_one_of_several_processes(monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert is_dialog()
    monkeypatch.setenv("RANK", "0")
    assert not is_dialog()


def test_several_processes_need_one_run_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    result = meninx("train", tmp_path, "--recipe", "smoke")
    assert result.returncode == 2
    assert "several processes needs --output" in result.stderr


@pytest.mark.parametrize("value", ["fair", "given", "grouped"])
def test_a_split_has_one_name(value):
    with pytest.raises(OptionError, match="expected keep, mend, redo"):
        parse_split(value)


def test_a_cluster_names_the_extra_that_it_needs(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    result = meninx("score-archive", tmp_path, "--out", tmp_path / "out", "--address", "auto")
    assert result.returncode == 2
    assert "[ray]" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_checkout_says_how_to_install_an_extra_into_its_own_python(tmp_path):
    assert install_command("evidence", tmp_path) == "pip install 'meninx[evidence]'"
    checkout = tmp_path / "my checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "requirements.lock"):
        (checkout / name).touch()
    words = shlex.split(install_command("evidence", checkout))
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    assert words[4:6] == ["--editable", f"{checkout}[evidence]"]
    assert words[6:] == ["--constraint", str(checkout / "requirements.lock")]
