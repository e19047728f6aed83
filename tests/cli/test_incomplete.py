"""What came incomplete is never answered as whole, on the command line."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.commands import meninx
from tests.conftest import coarse_grid


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Two series of twelve slices each."""
    folder = tmp_path_factory.mktemp("series")
    return sorted(write_studies(make_studies(2, 0, grid=coarse_grid), folder, "dicom"))


def test_a_series_without_its_last_slices_is_referred(series, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(series[1], folder)
    for file in sorted(folder.iterdir())[-4:]:
        file.write_bytes(file.read_bytes()[:300])
    done = meninx("predict", "--json", "--studies", folder)
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    (scan,) = [line for line in objects if line.get("status") == "scored" and "scan" in line]
    (study,) = [line for line in objects if "study" in line]
    assert done.returncode == 1
    for answer in (scan, study):
        assert (answer["decision"], answer["reason"]) == ("refer", "incomplete")
        assert answer["incomplete"] == [
            {"what": "files of the series", "expected": 12, "received": 8}
        ]
    # Headers that break off are one failure of their series.
    assert sum(line.get("status") == "failed" for line in objects) == 1


def test_a_cut_tar_is_read_and_referred(series, tmp_path):
    shutil.make_archive(str(tmp_path / "study"), "tar", series[0].parent, series[0].name)
    path = tmp_path / "study.tar"
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[: -len(data) // 3])
    done = meninx("predict", "--json", path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert {row["decision"] for row in rows if row["status"] == "scored"} == {"refer"}
    assert sum(row["status"] == "failed" for row in rows) >= 1


@pytest.mark.parametrize("verb", ["prepare", "audit"])
def test_links_and_what_they_do_not_lead_to_are_said(tmp_path, verb):
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (64, 72), dtype=np.uint8)
        folder = tmp_path / ("store" if number % 2 else "data/no")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(folder / f"{number}.png")
    (tmp_path / "data/yes").symlink_to("../store")
    (tmp_path / "data/yes/gone.png").symlink_to("never.png")
    done = meninx(verb, tmp_path / "data", "--output", tmp_path / "out")
    assert done.returncode == 0
    assert f"left out: {tmp_path}/data/yes/gone.png: a link to never.png" in done.stderr
    assert "3 no tumor, 3 tumor" in done.stdout + done.stderr


def test_send_goes_into_linked_folders_and_says_what_is_not_there(series, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(series[0])
    done = meninx("send", tmp_path / "out", "--to", "X@127.0.0.1:1")
    assert "no DICOM file" not in done.stderr
    (tmp_path / "out/b.dcm").symlink_to("/never/there")
    done = meninx("send", tmp_path / "out", "--to", "X@127.0.0.1:1")
    assert done.returncode == 2
    assert "b.dcm: a link to /never/there, which does not exist" in done.stderr
