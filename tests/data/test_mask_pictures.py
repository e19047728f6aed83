import numpy as np
import pytest
from PIL import Image

from meninx._data.mask_pictures import read_covered
from meninx._errors import DataError

TUMOR = np.zeros((64, 80), bool)
TUMOR[20:40, 30:60] = True


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("value", [1, 255])
def test_masks_of_every_mode_cover_the_same_pixels(tmp_path, mode, value):
    gray = (TUMOR * value).astype(np.uint16 if mode == "I;16" else np.uint8)
    picture = Image.fromarray(gray) if mode == "I;16" else Image.fromarray(gray, "L")
    if mode == "P":
        picture.putpalette([0, 0, 0, *[200, 30, 30] * 255])
    elif mode == "1":
        picture = Image.fromarray(TUMOR)
    elif mode != "I;16":
        picture = picture.convert(mode)
    picture.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_covered(tmp_path / "mask.png"), TUMOR)


def test_several_labels_are_all_tumor(tmp_path):
    labels = TUMOR.astype(np.uint8)
    labels[25:30, 30:60], labels[30:35, 30:60] = 2, 4
    Image.fromarray(labels).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_covered(tmp_path / "mask.png"), TUMOR)


@pytest.mark.parametrize("quality", [20, 60, 90])
@pytest.mark.parametrize("value", [100, 255])
def test_what_compression_leaves_on_black_is_no_tumor(tmp_path, quality, value):
    Image.fromarray((TUMOR * value).astype(np.uint8)).save(tmp_path / "mask.jpg", quality=quality)
    with Image.open(tmp_path / "mask.jpg") as opened:
        assert (np.asarray(opened) > 0).sum() > TUMOR.sum()
    found = read_covered(tmp_path / "mask.jpg")
    assert (found != TUMOR).sum() <= 0.02 * TUMOR.sum()
    noise = np.random.default_rng(0).integers(0, 4, TUMOR.shape).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "empty.jpg", quality=95)
    assert not read_covered(tmp_path / "empty.jpg").any()


def test_a_resized_mask_counts_where_most_of_a_pixel_is_tumor(tmp_path):
    rows, columns = np.mgrid[:64, :80]
    disk = (rows - 30) ** 2 + (columns - 40) ** 2 < 15**2
    small = Image.fromarray(disk).convert("L").resize((53, 43), Image.Resampling.BICUBIC)
    small.save(tmp_path / "mask.png")
    share = read_covered(tmp_path / "mask.png").mean()
    assert share == pytest.approx(disk.mean(), rel=0.03)


def test_what_is_no_picture_is_an_error(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"words")
    with pytest.raises(DataError, match="the mask can't be read"):
        read_covered(tmp_path / "mask.png")
