"""Copies are found by descriptors alone, and other people's slices are not taken for them."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from meninx._data import descriptors
from meninx._data.descriptors import (
    MAX_DISTANCE,
    are_copies,
    closest_distances,
    copied_rows,
    descriptor_of,
    descriptors_in,
    descriptors_of,
    descriptors_of_scan,
    seen_slices,
)
from meninx._data.manifest import Picture
from meninx._detect.model_card import DESCRIPTOR_BYTES, NOT_RECORDED, NOTHING_SEEN, SeenSlices
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import write_nifti

GRID = grid_of("axial", (150, 173, 3), (1.3, 1.1, 30.0))


def head(seed):
    """Return the middle slice of a phantom on a black border, bytes."""
    scan = make_study(f"head-{seed}", seed, None, "T2", "axial", GRID).scan
    image = scan.slice(len(scan) // 2).image
    image = np.rint(255 * np.clip(image / np.percentile(image, 99.8), 0, 1))
    return np.pad(image, 12).astype(np.float32)


@pytest.fixture(scope="module")
def heads():
    return [head(seed) for seed in range(60, 66)]


def saved(image, **how):
    buffer = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(buffer, **how)
    with Image.open(buffer) as opened:
        return np.asarray(opened.convert("L"), dtype=np.float32)


def resized(image, width, height):
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


CHANGES = {
    "smaller": lambda image: resized(image, 101, 118),
    "larger": lambda image: resized(image, 640, 480),
    "jpeg": lambda image: saved(image, format="JPEG", quality=35),
    "webp": lambda image: saved(image, format="WEBP", quality=40),
    "16 bits": lambda image: image * 257 + 100,
    "brighter": lambda image: np.minimum(1.3 * image, 255),
    "gamma": lambda image: 255 * (image / 255) ** 0.75,
    "border": lambda image: np.pad(image, ((9, 20), (14, 3))),
    "cropped": lambda image: image[5:-5, 5:-5],
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned": np.rot90,
    "turned and mirrored": lambda image: image.T,
}


@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_found(heads, change):
    known = np.stack([descriptor_of(image) for image in heads])
    made = [np.ascontiguousarray(CHANGES[change](image), dtype=np.float32) for image in heads]
    own = np.stack([descriptor_of(image) for image in made])
    assert own.shape == (len(heads), DESCRIPTOR_BYTES)
    for index in range(len(heads)):
        assert closest_distances(own[index][None], known[index][None]) <= MAX_DISTANCE


def test_other_heads_are_no_copies():
    rng = np.random.default_rng(8)
    known = rng.integers(0, 256, (3000, DESCRIPTOR_BYTES), dtype=np.uint8)
    others = rng.integers(0, 256, (100, DESCRIPTOR_BYTES), dtype=np.uint8)
    assert not are_copies(others, known).any()
    assert not are_copies(others, known[:0]).any()
    assert are_copies(known[:0], known).shape == (0,)
    assert are_copies(known[:5], known).all()


def test_distances_count_bits():
    zero = np.zeros((1, DESCRIPTOR_BYTES), dtype=np.uint8)
    other = zero.copy()
    other[0, 3] = 0b1011
    assert closest_distances(zero, zero) == [0]
    assert closest_distances(zero, other) == [3]


def test_what_shows_too_little_has_no_descriptor(heads):
    rng = np.random.default_rng(0)
    crown = np.zeros((150, 170), dtype=np.float32)
    crown[60:80, 70:100] = rng.integers(100, 255, (20, 30))
    assert descriptor_of(crown) is None
    assert descriptor_of(np.floor(heads[0] / 40)) is None
    assert descriptor_of(np.full((40, 50), 7, dtype=np.float32)) is None


def rows(tmp_path, heads):
    found = []
    for index, image in enumerate(heads):
        path = tmp_path / f"{index}.png"
        Image.fromarray(image.astype(np.uint8)).save(path)
        found.append(Picture(str(index), path, None, False, None, str(index), 1, ""))
    return found


def test_a_stack_is_a_copy_where_several_of_its_slices_are(tmp_path, heads):
    pictures = rows(tmp_path, heads)
    described = descriptors_of(pictures, workers=2)
    alone = seen_slices(described[:1])
    assert copied_rows(pictures, described, alone)[0]
    stacked = [replace(p, stack="A" if n < 4 else "B") for n, p in enumerate(pictures)]
    assert copied_rows(stacked, described, alone) == [False] * len(pictures)
    twice = seen_slices([described[0], described[3]])
    assert copied_rows(stacked, described, twice) == [n < 4 for n in range(len(pictures))]
    assert copied_rows(pictures, described, NOT_RECORDED) == [False] * len(pictures)


def test_a_volume_is_known_by_slices_a_few_mm_apart(tmp_path):
    study = make_study(
        "volume", 5, None, "FLAIR", "axial", grid_of("axial", (60, 74, 30), (3.0, 3.2, 4.5))
    )
    path = tmp_path / "copy.nii.gz"
    write_nifti((study.scan.voxels * 3 + 7).astype(np.int16), study.scan, path)
    picture = Picture("v", path, None, False, None, "v", 1, "")
    whole = descriptors_of_scan(study.scan)
    assert 5 < len(whole) <= 30
    described = descriptors_of([picture])
    assert copied_rows([picture], described, seen_slices([whole])) == [True]
    assert copied_rows([picture], described, seen_slices([whole[3:4]])) == [False]


def test_a_file_that_can_not_be_read_has_no_slices(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"words")
    bad = Picture("b", tmp_path / "bad.png", None, False, None, "b", 1, "")
    described = descriptors_of([bad])
    assert described[0].shape == (0, DESCRIPTOR_BYTES)
    assert copied_rows([bad], described, seen_slices(described)) == [False]


def test_a_record_holds_each_slice_once_and_those_before(monkeypatch):
    made = np.random.default_rng(1).integers(0, 256, (9, DESCRIPTOR_BYTES), dtype=np.uint8)
    first = seen_slices([made[:4]], NOTHING_SEEN)
    both = seen_slices([made[2:]], first)
    assert (len(first), len(both), both.complete) == (4, 9, True)
    assert {bytes(row) for row in descriptors_in(both)} == {bytes(row) for row in made}
    assert not seen_slices([made], NOT_RECORDED).complete
    assert not seen_slices([], SeenSlices(first.descriptors, complete=False)).complete
    monkeypatch.setattr(descriptors, "MAX_DESCRIPTORS", 5)
    thinned = seen_slices([made])
    assert (len(thinned), thinned.complete) == (5, False)
