"""Tumor-free heads in the planes that they were not scanned in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lab.release import candidates, planes
from meninx._data.manifest import Picture
from meninx._learn.input.dataset import MASKED, TUMOR_FREE, Facts, SliceDataset
from meninx._scan.scan import Scan


def scan_of(spacing, extent=(200, 220, 180)):
    """Return an axial scan in LPS whose voxels all differ."""
    shape = [round(side / gap) for side, gap in zip(extent, spacing, strict=True)]
    voxels = np.random.default_rng(1).uniform(0, 90, shape).astype(np.float32)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-90, -100, -60]
    return Scan("head", voxels, affine, "T1")


def test_a_head_is_cut_along_its_two_other_axes_and_stays_where_it_was():
    scan = scan_of((1.0, 1.0, 2.0))
    cut = list(planes.in_other_planes(scan))
    assert [part.view.plane for part in cut] == ["sagittal", "coronal"]
    for part in cut:
        assert part.slice_gap_mm == 6.0
        assert part.sequence == "T1"
        for place in ((0, 0, 0), (5, 7, 3), tuple(n - 1 for n in part.voxels.shape)):
            point = np.linalg.inv(scan.affine) @ [*part.point_of(place), 1]
            assert part.voxels[place] == scan.voxels[tuple(point[:3].round().astype(int))]


@pytest.mark.parametrize(
    ("spacing", "extent"),
    [((0.9, 0.9, 5.0), (200, 220, 180)), ((1.0, 1.0, 1.0), (200, 220, 16))],
    ids=["thick slices", "slab"],
)
def test_what_is_too_coarse_or_thin_is_left_out(spacing, extent):
    assert list(planes.in_other_planes(scan_of(spacing, extent))) == []


def test_only_tumor_free_volumes_are_cut(monkeypatch):
    monkeypatch.setattr(planes, "read_one", lambda _: scan_of((2.0, 2.0, 2.0)))
    rows = [
        Picture(
            name,
            Path(f"{name}.nii.gz"),
            None,
            name == "bert",
            None,
            name,
            6,
            "a collection",
            person=name,
            sequence="T1",
        )
        for name in ("anna", "bert")
    ]
    found = list(planes.examples(tuple(rows)))
    assert found
    facts = [example.facts for example in found]
    assert {(fact.person, fact.source, fact.kind, fact.fold) for fact in facts} == {
        ("anna", f"a collection, {plane}", TUMOR_FREE, 6) for plane in ("sagittal", "coronal")
    }


def test_the_thin_stacks_of_patients_are_cut_with_their_masks(tmp_path):
    rows = []
    rng = np.random.default_rng(3)
    for number in range(60):
        image = rng.uniform(20, 90, (100, 96)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        mask = np.zeros((100, 96), np.uint8)
        mask[30:50, 60:80] = 255
        sick = 20 <= number < 40
        if sick:
            Image.fromarray(mask).save(tmp_path / f"{number}-mask.png")
        rows.append(
            Picture(
                str(number),
                tmp_path / f"{number}.png",
                tmp_path / f"{number}-mask.png" if sick else None,
                sick,
                None,
                "p",
                7,
                "lgg",
                person="p",
                sequence="T1",
                stack="p/T1",
                position=number,
                gap_mm=2.5,
            )
        )
    found = list(planes.examples(tuple(rows)))
    assert {example.facts.source for example in found} == {"lgg, sagittal", "lgg, coronal"}
    sick = [example for example in found if example.kind == MASKED]
    assert 0 < len(sick) < len(found)
    assert {example.kind for example in found} == {MASKED, TUMOR_FREE}
    for example in sick:
        # 20 of 60 slices, 20 of 96 or 100 pixels.
        assert example.mask.mean() == pytest.approx(20 / 60 * 0.2, rel=0.1)
    thick = tuple(replace(row, gap_mm=4.0) for row in rows)
    assert list(planes.examples(thick)) == []


def test_heads_in_other_planes_are_scored_apart():
    image = np.zeros((3, 16, 16), np.uint8)
    image[:, 4:12, 4:12] = 200
    facts = [
        Facts(TUMOR_FREE, person="anna", sequence="T1", source=source)
        for source in ("tumor-free", "simulated", "tumor-free, sagittal")
    ]
    plane = torch.from_numpy(image)
    dataset = SliceDataset.of_planes(plane, torch.zeros_like(plane), plane, facts)
    cells = np.zeros((3, 4, 4))
    for other_planes, source in ((False, "tumor-free"), (True, "tumor-free, sagittal")):
        found = candidates.scores_of_scans(dataset, cells, other_planes=other_planes)
        assert [scan["source"] for scan in found["T1"]] == [source]
