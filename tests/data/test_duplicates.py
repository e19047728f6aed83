import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from meninx._data.duplicates import candidate_pairs, find_duplicates
from meninx._data.near_duplicates import SAME_SLICE, near_duplicate_score, signature_of
from meninx._synthesis.phantom import Phantom, grid_of

SMOOTH = Image.Resampling.BILINEAR


def saved(picture, quality):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


COPIES = {
    "mirrored": ImageOps.mirror,
    "flipped": ImageOps.flip,
    "turned": lambda p: p.rotate(90, expand=True),
    "rotated": lambda p: p.rotate(10, SMOOTH),
    "brightened": lambda p: ImageEnhance.Brightness(p).enhance(1.3),
    "darkened": lambda p: ImageEnhance.Brightness(p).enhance(0.6),
    "gamma": lambda p: p.point([int(255 * (v / 255) ** 0.7) for v in range(256)]),
    "halved": lambda p: p.resize((p.width // 2, p.height // 2)),
    "squashed": lambda p: p.resize((200, 150)),
    "compressed": lambda p: saved(p, 20),
    "framed": lambda p: ImageOps.expand(p, 25, 0),
    "all at once": lambda p: saved(
        ImageEnhance.Brightness(ImageOps.mirror(p).rotate(8, SMOOTH))
        .enhance(1.2)
        .resize((224, 224)),
        60,
    ),
}


@pytest.fixture(scope="module")
def heads():
    """Slices of three people, 5 mm apart, as pictures."""
    pictures = {}
    grid = grid_of("axial", (200, 232, 6), (0.95, 0.95, 5.0))
    for seed in (41, 42, 43):
        scan, _ = Phantom(seed, None).render("T2", grid, noise=0.02)
        low, high = np.percentile(scan.voxels, (1, 99.8))
        for index in range(6):
            gray = np.clip((scan.slice(index).image - low) / (high - low), 0, 1) * 255
            pictures[seed, index] = Image.fromarray(gray.astype(np.uint8))
    return pictures


def signature(picture):
    return signature_of(np.asarray(picture.convert("L"), dtype=np.float32))


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_one_slice_with_their_original(heads, name):
    originals = [signature(picture) for picture in heads.values()]
    copies = [signature(COPIES[name](picture)) for picture in heads.values()]
    proposed = set(candidate_pairs(originals + copies))
    n = len(originals)
    assert all((i, i + n) in proposed for i in range(n))
    assert (
        min(near_duplicate_score(a, b) for a, b in zip(originals, copies, strict=True)) > SAME_SLICE
    )


def test_other_slices_and_other_people_are_not(heads):
    names = list(heads)
    signatures = [signature(picture) for picture in heads.values()]
    for i, name in enumerate(names):
        for j in range(i + 1, len(names)):
            assert near_duplicate_score(signatures[i], signatures[j]) < SAME_SLICE, (name, names[j])


def test_groups_hold_exact_and_near_copies(heads):
    first, second, third = list(heads.values())[::6]
    pictures = [first, ImageOps.mirror(first), first, second, third, third]
    hashes = ["a", "b", "a", "c", "d", "d"]
    found = find_duplicates(hashes, [signature(p) for p in pictures])
    assert [(g.kind, g.members) for g in found.groups] == [
        ("exact", (0, 2)),
        ("exact", (4, 5)),
        ("near", (0, 1, 2)),
    ]
    assert found.cluster.tolist() == [0, 0, 0, 3, 4, 4]


def test_nothing_to_compare():
    assert find_duplicates([], []).groups == ()
    found = find_duplicates(["a", "a"], [None, None])
    assert [group.members for group in found.groups] == [(0, 1)]
    blank = signature_of(np.zeros((50, 60), np.float32))
    assert find_duplicates(["a", "b"], [blank, blank]).cluster.tolist() == [0, 1]


def test_pictures_of_one_person_need_not_be_compared(heads):
    first, second, third = list(heads.values())[::6]
    pictures = [signature(p) for p in (first, ImageOps.mirror(first), second, third, third)]
    hashes = list("abcde")
    persons = ["P1", "P1", "P2", "", ""]
    everything = find_duplicates(hashes, pictures, persons=persons)
    assert [group.members for group in everything.groups] == [(0, 1), (3, 4)]
    # Of unknown people each may be another's copy; byte-identical files are found in any case.
    across = find_duplicates(hashes, pictures, persons=persons, within_persons=False)
    assert [group.members for group in across.groups] == [(3, 4)]
    persons[1] = "P3"
    renamed = find_duplicates(hashes, pictures, persons=persons, within_persons=False)
    assert [group.members for group in renamed.groups] == [(0, 1), (3, 4)]
    exact = find_duplicates(["a", "a"], pictures[:2], persons=["P1", "P1"], within_persons=False)
    assert exact.cluster.tolist() == [0, 0]


def test_crowns_and_noise_tie_no_two_people_together(heads):
    head = next(iter(heads.values()))
    crown = Image.new("L", head.size)
    crown.paste(head.resize((50, 60), SMOOTH), (70, 80))
    noise = head.point([value // 32 for value in range(256)])
    for picture in (crown, noise):
        pair = [signature(picture), signature(picture)]
        assert not pair[0].is_distinctive
        for persons, found in (
            (("", ""), 1),
            (("P1", "P1"), 1),
            (("P1", "P2"), 0),
            (("P1", ""), 0),
        ):
            assert len(find_duplicates(["a", "b"], pair, persons=persons).groups) == found
    assert all(signature(picture).is_distinctive for picture in heads.values())
