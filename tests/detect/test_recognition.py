from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from meninx._detect.answer_words import measured_on
from meninx._detect.engine import Workers
from meninx._detect.findings import Findings
from meninx._detect.head_slices import brain_slices
from meninx._detect.loading import load_detector
from meninx._detect.recognition import (
    TURNS,
    Head,
    Recognized,
    calibrated_as,
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
    found = recognition_warnings(scan, Recognized(**recognized), by_sequence=True)
    return [warning.code for warning in found]


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
    assert recognition_warnings(PICTURE, None, by_sequence=True) == ()
    assert turn_to_try(PICTURE, np.zeros((1, 0), dtype=np.float32), {}) == 0
    assert sequence_scored_as("unknown", None) == "unknown"
    assert recognized_from_json(None) is None


def test_only_what_has_no_orientation_is_turned_back():
    likely = logits((0.9, 0.9, 0.9, 0.95))
    for scan in (PICTURE, UNORIENTED, replace(VOLUME, geometry_estimated=True)):
        assert turn_to_try(scan, likely, HEADS) == 180
        assert turn_to_try(scan, logits((0.9, 0.9, 0.9, 0.6)), HEADS) == 0
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


def test_a_picture_in_another_plane_is_judged_with_pictures_of_all_kinds():
    for plane, expected in (("axial", "T1"), (None, "T1"), ("sagittal", "unknown")):
        assert calibrated_as("T1", Recognized(plane=plane), volume=False) == expected
        assert calibrated_as("T1", Recognized(plane=plane), volume=True) == "T1"
    assert calibrated_as("T1", None, volume=False) == "T1"
    assert calibrated_as("unknown", Recognized("FLAIR", "coronal"), volume=False) == "unknown"


def test_a_turn_is_undone_only_if_the_picture_is_upright_afterwards():
    before = logits((0.9, 0.9, 0.9, 0.95))
    upright = before.copy()
    upright[:, -4:] = before[:, [-3, -4, -2, -1]]
    assert is_turned(PICTURE, 180, before, upright, HEADS)
    assert not is_turned(PICTURE, 180, before, before, HEADS)
    assert not is_turned(PICTURE, 270, before, upright, HEADS)


class Knowing:
    """An engine that knows an upright picture, and so in which turn it sees it."""

    def __init__(self, engine, upright):
        self.engine, self.upright = engine, upright
        self.threads = 1

    @contextmanager
    def workers(self, count, *, alone=True):
        """Yield this thread."""
        yield Workers(self.run, count)

    def run(self, x):
        """Return the output of the engine, with logits of HEADS that name sequence and turn."""
        turned = [np.rot90(self.upright, turn // 90, axes=(2, 3)) for turn in TURNS]
        nearest = int(np.argmin([np.abs(x - other).mean() for other in turned]))
        row = np.zeros(13, dtype=np.float32)
        row[2] = 9  # T1c
        row[9 + HEADS["turn"].kinds.index(str(TURNS[nearest]))] = 9
        return self.engine.run(x)._replace(recognition=np.tile(row, (len(x), 1)))


@pytest.fixture
def knowing(sick):
    detector = load_detector()
    image = sick.scan.slice(int(sick.mask.sum(axis=(0, 1)).argmax())).image
    upright = Scan("upright.png", np.ascontiguousarray(image.T[:, :, None]))
    stack, _ = detector.input_stack(upright, brain_slices(upright))
    detector.card = replace(detector.card, heads=HEADS)
    detector._engine = Knowing(detector._engine, detector.card.preprocessing.normalize(stack))
    return detector, image, upright


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_picture_gets_the_answer_of_the_upright_one_in_its_own_coordinates(knowing, turn):
    detector, image, upright = knowing
    turned = np.rot90(image, turn // 90)
    scan = Scan("turned.png", np.ascontiguousarray(turned.T[:, :, None]))
    found, expected = detector.score(scan), detector.score(upright)
    assert found.recognized == replace(expected.recognized, turn=turn)
    assert found.logit == pytest.approx(expected.logit, abs=0.3)
    assert [warning.code for warning in found.warnings] == ["turned_back", "sequence_recognized"]
    assert [warning.code for warning in expected.warnings] == ["sequence_recognized"]
    marked = np.zeros(image.shape)
    row, column = upright.slice(0).position_of(expected.slices[0].peak)
    marked[row, column] = 1
    wanted = np.argwhere(np.rot90(marked, turn // 90))[0]
    assert np.abs(wanted - scan.slice(0).position_of(found.slices[0].peak)).max() <= 2
    cells = np.rot90(expected.slices[0].cells, turn // 90)
    # The margins around a head that is not square differ by a pixel.
    assert np.abs(found.slices[0].cells - cells).mean() < 0.02


def test_types_are_named_for_a_picture_that_is_recognized_as_t1c(knowing):
    detector, _, upright = knowing
    found = replace(detector.score(upright), decision="tumor")
    assert (found.sequence, found.scored_as) == ("unknown", "T1c")
    assert found.as_json()["types"]
    assert not replace(found, recognized=Recognized()).as_json()["types"]
    assert Findings.from_json(found.as_json()).as_json() == found.as_json()


def test_a_recognized_sequence_chooses_the_calibrator_of_a_volume(knowing, sick):
    detector, _, _ = knowing
    found = detector.score(replace(sick.scan, sequence="unknown"))
    calibration = detector.card.calibration
    assert found.reference == calibration.reference(volume=True, sequence="T1c")
    other = detector.score(replace(sick.scan, sequence="unknown", other_contrast=True))
    assert (other.recognized.sequence, other.reason) == (None, "not_calibrated")
    evidence = detector.score_study([found], "s")
    assert evidence.weighed[0].sequence == "T1c"
    assert evidence.reference == found.reference


def test_a_recognized_sequence_chooses_the_calibrator_of_a_picture_that_has_one(knowing):
    detector, _, upright = knowing
    before = detector.score(upright)
    assert before.reference.scans == "pictures"
    assert [warning.text for warning in before.warnings if "looks like" in warning.text] == [
        "the file names no sequence; it looks like T1c"
    ]
    calibration = detector.card.calibration
    own = replace(calibration.picture, offset=calibration.picture.offset + 1, borrowed=0)
    detector.card = replace(
        detector.card,
        calibration=replace(calibration, picture_by_sequence={"T1c": own, "FLAIR": own}),
    )
    found = detector.score(upright)
    assert found.logit == before.logit
    assert found.probability == own.probability(found.logit)
    assert found.reference == detector.card.calibration.reference(volume=False, sequence="T1c")
    assert "T1c pictures with a tumor" in measured_on(found)
    assert any("T1c and was scored as such" in warning.text for warning in found.warnings)
    stated = detector.score(replace(upright, sequence="FLAIR"))
    assert stated.reference.scans == "FLAIR pictures"
    study = detector.score_study([found], "a study of one picture")
    assert (study.probability, study.reference) == (found.probability, found.reference)
    # No slices of T1 were held out: compared with all pictures.
    assert detector.score(replace(upright, sequence="T1")).reference == before.reference
