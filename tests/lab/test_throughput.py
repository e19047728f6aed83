"""What the speed of training is measured by, and the network that detection is compared with."""

import dataclasses

import pytest

from lab.speed.comparison import time_eager_resnet18
from lab.speed.throughput import training_throughput
from meninx._errors import OptionError
from meninx._learn.recipe import changed_recipe, read_recipe


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "tiny.toml").write_text(
        'name = "tiny"\n[preprocessing]\nsize = 64\n[training]\nbatch_size = 4\nema_decay = 0.9\n'
    )
    return read_recipe(tmp_path / "tiny.toml")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lightning_fabric.utilities.warnings.PossibleUserWarning")
def test_a_recipe_is_trained_at_some_speed(recipe):
    measured = training_throughput(changed_recipe(recipe, precision="32-true"))
    assert (measured.precision, measured.batch_size) == ("32-true", 4)
    assert dataclasses.asdict(measured)["size"] == 64
    assert measured.training > 0
    assert measured.network > 0


def test_unknown_precisions_are_refused(recipe):
    with pytest.raises(OptionError, match="bf16-mixed"):
        changed_recipe(recipe, precision="half")


def test_the_comparison_is_timed():
    assert time_eager_resnet18(3).median > 0
