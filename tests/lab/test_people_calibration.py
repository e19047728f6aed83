import json
from dataclasses import asdict

import numpy as np
import pytest

from lab.release.held_out_people import Half, answers, references_of
from lab.release.people_calibration import MIN_PEOPLE, fit_people
from lab.release.references import Scored
from meninx._assess.cases import Case
from meninx._data.manifest import Picture
from meninx._detect.calibration import Calibration
from meninx._detect.findings import Findings
from meninx._detect.model_card import calibration_of


def cases(count, rng, sequences=("FLAIR", "T1")):
    """Return scans of as many people with a tumor as without; FLAIR tells more than T1."""
    found = []
    for number in range(2 * count):
        sick = number < count
        for sequence in sequences:
            shift = {"FLAIR": 4.0, "T1": 1.5, "T2": 1.0}[sequence]
            logit = float(rng.normal(shift if sick else 0.0, 1.0))
            name = f"p{number}"
            row = Picture(
                f"{name} {sequence}",
                None,
                None,
                sick,
                None,
                name,
                6,
                "s",
                person=name,
                sequence=sequence,
            )
            found.append(Case(row, Findings(row.id, "scored", logit=logit, sequence=sequence)))
    return found


def test_sequences_with_enough_people_get_a_scale_of_their_own():
    rng = np.random.default_rng(0)
    known = cases(MIN_PEOPLE, rng) + cases(MIN_PEOPLE - 1, rng, ("T2",))
    found = fit_people(known)
    assert set(found.by_sequence) == {"FLAIR", "T1"}
    assert len(found.by_sequence["FLAIR"].tumor_logits) == MIN_PEOPLE
    assert len(found.volume.tumor_logits) == 3 * MIN_PEOPLE - 1
    assert found.study.weights["FLAIR"] > 2 * found.study.weights["T1"]


def test_simulated_tumor_free_scans_replace_missing_sequences():
    rng = np.random.default_rng(1)
    known = cases(MIN_PEOPLE, rng)
    sick = [case for case in cases(MIN_PEOPLE, rng) if case.picture.tumor]
    t1c = [
        Case(case.picture, Findings(case.picture.id, "scored", logit=3.0, sequence="T1c"))
        for case in sick
    ]
    assert "T1c" not in fit_people(known + t1c).by_sequence
    made = [Findings("made", "scored", logit=-1.0, sequence="T1c")] * MIN_PEOPLE
    assert len(fit_people(known + t1c, made).by_sequence["T1c"].tumor_free_logits) == MIN_PEOPLE


def test_refused_scans_are_counted_and_do_not_move_the_scale():
    known = cases(MIN_PEOPLE, np.random.default_rng(2))
    row = known[0].picture
    refused = Case(row, Findings(row.id, "refused", sequence="FLAIR"))
    plain, found = fit_people(known), fit_people([*known, refused])
    assert found.volume.refused == 1
    assert found.volume.judged == plain.volume.judged + 1
    assert found.volume.temperature == pytest.approx(plain.volume.temperature)


def test_what_is_fitted_on_both_halves_comes_back_from_its_file():
    halves = []
    for seed in (5, 6):
        known = cases(12, np.random.default_rng(seed))
        for case in known:
            object.__setattr__(case.picture, "person", f"{seed} {case.picture.person}")
        made = [
            Scored("t", Findings("t", "scored", logit=float(logit), sequence="T1c"))
            for logit in np.random.default_rng(seed).normal(0, 1, 3)
        ]
        halves.append(Half(known, {"T1c": made}, []))
    references, table = references_of(halves)
    assert table["T1c"]["real"] == 0
    assert table["T1c"]["alike"] is False
    assert references == []
    found = answers(halves, references)
    assert found["scans"]["tumor"]["scans"] == 48
    assert found["scans by all others"]["tumor-free"]["scans"] == 48
    own = fit_people([case for half in halves for case in half.cases]).volume
    whole = Calibration(picture=own, picture_by_sequence={"FLAIR": own})
    assert calibration_of(json.loads(json.dumps(asdict(whole)))) == whole
