"""Slices of held-out people, each scored alone: how pictures are calibrated and measured."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lab.release.people_calibration import (
    MIN_PEOPLE,
    fit_single_slices,
    gate_threshold,
    is_refused,
    one_each,
)
from lab.release.single_slice_figures import single_slice_figures
from lab.release.single_slices import SingleSlice, single_slices
from meninx._data.manifest import Picture
from meninx._detect.decision import conformal_p_values
from meninx._detect.loading import load_detector
from meninx._scan.nifti import write_nifti
from meninx._synthesis.phantom import Phantom, grid_of

# A whole head in fine voxels, which is cut in all planes.
HEAD = grid_of("axial", (90, 106, 72), (2.05, 2.1, 2.0))


def slices(people, each=5, sequence="FLAIR", shift=3.0, seed=0, plane="axial"):
    """Return slices of people, half of each with a tumor."""
    rng = np.random.default_rng(seed)
    return [
        SingleSlice(
            f"{sequence} {person}",
            "HT",
            sequence,
            plane,
            tumor,
            float(rng.normal(shift * tumor, 1.0)),
            float(rng.uniform(0.2, 0.9)),
            bool(rng.random() < 0.8) if tumor else None,
        )
        for person in range(people)
        for tumor in (True, False)
        for _ in range(each)
    ]


def test_each_person_counts_once_for_each_class():
    known = slices(MIN_PEOPLE) + slices(MIN_PEOPLE - 1, sequence="T2", seed=1)
    picture, by_sequence = fit_single_slices(known, 1.0)
    assert set(by_sequence) == {"FLAIR"}
    own = by_sequence["FLAIR"]
    assert len(own.tumor_logits) == len(own.tumor_free_logits) == MIN_PEOPLE
    assert len(picture.tumor_logits) == 2 * MIN_PEOPLE - 1
    assert (own.judged, own.refused, own.borrowed) == (10 * MIN_PEOPLE, 0, 0)
    # The draw of a person does not depend on who else is there.
    drawn = {single.person: single.logit for single in one_each(known, 1.0) if single.tumor}
    fewer = {single.person: single.logit for single in one_each(known[:30], 1.0) if single.tumor}
    assert fewer.items() <= drawn.items()


def test_coverage_holds_for_slices_of_new_people():
    missed = []
    for draw in range(300):
        rng = np.random.default_rng(draw)
        moves = rng.normal(0, 3, 21)
        found = [
            replace(single, logit=single.logit + moves[int(single.person.split()[1])])
            for single in slices(21, each=4, seed=1000 + draw)
        ]
        new = [single.logit for single in found if single.person == "FLAIR 20" and single.tumor]
        known = one_each([single for single in found if single.person != "FLAIR 20"], 1.0)
        logits = [sorted(s.logit for s in known if s.tumor == side) for side in (True, False)]
        missed.append(conformal_p_values(*logits, new[draw % 4])["tumor"] <= 0.1)
    # A tenth of 20 people and the new one.
    assert np.mean(missed) == pytest.approx(2 / 21, abs=0.04)


def test_only_axial_slices_have_a_calibrator_by_sequence():
    known = slices(MIN_PEOPLE, plane="sagittal") + slices(MIN_PEOPLE, plane="", sequence="T1c")
    picture, by_sequence = fit_single_slices(known, 1.0)
    assert by_sequence == {}
    assert len(picture.tumor_logits) == 2 * MIN_PEOPLE


def test_the_gate_refuses_a_share_of_slices_each_person_alike():
    many = [replace(single, ood_score=1.5) for single in slices(1, each=500)]
    few = [replace(single, person=f"p{number}") for number, single in enumerate(slices(99, each=1))]
    few = [replace(single, ood_score=1.0 + 0.001 * place) for place, single in enumerate(few)]
    threshold = gate_threshold(many + few, 0.02)
    # 199 people: one in fifty is refused, be it the one with a thousand slices.
    assert threshold == pytest.approx(1.195, abs=0.006)
    assert is_refused(many[0], threshold)
    assert not is_refused(few[100], threshold)
    blank = replace(few[0], logit=None, ood_score=None)
    assert is_refused(blank, threshold)
    assert gate_threshold([replace(single, ood_score=0.2) for single in few], 0.02) == 1.0


def test_figures_are_measured_by_other_people_and_the_other_half():
    halves = [slices(MIN_PEOPLE + 1, seed=half) for half in (2, 3)]
    halves[1] = [replace(single, person=f"other {single.person}") for single in halves[1]]
    halves[0][0] = replace(halves[0][0], ood_score=5.0)
    found = single_slice_figures(halves, 0.05)
    assert found["FLAIR"]["people"] == 2 * (MIN_PEOPLE + 1)
    assert 0.9 < found["FLAIR"]["pooled"] < 1
    assert 0.7 < found["FLAIR"]["peak"] < 0.9
    assert found["T1"] == {"people": 0, "pooled": None, "within": None, "peak": None}
    assert 0 < found["refused"]["FLAIR"]["value"] < 0.01
    answers = found["answers"]["by sequence, 95%"]
    assert answers["tumor"]["slices"] + answers["tumor-free"]["slices"] == 399
    wrong = answers["tumor"]["shares"]["no_tumor"]["value"]
    assert wrong < 0.15
    referred = [
        found["answers"][f"by sequence, {coverage}%"]["tumor"]["shares"]["refer"]["value"]
        for coverage in (95, 90)
    ]
    assert referred[1] < referred[0]
    assert sum(row["weight"] for row in found["reliability"]["pooled"]) == pytest.approx(1)


def test_slices_are_scored_alone_as_pictures(tmp_path):
    grid = grid_of("axial", (96, 108, 8), (2.0, 2.1, 16.0))
    scan, mask = Phantom(5, "glioma").render("FLAIR", grid)
    members = []
    for index in range(len(scan)):
        image = scan.slice(index).image
        path = tmp_path / f"{index}.png"
        Image.fromarray(np.rint(image / scan.voxels.max() * 255).astype(np.uint8)).save(path)
        covered = scan.view.cut(mask, index)
        place = tmp_path / f"{index}-mask.png"
        Image.fromarray(covered * np.uint8(255)).save(place)
        sick = bool(covered.any())
        members.append(
            Picture(
                str(index),
                path,
                place if sick else None,
                sick,
                None,
                "bert",
                6,
                "lgg",
                person="bert",
                site="HT",
                sequence="FLAIR",
                stack="bert/FLAIR",
                position=index,
                gap_mm=16.0,
            )
        )
    volume = tmp_path / "anna.nii.gz"
    healthy, _ = Phantom(6).render("T1", HEAD, samples=1)
    write_nifti(healthy.voxels, healthy, volume)
    anna = Picture("anna", volume, None, False, None, "anna", 6, "tumor-free", person="anna")
    alone = Picture("c", members[4].picture, members[4].mask, True, None, "g1", 5, "cheng-2017")
    detector = load_detector(threads=1)
    found = single_slices(detector, [*members, replace(anna, sequence="T1"), alone])
    bert = [single for single in found if single.person == "bert"]
    assert {single.plane for single in bert} == {"axial"}
    assert {single.tumor for single in bert} == {True, False}
    assert {single.plane for single in found if single.person == "anna"} == {
        "axial",
        "sagittal",
        "coronal",
    }
    (picture,) = [single for single in found if single.person == "g1"]
    assert (picture.sequence, picture.plane) == ("T1c", "")
    # Without neighbors a slice scores as the picture of it that stands by itself.
    assert picture.logit in [single.logit for single in bert]
    assert all((single.peak_inside is None) == (not single.tumor) for single in found)
