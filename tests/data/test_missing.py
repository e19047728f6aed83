"""What a data set names and gives nothing of is said; without one of two classes it is an error."""

import csv

import nibabel
import numpy as np
import pytest
from PIL import Image

from meninx._data.folders import find_items
from meninx._data.prepare import load_data, prepare
from meninx._data.survey import survey
from meninx._data.understanding import understood
from meninx._errors import DataError


def draw(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (96, 80), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def volume(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(1).integers(0, 9, (5, 6, 7)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


@pytest.fixture
def data(tmp_path):
    """Three pictures of gliomas, two of meningiomas, three without a tumor."""
    for number, folder in enumerate([*["glioma"] * 3, *["meningioma"] * 2, *["healthy"] * 3]):
        draw(tmp_path / f"data/{folder}/{number}.png", number)
    return tmp_path / "data"


def said(data, labels=None):
    messages = []
    find_items(data, labels, messages.append)
    return messages


def emptied(folder):
    for file in folder.iterdir():
        file.rename(file.with_suffix(".txt"))


def test_a_linked_class_is_a_class(data, tmp_path):
    (data / "healthy").rename(tmp_path / "store")
    (data / "healthy").symlink_to("../store")
    found = find_items(data)
    assert [item.tumor for item in found] == [True] * 3 + [False] * 3 + [True] * 2
    assert {item.path.parent for item in found if not item.tumor} == {data / "healthy"}


def test_linked_files_keep_their_names_in_a_manifest(data, tmp_path):
    for file in (data / "healthy").iterdir():
        key = tmp_path / f"data/.git/annex/objects/{file.stem}/MD5E-s1--{file.stem}.png"
        key.parent.mkdir(parents=True)
        file.rename(key)
        file.symlink_to(key)
    (data / "glioma").rename(tmp_path / "store")
    (data / "glioma").symlink_to("../store")
    manifest = load_data(data, tmp_path / "out/deep")
    assert sorted(row.picture.name for row in manifest.pictures) == [f"{n}.png" for n in range(8)]
    assert all(row.picture.is_file() for row in manifest.pictures)


def test_a_type_of_tumor_without_a_picture_is_said(data):
    emptied(data / "meningioma")
    assert (
        f"{data}/meningioma: named as a class (meningioma), but no picture or volume is in it"
        in (said(data))
    )


def broken(folder):
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.symlink_to("/gone/for/good")


def of_links(folder):
    for file in folder.iterdir():
        file.unlink()
        file.symlink_to("../../.git/annex/objects/K/K")


def of_pointers(folder):
    for file in folder.iterdir():
        file.write_text("/annex/objects/MD5E-s7--8.png\n")


@pytest.mark.parametrize("loss", [emptied, broken, of_links, of_pointers])
def test_a_missing_class_is_an_error(data, loss):
    loss(data / "healthy")
    messages = []
    with pytest.raises(
        DataError, match=rf"nothing is left of the class tumor-free: {data}/healthy"
    ):
        find_items(data, None, messages.append)
    assert loss is emptied or any("left out: " in line and "healthy" in line for line in messages)


def test_a_class_of_which_nothing_can_be_read_is_an_error(data, tmp_path):
    for file in (data / "healthy").iterdir():
        file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DataError, match="nothing is left of the class tumor-free"):
        load_data(data, tmp_path / "out")


def test_a_folder_of_which_nothing_can_be_read_is_said(data):
    for file in (data / "meningioma").iterdir():
        file.write_bytes(b"")
    _, found = prepare(data)
    assert f"{data}/meningioma: none of its 2 pictures can be read" in understood(found)


def test_one_class_alone_is_data_too(data):
    for name in ("glioma", "meningioma"):
        for file in (data / name).iterdir():
            file.unlink()
        (data / name).rmdir()
    assert [item.tumor for item in find_items(data)] == [False] * 3


def test_a_class_that_is_left_out_is_not_missed(data):
    messages = said(data, {"meningioma": "out", "glioma": "glioma"})
    assert not any("named as a class" in line for line in messages)


def test_a_label_for_no_folder_is_said(data):
    assert f"{data}: no folder is named as --label has it: controls" in said(
        data, {"Controls": "none", "healthy": "none"}
    )


def test_lone_masks_are_no_pictures(tmp_path):
    for stem in ("P1_1", "P1_2"):
        draw(tmp_path / f"P1/{stem}.png", 3)
        mask = Image.new("L", (80, 96))
        mask.paste(255, (30, 30, 40, 40))
        mask.save(tmp_path / f"P1/{stem}_mask.png")
    (tmp_path / "P1/P1_2.png").unlink()
    messages = []
    (item,) = find_items(tmp_path, None, messages.append)
    assert item.path.name == "P1_1.png"
    lone = f"masks without a picture or volume, left out: {tmp_path}/P1/P1_2_mask.png"
    assert any(line.endswith(lone) for line in messages)


def test_masks_without_their_volumes_are_said(tmp_path):
    for name in ("imagesTr/a_0000", "labelsTr/a", "labelsTr/b"):
        volume(tmp_path / f"{name}.nii.gz")
    lone = f"left out: {tmp_path}/labelsTr/b.nii.gz"
    assert any(line.endswith(lone) for line in said(tmp_path))


def test_subjects_that_only_the_table_of_bids_has_are_said(tmp_path):
    volume(tmp_path / "sub-1/anat/sub-1_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\ttumor\nsub-1\t1\nsub-7\t0\n")
    expected = "participants.tsv lists 1 subjects without a volume here, the first is sub-7"
    assert any(line.endswith(expected) for line in said(tmp_path))


def test_rows_of_a_table_without_a_file_are_faults(data):
    (data / "healthy/5.png").unlink()
    (data / "healthy/5.png").symlink_to("../.git/annex/objects/K/K")
    with (data / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["picture", "tumor"], ["glioma/0.png", 1], ["", 0], ["healthy/5.png", 0]])
    with pytest.raises(DataError) as caught:
        survey(data / "rows.csv")
    assert "line 3: picture is empty" in str(caught.value)
    assert "its content is not here: git annex get" in str(caught.value)
