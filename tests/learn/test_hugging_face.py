"""A detector as a folder of Hugging Face's layout."""

import json
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file

import meninx.torch
from meninx._detect.loading import load_detector, shipped_detector
from meninx._learn.file.hugging_face import _page_of
from meninx._learn.model.network import CellNetwork, set_weights
from tests.commands import meninx as run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "meninx"
    done = run("export", "meninx", "--format", "hugging-face", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in done.stderr
    return folder


def test_the_weights_and_the_detector_are_those_that_were_exported(folder):
    network = CellNetwork()
    set_weights(network, load_file(folder / "model.safetensors"))
    own = meninx.torch.load_network(folder / "detector.onnx").state_dict()
    assert all(torch.equal(value, own[name]) for name, value in network.state_dict().items())
    exported = load_detector(folder / "detector.onnx", threads=1)
    assert exported.card.name == load_detector(threads=1).card.name
    config = json.loads((folder / "config.json").read_text())
    assert config["image_size"] == exported.card.preprocessing.size
    assert config["architectures"] == ["CellNetwork"]
    picture = exported.card.calibration.picture
    assert config["calibration"]["picture"]["temperature"] == picture.temperature


def test_the_card_names_license_use_and_limits(folder):
    text = (folder / "README.md").read_text()
    _, heading, page = text.split("---\n", 2)
    facts = yaml.safe_load(heading)
    card = load_detector(threads=1).card
    assert facts["library_name"] == "meninx"
    assert facts["license"] == "other"
    assert facts["license_name"] == card.license
    assert "For research, not for diagnosis" in page
    assert card.license in page
    assert f"{len(card.seen)} files" in page


def test_what_can_not_be_written_is_refused(folder, tmp_path):
    full = run("export", "meninx", "--format", "hugging-face", "--output", folder)
    assert full.returncode == 2
    assert "expected an empty folder" in full.stderr
    without = run("export", shipped_detector("fp32"), "--output", tmp_path / "m.onnx")
    assert without.returncode == 2
    assert "--format int8 needs --data" in without.stderr
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(shipped_detector("fp32").read_bytes())
    missing = run("export", alone, "--format", "hugging-face", "--output", tmp_path / "hub")
    assert missing.returncode == 2
    assert "alone.safetensors: the weights of the detector file are missing" in missing.stderr


def test_the_card_says_who_learned_the_types_and_that_a_gate_is_missing():
    card = load_detector(threads=1).card
    own = _page_of(card, "0", "")
    assert "names glioma, meningioma, pituitary, with" in own
    assert "out-of-distribution" not in own
    few = _page_of(replace(card, inherited_types=True, ood_threshold=None), "0", "")
    assert "pituitary (learned by its first weights alone), with" in few
    assert "It has no out-of-distribution model" in few
