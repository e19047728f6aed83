import json
import subprocess
import sys

import pytest

from lab.speed.rivals import EAGER, milliseconds


@pytest.mark.slow
def test_the_throughput_of_a_recipe_is_measured(tmp_path):
    (tmp_path / "tiny.toml").write_text(
        'name = "tiny"\n[preprocessing]\nsize = 64\n[training]\nbatch_size = 4\nema_decay = 0.9\n'
    )
    command = [sys.executable, "-m", "lab.speed.throughput", str(tmp_path / "tiny.toml")]
    command += ["--precision", "32-true", "--json", str(tmp_path / "training.json")]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads((tmp_path / "training.json").read_text())
    assert (found["recipe"], found["precision"]) == ("tiny", "32-true")
    assert found["batch of a process"] == 4
    assert found["pictures a second"] > 0
    assert found["pictures a second of the network alone"] > 0


def test_the_eager_network_is_timed(tmp_path):
    times, networks = milliseconds(sys.executable, EAGER, tmp_path)
    assert len(times) == len(networks)
    assert min(times) > 0
