import pytest

from meninx.cli.training_options import find_recipe, recipes_folder
from meninx.errors import OptionError
from meninx.learn.recipe import Recipe, read_recipe


def test_shipped_recipes_are_valid():
    names = {path.stem for path in recipes_folder().glob("*.toml")}
    assert {"meninx", "smoke"} <= names
    for name in names:
        assert isinstance(read_recipe(find_recipe(name)), Recipe)


def test_every_fault_is_reported_at_once(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(
        """
        nam = "typo"
        training = 3
        [augmentation]
        flip = 1.5
        [sampling]
        masked = "much"
        simulated = 0.2
        [preprocessing]
        size = 100
        """
    )
    with pytest.raises(OptionError) as caught:
        read_recipe(path)
    message = str(caught.value)
    for part in (
        "nam: unknown key", "training: expected a table", "flip: 1.5 is not between 0 and 1",
        "masked: expected float, found 'much'", "size: 100 is no multiple of 16",
        "there are no heads for it", "6 faults",
    ):  # fmt: skip
        assert part in message


@pytest.mark.parametrize("text", ["= 3", "\xff"])
def test_what_is_no_toml_is_an_option_error(tmp_path, text):
    (tmp_path / "r.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(OptionError, match="not a readable TOML"):
        read_recipe(tmp_path / "r.toml")


def test_unknown_names_list_the_shipped_ones():
    with pytest.raises(OptionError, match=r"one of .*meninx.*smoke"):
        find_recipe("nonsense")
    with pytest.raises(OptionError, match="no such recipe file"):
        find_recipe("nonsense.toml")
