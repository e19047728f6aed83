import numpy as np
import pytest
from PIL import Image, ImageFile

from meninx._errors import LimitExceeded, UnreadableFile, UnsupportedScan
from meninx._scan.limits import Limits
from meninx._scan.raster import read_picture
from meninx._scan.source import Source


def source(path):
    return Source(str(path), path, path.stat().st_size)


@pytest.fixture
def gray():
    """9 x 7 pixels, all different, over the whole range of a byte."""
    return (np.arange(63).reshape(9, 7) * 4).astype(np.uint8)


def test_truncated_pictures_are_refused_whatever_the_settings_of_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 255, (90, 90)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UnreadableFile):
        read_picture(source(path))


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp"])
def test_lossless_formats_keep_every_value(gray, tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(gray).save(path, **({"lossless": True} if suffix == "webp" else {}))
    scan = read_picture(source(path))
    assert scan.voxels.shape == (7, 9, 1)
    np.testing.assert_array_equal(scan.slice(0).image, gray)


def test_jpeg_is_close(gray, tmp_path):
    Image.fromarray(gray).save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(
        read_picture(source(tmp_path / "a.jpg")).slice(0).image, gray, atol=3
    )


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_kept_whole(tmp_path, suffix):
    deep = (np.arange(63).reshape(9, 7) * 1040 + 1).astype(np.uint16)
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(deep).save(path)
    np.testing.assert_array_equal(read_picture(source(path)).slice(0).image, deep)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_is_converted_to_its_displayed_gray(gray, tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(gray).convert(mode).save(path)
    scan = read_picture(source(path))
    if mode == "1":
        assert set(np.unique(scan.voxels)) == {0, 255}
    else:
        np.testing.assert_allclose(scan.slice(0).image, gray, atol=3)
    assert scan.colorfulness == 0


def test_transparent_pixels_are_dark(gray, tmp_path):
    rgba = np.dstack([gray, gray, gray, np.full_like(gray, 255)])
    rgba[:, 0, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert (read_picture(source(tmp_path / "a.png")).slice(0).image[:, 0] == 0).all()


def test_color_is_measured(tmp_path):
    rgb = np.zeros((10, 10, 3), np.uint8)
    rgb[:5] = (200, 30, 30)
    rgb[5:] = (128, 128, 128)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert read_picture(source(tmp_path / "a.png")).colorfulness == pytest.approx(0.5)


def test_too_large_is_refused_before_it_is_decoded(tmp_path):
    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    with pytest.raises(LimitExceeded, match="pixels: 60,000, the limit is 1,000"):
        read_picture(source(tmp_path / "a.png"), Limits(picture_pixels=1000))


def test_pages_and_damage_are_typed(gray, tmp_path):
    page = Image.fromarray(gray)
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
    with pytest.raises(UnsupportedScan, match="2 pages") as caught:
        read_picture(source(tmp_path / "pages.tif"))
    assert caught.value.reason == "several_pages"
    page.save(tmp_path / "cut.png")
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableFile, match=r"cut\.png"):
        read_picture(source(tmp_path / "cut.png"))
