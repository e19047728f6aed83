"""What can't be a mask is refused, and what needs a threshold says so."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from meninx._data.mask_pictures import read_covered
from meninx._data.mask_values import check_extent, grouped, tumor_of
from meninx._data.prepare import prepare
from meninx._data.volume_masks import read_mask
from meninx._errors import DataError, UnsupportedScan
from meninx._scan.reading import read_one

SHAPE = (40, 48, 24)
AFFINE = np.diag([-4.0, -4.0, 5.0, 1.0])
X, Y, Z = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
TUMOR = ((X - 14) / 5) ** 2 + ((Y - 20) / 6) ** 2 + ((Z - 11) / 4) ** 2 < 1
HEAD = ((X - 20) / 16) ** 2 + ((Y - 24) / 20) ** 2 + ((Z - 12) / 11) ** 2 < 1
BRAIN = ((X - 20) / 14) ** 2 + ((Y - 24) / 18) ** 2 + ((Z - 14) / 9) ** 2 < 1
NOISE = np.random.default_rng(0)
IMAGE = (HEAD * NOISE.normal(500, 120, SHAPE)).clip(0).astype(np.int16)
OTHER = (HEAD * NOISE.normal(400, 90, SHAPE)).clip(0).astype(np.float32)
ONES = TUMOR.astype(np.float32)


def blurred(values):
    """Values as of a resampled mask: each the mean of two neighbors along two axes."""
    values = (values + np.roll(values, 1, 0)) / 2
    return ((values + np.roll(values, 1, 1)) / 2).astype(np.float32)


def save(path, voxels):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), path)
    return path


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return read_one(save(tmp_path_factory.mktemp("scan") / "flair.nii", IMAGE))


LABELS = TUMOR * np.where(X < 13, 1, np.where(Y < 20, 2, 4))
GRID = (X // 6 + 7 * (Y // 6) + 1) * (HEAD & (X % 6 < 2) & (Y % 6 < 2) & (Z == 9))
ORDINARY = {
    "ones": (ONES.astype(np.uint8), TUMOR, ""),
    "labels 1, 2 and 4": (LABELS.astype(np.uint8), TUMOR, ""),
    "255": (TUMOR.astype(np.uint8) * 255, TUMOR, ""),
    "one scaled label": (ONES * 0.004, TUMOR, ""),
    "scaled labels": (LABELS.astype(np.float32) / 255, TUMOR, ""),
    "numbered lesions": (GRID.astype(np.int16), GRID > 0, ""),
    "NaN outside": (np.where(TUMOR, 1, np.nan).astype(np.float32), TUMOR, ""),
    "NaN at the edge, no tumor": (np.where(HEAD, 0, np.nan).astype(np.float32), ONES < 0, ""),
    "rounded 0": (ONES * 2 - 1e-5, TUMOR, ""),
    "empty": (ONES * 0, ONES < 0, ""),
    "resampled": (blurred(ONES), blurred(ONES) >= 0.5, "reaches 0.5"),
    "resampled labels": (
        blurred(LABELS.astype(np.float32)),
        blurred(LABELS.astype(np.float32)) >= 0.5,
        "reaches 0.5",
    ),
    "resampled 255": (
        blurred(blurred(255 * ONES)),
        blurred(blurred(ONES)) > 0.5,
        "half of the highest",
    ),
    "overshoot": (1.5 * ONES - 0.4 * NOISE.random(SHAPE) * (blurred(ONES) > 0), TUMOR, "0.5"),
    "probabilities": (0.9 * ONES + 0.01, TUMOR, "reaches 0.5"),
    "probabilities of a head": (0.9 * ONES + 0.01 * HEAD, TUMOR, "reaches 0.5"),
    "low probabilities": (0.3 * blurred(ONES) + 0.01, ONES < 0, "no value does"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_masks_are_read_and_thresholds_said(scan, tmp_path, name):
    values, expected, sentence = ORDINARY[name]
    said = []
    found = read_mask(save(tmp_path / "seg.nii", values.astype(np.float32)), scan, said.append)
    np.testing.assert_array_equal(found, expected)
    assert [sentence in text for text in said] == [True] * bool(sentence)


REFUSED = {
    "constant": (np.ones(SHAPE, np.uint8), "without the value 0: all its voxels are 1"),
    "constant fraction": (np.full(SHAPE, 0.3, np.float32), "all its voxels are 0.3"),
    "no 0": (1 + TUMOR.astype(np.uint8), "without the value 0: 2 values from 1 to 2"),
    "below 0": (-TUMOR.astype(np.int16), "values below 0, down to -1"),
    "-1 and 1": (np.where(TUMOR, 1, -1).astype(np.int16), "values below 0"),
    "normalized image": ((OTHER - 300) / 90, "values below 0"),
    "inverted": (1 - TUMOR.astype(np.uint8), "covers 9.% of its field; is it inverted"),
    "inverted, 255": (255 - 255 * TUMOR.astype(np.uint8), "is it inverted"),
    "the head": (HEAD.astype(np.uint8), "covers 100% of the head"),
    "the brain": (BRAIN.astype(np.uint8), "of the head; is it that of the brain"),
    "tissues": ((BRAIN * (1 + X % 3)).astype(np.uint8), "of the head"),
    "the image": (IMAGE, "gray levels in .*% of the field, as in an image"),
    "another image": (OTHER, "gray levels"),
    "another image, 0 to 1": (OTHER / OTHER.max(), "gray levels"),
    "an image of 8 bits": ((OTHER / 4).astype(np.uint8), "gray levels"),
    "NaN inside": (np.where(TUMOR, np.nan, 0).astype(np.float32), "NaN does not say where"),
    "NaN everywhere": (np.full(SHAPE, np.nan, np.float32), "NaN does not say where"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cant_be_a_mask_is_refused(scan, tmp_path, name):
    values, message = REFUSED[name]
    kind = np.float32 if values.dtype == np.float64 else values.dtype
    with pytest.raises((DataError, UnsupportedScan), match=message):
        read_mask(save(tmp_path / "seg.nii", values.astype(kind)), scan)


FLAT, DISK = IMAGE[:, :, 12].T / 4, TUMOR[:, :, 11].T


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.fromarray(FLAT.astype(np.uint8)), "gray levels"),
        (Image.fromarray(FLAT.astype(np.uint8)).convert("RGB"), "gray levels"),
        (Image.fromarray(1 + DISK.astype(np.uint8)), "without the value 0"),
        (Image.fromarray(np.full(DISK.shape, 255, np.uint8)), "without the value 0: all are 255"),
        (Image.fromarray(-DISK.astype(np.int32)), "values below 0"),
        (
            Image.merge(
                "RGBA", [*[Image.new("L", DISK.T.shape)] * 3, Image.fromarray(DISK * np.uint8(255))]
            ),
            "its transparency only",
        ),
    ],
    ids=["image", "colors", "no 0", "constant", "negative", "alpha"],
)
def test_pictures_that_cant_be_masks_are_refused(tmp_path, picture, message):
    picture.save(tmp_path / "mask.tif")
    with pytest.raises(DataError, match=message):
        read_covered(tmp_path / "mask.tif")


def test_masks_of_fractions_and_of_transparent_pixels(tmp_path):
    said = []
    Image.fromarray(np.where(DISK, 1, np.nan).astype(np.float32)).save(tmp_path / "nan.tif")
    np.testing.assert_array_equal(read_covered(tmp_path / "nan.tif", said.append), DISK)
    white = Image.new("L", DISK.T.shape, 255)
    alpha = Image.fromarray(DISK * np.uint8(255))
    Image.merge("RGBA", [white, white, white, alpha]).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_covered(tmp_path / "alpha.png", said.append), DISK)
    assert said == []
    Image.fromarray((DISK * 0.9 + 0.01).astype(np.float32)).save(tmp_path / "share.tif")
    np.testing.assert_array_equal(read_covered(tmp_path / "share.tif", said.append), DISK)
    assert "reaches 0.5" in said[0]


def test_the_extent_of_a_picture_is_compared_with_its_head():
    head, large = HEAD[:, :, 12], TUMOR[:, :, 11]
    check_extent(large, head, "mask.png")
    for mask in (head, BRAIN[:, :, 12], ~large):
        with pytest.raises(DataError, match="covers"):
            check_extent(mask, head, "mask.png")


def test_values_of_another_kind_than_stored_change_nothing():
    for kind in (np.uint8, np.int16, np.float32):
        values = LABELS.astype(kind).astype(np.float32)
        np.testing.assert_array_equal(tumor_of(values, "m", pytest.fail), TUMOR)


def test_one_sentence_stands_for_all_files_it_is_true_of():
    assert grouped(["a: gray", "b: empty", "c: gray", "d: gray"]) == [
        "a: gray; so are 2 more",
        "b: empty",
    ]


def test_prepare_names_every_mask_that_cant_be_one(tmp_path):
    for person in ("P-01", "P-02", "P-03"):
        save(tmp_path / person / "flair.nii", IMAGE + np.int16(person == "P-02"))
        save(tmp_path / person / "seg.nii", blurred(ONES))
    pictures, found = prepare(tmp_path, folds=2)
    assert {picture.tumor for picture in pictures} == {True}
    (note,) = [line for line in found.notes if "0.5" in line]
    assert note.endswith("reaches 0.5; so are 2 more")
    save(tmp_path / "P-01" / "seg.nii", -TUMOR.astype(np.int16))
    save(tmp_path / "P-03" / "seg.nii", np.ones(SHAPE, np.uint8))
    with pytest.raises(DataError, match="2 faults") as caught:
        prepare(tmp_path, folds=2)
    assert "P-01" in str(caught.value)
    assert "P-03" in str(caught.value)


def table_of(folder, rows):
    (folder / "table.csv").write_text("picture,tumor,mask\n" + "\n".join(rows) + "\n")
    return folder / "table.csv"


def test_masks_that_contradict_a_table_are_refused_and_empty_ones_are_not(tmp_path):
    for name, image in (("a", FLAT), ("b", FLAT[::-1]), ("c", FLAT[:, ::-1])):
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / f"{name}.png")
    Image.fromarray(DISK).save(tmp_path / "disk.png")
    Image.fromarray(DISK & False).save(tmp_path / "empty.png")
    table = table_of(tmp_path, ["a.png,1,disk.png", "b.png,0,empty.png", "c.png,0,"])
    pictures, _ = prepare(table, folds=2)
    assert [(row.tumor, row.mask and row.mask.name) for row in pictures] == [
        (True, "disk.png"),
        (False, None),
        (False, None),
    ]
    table = table_of(tmp_path, ["a.png,1,empty.png", "b.png,0,disk.png", "c.png,1,a.png"])
    with pytest.raises(DataError, match="3 faults") as caught:
        prepare(table, folds=2)
    for part in ("mask of a tumor is empty", "b.png: labeled tumor-free, but", "gray levels"):
        assert part in str(caught.value)


def test_masks_that_contradict_the_label_of_a_volume(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.nii", IMAGE + np.int16(name == "b"))
    save(tmp_path / "tumor.nii", TUMOR.astype(np.uint8))
    save(tmp_path / "empty.nii", TUMOR.astype(np.uint8) * 0)
    table = table_of(tmp_path, ["a.nii,1,empty.nii", "b.nii,0,empty.nii"])
    pictures, found = prepare(table, folds=2)
    assert [row.tumor for row in pictures] == [False, False]
    assert any("although the volume is labeled a tumor" in line for line in found.notes)
    with pytest.raises(DataError, match=r"labeled tumor-free, but its mask .* is not empty"):
        prepare(table_of(tmp_path, ["a.nii,1,tumor.nii", "b.nii,0,tumor.nii"]), folds=2)


def test_a_mask_with_a_tumor_in_a_class_without_one_is_refused(tmp_path):
    (tmp_path / "no").mkdir()
    Image.fromarray(FLAT.astype(np.uint8)).save(tmp_path / "no" / "a.png")
    Image.fromarray(DISK).save(tmp_path / "no" / "a_mask.png")
    with pytest.raises(DataError, match="labeled tumor-free, but its mask"):
        prepare(tmp_path, folds=2)
    save(tmp_path / "volumes" / "healthy" / "P-1" / "flair.nii", IMAGE)
    save(tmp_path / "volumes" / "healthy" / "P-1" / "seg.nii", TUMOR.astype(np.uint8))
    with pytest.raises(DataError, match="labeled tumor-free, but its mask"):
        prepare(tmp_path / "volumes", folds=2)


def test_resampled_labels_of_a_large_edema_are_no_gray_levels():
    edema = ((X - 14) / 11) ** 2 + ((Y - 20) / 12) ** 2 + ((Z - 11) / 9) ** 2 < 1
    labels = np.where(TUMOR & (X > 15), 4, np.where(edema, 2, 0)).astype(np.float32)
    found = tumor_of(blurred(labels), "labels", print)
    assert found[14, 20, 11]
    assert 0.9 < found.sum() / edema.sum() < 1.2
