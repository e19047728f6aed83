"""The whole way through a real archive: Debian's Orthanc with its DICOMweb plugin, and dcmtk."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import highdicom as hd
import pandas as pd
import pydicom
import pytest

from meninx._clinic.peers import peer_of
from tests.clinic.conftest import SEED, free_port, listening, receiving, wait_for

pytestmark = [pytest.mark.slow]


class Orthanc:
    """Debian's Orthanc, with everything it stores in a folder that is thrown away."""

    def __init__(self, folder, node_port, dicom=0):
        self.http, self.dicom = free_port(), dicom or free_port()
        settings = {
            "Name": "test",
            "StorageDirectory": f"{folder}/storage",
            "IndexDirectory": f"{folder}/storage",
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "DicomModalities": {
                "meninx": ["MENINX", "127.0.0.1", node_port],
                "mover": ["MOVER", "127.0.0.1", node_port + 1],
            },
            "Plugins": [str(plugin())],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "DicomAlwaysAllowStore": True,
            "DicomCheckCalledAet": True,
        }
        path = Path(folder) / "orthanc.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        self.process = subprocess.Popen(
            [shutil.which("Orthanc"), str(path)], stderr=subprocess.DEVNULL
        )
        wait_for(lambda: listening(self.http) and listening(self.dicom))

    @property
    def web(self):
        return f"http://127.0.0.1:{self.http}/dicom-web"

    @property
    def dimse(self):
        return f"ORTHANC@127.0.0.1:{self.dicom}"

    def ask(self, path, data=None):
        address = f"http://127.0.0.1:{self.http}{path}"
        body = None if data is None else data.encode()
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=30) as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def plugin():
    found = [
        path
        for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")
        for path in sorted(Path(folder).glob("libOrthancDicomWeb.so*"))
    ]
    return found[0] if found else None


@pytest.fixture
def node_port():
    return free_port()


@pytest.fixture
def orthanc(node_port):
    if not shutil.which("Orthanc") or not plugin() or not shutil.which("storescu"):
        pytest.skip("orthanc, orthanc-dicomweb or dcmtk is not installed (Debian)")
    folder = tempfile.mkdtemp(prefix="meninx-orthanc-")
    running = Orthanc(folder, node_port)
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.dicom3tools
@pytest.mark.parametrize("way", ["web", "dimse"])
def test_a_study_goes_to_the_node_and_its_results_come_back(
    orthanc, node_port, tmp_path, folder, way, dciodvfy
):
    files = sorted(folder.iterdir())
    options = ("--quiet", "1", "--to", getattr(orthanc, way), "--caller", "ORTHANC")
    with receiving(tmp_path / "node", *options, port=node_port):
        subprocess.run(
            ["storescu", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.dicom), *files], check=True
        )
        (study,) = orthanc.ask("/studies")
        orthanc.ask("/modalities/meninx/store", json.dumps(study))
        began = time.monotonic()
        wait_for(lambda: len(orthanc.ask("/instances")) == len(files) + 4)
        assert time.monotonic() - began < 60
    source = pydicom.dcmread(files[0])
    found = orthanc.ask(
        f"/dicom-web/studies/{source.StudyInstanceUID}/instances?includefield=00080060"
    )
    modalities = sorted(series["00080060"]["Value"][0] for series in found)
    assert modalities == ["KO"] + ["MR"] * len(files) + ["OT", "SEG", "SR"]
    peer = peer_of(orthanc.web)
    assert peer.fetch(str(source.StudyInstanceUID), tmp_path / "back") == len(files) + 4
    back = [pydicom.dcmread(path) for path in (tmp_path / "back").iterdir()]
    known = {str(dataset.SOPInstanceUID) for dataset in back}
    for dataset in (dataset for dataset in back if dataset.Modality in ("KO", "SR", "SEG")):
        path = tmp_path / f"{dataset.Modality}.dcm"
        dataset.save_as(path)
        checked = subprocess.run([dciodvfy, path], capture_output=True, text=True, check=False)
        assert "Error" not in checked.stdout + checked.stderr
        assert set(referred(dataset)) <= known
        assert dataset.PatientID == f"PHANTOM-{SEED}"
    assert hd.sr.srread(tmp_path / "SR.dcm").content.get_planar_roi_measurement_groups()
    assert peer.has(next(dataset for dataset in back if dataset.Modality == "SR"))
    assert not peer_of(orthanc.dimse).has(
        pydicom.Dataset.from_json(
            json.dumps(
                {
                    "0020000D": {"vr": "UI", "Value": ["1.2"]},
                    "0020000E": {"vr": "UI", "Value": ["1.3"]},
                    "00080018": {"vr": "UI", "Value": ["1.4"]},
                }
            )
        )
    )


def referred(dataset):
    """Yield every instance that a dataset refers to, at any depth."""
    for element in dataset.iterall():
        if element.keyword == "ReferencedSOPInstanceUID":
            yield str(element.value)


def test_a_study_is_fetched_by_c_move_and_by_the_command(
    orthanc, node_port, tmp_path, folder, capsys
):
    from meninx._cli.fetch_study import fetch_study
    from meninx._cli.send import send

    send([folder], orthanc.web)
    study = str(pydicom.dcmread(next(folder.iterdir())).StudyInstanceUID)
    fetch_study(study, orthanc.dimse, tmp_path / "moved", "MOVER", node_port + 1)
    fetch_study(study, orthanc.web, tmp_path / "web")
    assert f"9 instances in {tmp_path / 'moved'}" in capsys.readouterr().out
    uids = [
        {str(pydicom.dcmread(path).SOPInstanceUID) for path in place.iterdir()}
        for place in (folder, tmp_path / "moved", tmp_path / "web")
    ]
    assert uids[0] == uids[1] == uids[2]


def test_an_archive_is_scored_by_dicomweb(orthanc, folder, tmp_path):
    files = sorted(folder.iterdir())
    subprocess.run(
        ["storescu", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.dicom), *files], check=True
    )
    command = [
        sys.executable,
        "-m",
        "meninx",
        "score-archive",
        orthanc.web,
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "1",
    ]
    for new in (1, 0):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        assert f"this run: {new} new" in done.stderr
    (row,) = pd.read_parquet(tmp_path / "out").to_dict("records")
    source = pydicom.dcmread(files[0])
    assert row["scan"].startswith(f"{source.StudyInstanceUID}/{source.SeriesInstanceUID}")
    assert row["status"] == "scored"
    assert row["files"] == len(files)
