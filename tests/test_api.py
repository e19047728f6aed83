"""The public surface: it is closed, and each example on its page runs."""

import doctest
import inspect
from pathlib import Path

import meninx
from tests.commands import meninx as run

ROOT = Path(__file__).parents[1]
API_PAGE = ROOT / "docs" / "api.md"


def test_the_examples_of_the_api_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("demo", "--output", "demo")
    run("phantom", "mydata", "--count", 12, "--format", "png")
    # The end of a code block is no output.
    text = API_PAGE.read_text(encoding="utf-8").replace("\n\n```\n", "\n\n")
    examples = doctest.DocTestParser().get_doctest(text, {}, "api.md", str(API_PAGE), 0)
    result = doctest.DocTestRunner().run(examples)
    assert result.attempted > 15
    assert result.failed == 0


def test_every_public_name_has_an_example_and_a_reference():
    text = API_PAGE.read_text(encoding="utf-8")
    documented = {name for name in meninx.__all__ if f"::: meninx.{name}\n" in text}
    errors = {
        name
        for name in meninx.__all__
        if inspect.isclass(getattr(meninx, name)) and issubclass(getattr(meninx, name), Exception)
    }
    assert documented | errors == set(meninx.__all__)
    assert "::: meninx._errors" in text


def test_every_module_but_the_one_for_torch_is_private():
    package = Path(meninx.__file__).parent
    public = [path.name for path in package.glob("*.py") if not path.name.startswith("_")]
    rooms = {path.parent.relative_to(package).parts[0] for path in package.glob("*/**/*.py")}
    assert public == ["torch.py"]
    assert all(room.startswith("_") for room in rooms)
