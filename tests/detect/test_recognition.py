from dataclasses import replace

import numpy as np
import pytest

from meninx._detect.recognition import (
    Head,
    Recognized,
    is_turned,
    plane_scored_as,
    recognition_warnings,
    recognized_from_json,
    recognized_of,
    sequence_scored_as,
    turn_to_try,
)
from meninx._scan.scan import Scan
from meninx._scan.warning import ScanWarning

HEADS = {
    "sequence": Head(("FLAIR", "T1", "T1c", "T2"), 0.9, 0.8),
    "plane": Head(("axial", "coronal", "sagittal"), 0.9, 0.8),
    "skull": Head(("on", "stripped"), 0.9, 0.8),
    "turn": Head(("0", "180", "270", "90"), 0.9, 0.8),
}
PICTURE = Scan("a.png", np.arange(12, dtype=np.float32).reshape(3, 4, 1))
VOLUME = Scan("a.nii", np.arange(60, dtype=np.float32).reshape(3, 4, 5), np.eye(4))
UNORIENTED = replace(VOLUME, warnings=(ScanWarning("orientation_doubtful", "not given"),))


def logits(*slices):
    """Return the logits of slices, each given by a probability of the four heads' second kinds."""
    rows = []
    for shares in slices:
        row = []
        for head, share in zip(HEADS.values(), shares, strict=True):
            rest = (1 - share) / (len(head.kinds) - 1)
            row += [share if place == 1 else rest for place in range(len(head.kinds))]
        rows.append(np.log(row))
    return np.array(rows, dtype=np.float32)


def codes(scan, **recognized):
    return [warning.code for warning in recognition_warnings(scan, Recognized(**recognized))]


def test_a_head_names_a_kind_only_where_it_is_certain():
    sure = recognized_of(PICTURE, logits((0.95, 0.95, 0.95, 0.95)), HEADS)
    assert sure == Recognized("T1", "coronal", "stripped", 180)
    assert recognized_from_json(sure.as_json()) == sure
    doubtful = recognized_of(PICTURE, logits((0.85, 0.95, 0.85, 0.85)), HEADS)
    assert doubtful == Recognized(None, "coronal", None, None)


def test_a_volume_is_recognized_by_the_mean_over_its_slices():
    mixed = logits((0.99, 0.99, 0.99, 0.99), (0.7, 0.4, 0.99, 0.99))
    assert recognized_of(VOLUME, mixed, HEADS) == Recognized("T1", None, "stripped", 180)


def test_a_detector_without_heads_recognizes_nothing_and_says_nothing():
    assert recognized_of(PICTURE, np.zeros((1, 0), dtype=np.float32), {}) is None
    assert recognition_warnings(PICTURE, None) == ()
    assert turn_to_try(PICTURE, np.zeros((1, 0), dtype=np.float32), {}) == 0
    assert sequence_scored_as("unknown", None) == "unknown"
    assert recognized_from_json(None) is None


def test_only_what_has_no_orientation_is_turned_back():
    likely = logits((0.9, 0.9, 0.9, 0.6))
    for scan in (PICTURE, UNORIENTED, replace(VOLUME, geometry_estimated=True)):
        assert turn_to_try(scan, likely, HEADS) == 180
        assert turn_to_try(scan, logits((0.9, 0.9, 0.9, 0.4)), HEADS) == 0
    assert turn_to_try(VOLUME, likely, HEADS) == 0
    assert codes(PICTURE, turn=90) == codes(UNORIENTED, turn=180) == ["turned_back"]
    assert codes(VOLUME, turn=90) == ["turn_contradicted"]
    assert codes(PICTURE, turn=0) == codes(VOLUME, turn=0) == codes(PICTURE) == []


@pytest.mark.parametrize("named", ["T1", "T1c", "T2", "FLAIR"])
def test_a_named_sequence_is_kept_and_doubted(named):
    scan = replace(VOLUME, sequence=named)
    assert sequence_scored_as(named, Recognized("T1")) == named
    assert codes(scan, sequence="T1") == ([] if named == "T1" else ["sequence_contradicted"])
    assert codes(scan) == []


def test_a_sequence_that_nobody_names_is_recognized():
    assert sequence_scored_as("unknown", Recognized("FLAIR")) == "FLAIR"
    assert sequence_scored_as("unknown", Recognized()) == "unknown"
    assert codes(VOLUME, sequence="FLAIR") == ["sequence_recognized"]


def test_another_contrast_gets_no_sequence():
    diffusion = replace(VOLUME, other_contrast=True)
    found = recognized_of(diffusion, logits((0.95, 0.95, 0.95, 0.25)), HEADS)
    assert found.sequence is None
    assert found.plane == "coronal"


def test_the_plane_of_the_geometry_is_kept_and_doubted():
    assert plane_scored_as(VOLUME, Recognized(plane="sagittal")) == VOLUME.view.plane == "axial"
    assert codes(VOLUME, plane="sagittal") == ["plane_contradicted"]
    assert codes(VOLUME, plane="axial") == codes(PICTURE, plane="axial") == []
    estimated = replace(VOLUME, geometry_estimated=True)
    assert plane_scored_as(estimated, Recognized(plane="sagittal")) == "sagittal"
    assert plane_scored_as(PICTURE, Recognized(plane="sagittal")) is None


def test_a_turn_is_undone_only_if_the_picture_is_upright_afterwards():
    before = logits((0.9, 0.9, 0.9, 0.95))
    upright = before.copy()
    upright[:, -4:] = before[:, [-3, -4, -2, -1]]
    assert is_turned(PICTURE, 180, before, upright, HEADS)
    assert not is_turned(PICTURE, 180, before, before, HEADS)
    assert not is_turned(PICTURE, 270, before, upright, HEADS)
