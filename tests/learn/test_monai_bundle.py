"""A detector as a MONAI bundle, read and run by MONAI itself."""

import json
import subprocess
import sys

import pytest
import torch

import meninx
import meninx.torch
from meninx._detect.loading import shipped_detector
from tests.commands import meninx as run

# In a process of its own: MONAI and its engines warn at import.
_RUN = """
import json, sys
from monai.bundle import ConfigWorkflow, verify_net_in_out

root, scans, output = sys.argv[1:]
configs = [f"{root}/configs/{name}.json" for name in ("inference", "metadata")]
places = {"bundle_root": root, "dataset_dir": scans, "output_dir": output}
flow = ConfigWorkflow(configs[0], configs[1], workflow_type="infer", **places)
flow.initialize()
missing = flow.check_properties()
flow.run()
verify_net_in_out(
    "network_def", config_file=configs[0], meta_file=configs[1], device="cpu", bundle_root=root
)
print(json.dumps({"missing": missing, "spatial_shape": list(flow.spatial_shape)}))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monai") / "bundle"
    done = run("export", "meninx", "--format", "monai-bundle", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert "configs/metadata.json" in done.stderr
    return folder


@pytest.mark.slow
def test_monai_runs_the_bundle_and_finds_the_network_s_logits(bundle, tmp_path):
    done = run("phantom", tmp_path, "--format", "nifti", "--count", "1")
    assert done.returncode == 0, done.stderr
    scans = tmp_path / "studies"
    *_, last = meninx.read_scans(scans)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _RUN, str(bundle), str(scans), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["missing"]
    detector = meninx.load_detector(shipped_detector("fp32"))
    assert found["spatial_shape"] == [detector.card.preprocessing.size] * 2
    with torch.inference_mode():
        x = meninx.torch.inputs(last, detector)
        expected = meninx.torch.slice_logits(meninx.torch.load_network(), x)
    lines = (tmp_path / "slices.csv").read_text().splitlines()
    rows = [line.rsplit(",", 1) for line in lines if line.startswith(last.name)]
    assert rows[-1][0] == f"{last.name} {len(x) - 1}"
    logits = torch.tensor([float(logit) for _, logit in rows])
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)


def test_the_weights_are_those_of_the_classifier(bundle):
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    classifier = meninx.torch.SliceClassifier(bundle / "models" / "detector.onnx")
    classifier.load_state_dict(state)
    assert set(state) == set(classifier.state_dict())


def test_page_and_license_say_what_it_is_for(bundle):
    card = meninx.load_detector().card
    assert (bundle / "docs" / "license.txt").read_text().strip() == card.license
    page = (bundle / "docs" / "README.md").read_text()
    assert "For research, not for diagnosis" in page
    assert "is not calibrated" in page


def test_what_can_not_be_written_is_refused(bundle, tmp_path):
    full = run("export", "meninx", "--format", "monai-bundle", "--output", bundle)
    assert full.returncode == 2
    assert "expected an empty folder" in full.stderr
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(shipped_detector("fp32").read_bytes())
    missing = run("export", alone, "--format", "monai-bundle", "--output", tmp_path / "bundle")
    assert missing.returncode == 2
    assert "alone.safetensors: the weights of the detector file are missing" in missing.stderr
