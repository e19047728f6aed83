"""Tumor-free heads in the planes that they were not scanned in."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lab.release import candidates, planes
from meninx._data.manifest import Picture
from meninx._learn.input.dataset import TUMOR_FREE, Facts, SliceDataset
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
        ("anna", planes.OTHER_PLANES, TUMOR_FREE, 6)
    }


def test_no_person_is_scored_on_these_slices():
    image = np.zeros((3, 16, 16), np.uint8)
    image[:, 4:12, 4:12] = 200
    facts = [
        Facts(TUMOR_FREE, person="anna", sequence="T1", source=source)
        for source in ("tumor-free", "simulated", planes.OTHER_PLANES)
    ]
    plane = torch.from_numpy(image)
    dataset = SliceDataset.of_planes(plane, torch.zeros_like(plane), plane, facts)
    found = candidates.scores_of_scans(dataset, np.zeros((3, 4, 4)))
    assert [scan["source"] for scan in found["T1"]] == ["tumor-free"]
