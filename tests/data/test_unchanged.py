"""Files that were replaced under their names do not keep the labels and folds of the former."""

import shutil

import numpy as np
import pytest
from PIL import Image

from meninx._data.facts import sha256_of
from meninx._data.manifest import read_manifest
from meninx._data.prepare import load_data, prepare, write_manifest
from meninx._errors import DataError


@pytest.fixture
def data(tmp_path):
    """Four pictures, one with a mask, and their manifest."""
    lines = ["picture,tumor,mask"]
    for number in range(4):
        noise = np.random.default_rng(number).integers(1, 255, (60, 60), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number % 2},{'mask.png' if number == 1 else ''}")
    mask = np.zeros((60, 60), np.uint8)
    mask[20:30, 20:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    pictures, _ = prepare(tmp_path / "table.csv", folds=2)
    write_manifest(pictures, tmp_path / "manifest.csv")
    return tmp_path


def test_unchanged_files_are_read_and_their_check_is_progress(data):
    steps = []
    load_data(data, data, progress=lambda *step: steps.append(step), workers=2)
    assert steps == [("checking files", done, 5) for done in range(1, 6)]


def test_replaced_pictures_and_masks_are_refused_by_name(data):
    shutil.copy(data / "0.png", data / "1.png")
    Image.new("L", (60, 60), 3).save(data / "mask.png")
    with pytest.raises(DataError, match=r"2 of 5 files are not .*1\.png, .*mask\.png; run prepare"):
        load_data(data, data)


def test_a_hash_in_capitals_is_the_same(data):
    table = data / "manifest.csv"
    sha256 = sha256_of(data / "0.png")
    table.write_text(table.read_text().replace(sha256, sha256.upper()))
    load_data(data, data)


def test_folders_are_compared_by_all_their_files(data):
    series = data / "series"
    series.mkdir()
    for name in "ab":
        (series / name).write_bytes(name.encode())
    table = data / "manifest.csv"
    text = table.read_text().replace(sha256_of(data / "2.png"), sha256_of(series))
    table.write_text(text.replace(",2.png,", ",series,"))
    load_data(data, data)
    (series / "b").write_bytes(b"c")
    with pytest.raises(DataError, match=r"1 of 5 files .*series; run prepare"):
        load_data(data, data)


def test_a_manifest_without_hashes_has_nothing_to_compare(data):
    rows = (data / "manifest.csv").read_text().splitlines()
    count = len(["id", "picture", "mask", "tumor", "tumor_type", "group", "fold", "source"])
    kept = [",".join(row.split(",")[:count]) for row in rows]
    (data / "manifest.csv").write_text("\n".join(kept))
    shutil.copy(data / "0.png", data / "1.png")
    assert load_data(data, data) == read_manifest(data)
