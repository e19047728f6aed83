import pytest

from meninx._errors import OptionError
from meninx._learn.recipe import Recipe, read_recipe, read_stages
from meninx._learn.recipe_files import find_recipe, recipes_folder


def test_shipped_recipes_are_valid():
    names = {path.stem for path in recipes_folder().glob("*.toml")}
    assert {"meninx", "smoke"} <= names
    for name in names:
        assert isinstance(read_recipe(find_recipe(name)), Recipe)


def test_fine_tuning_costs_less_than_2000_pictures_of_192_pixels():
    """Two cores take some 0.15 s for one: that leaves them under five minutes."""
    recipe = read_recipe(find_recipe("finetune"))
    sides = [recipe.size_at(epoch) for epoch in range(recipe.training.epochs)]
    assert sides[-1] == recipe.training_size == 192
    assert sum((side / 192) ** 2 for side in sides) * recipe.training.pictures_per_epoch < 2000


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
        "nam: unknown key",
        "training: expected a table, found 3",
        "augmentation.flip: expected less than or equal to 1, found 1.5",
        "sampling.masked: expected a valid number, found 'much'",
        "size: 100 is no multiple of 16",
        "there are no heads for it",
        "6 faults",
    ):
        assert part in message


def test_stages_change_what_the_file_says(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(
        """
        name = "two"
        [training]
        epochs = 7
        seed = 1
        [[stages]]
        training = {seed = 2, learning_rate = 5e-4}
        """
    )
    first, second = read_stages(path)
    assert read_recipe(path) == first
    assert (first.training.epochs, first.training.seed) == (7, 1)
    assert (second.training.epochs, second.training.seed, second.name) == (7, 2, "two")
    path.write_text("[[stages]]\ntraining = {epochs = 0}")
    with pytest.raises(OptionError, match=r"stages\[0\].training.epochs: expected greater than 0"):
        read_stages(path)


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
