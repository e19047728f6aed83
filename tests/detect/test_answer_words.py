"""The words for an answer, shared by all outputs."""

from dataclasses import replace

import pytest

from meninx._detect.answer_words import (
    borders_in_words,
    hottest_in_words,
    measured_on,
    never_answered,
    prevalence_in_words,
    scale_in_figures,
    weight_in_words,
    what_would_change_it,
    why_referred,
)
from meninx._detect.calibration import Reference
from meninx._detect.calibrator import Calibrator
from meninx._detect.decision import Borders
from meninx._detect.findings import Findings, SeriesWeight, SliceFinding, StudyFindings
from meninx._detect.recognition import Recognized
from meninx._scan.warning import ScanWarning

REFERRED = Findings(
    "s",
    "scored",
    decision="refer",
    probability=0.4111,
    borders=Borders(0.2104, 0.83),
    p_values={"tumor": 0.09, "no_tumor": 0.26},
    slice_count=24,
    reference=Reference("T1c series", 71, 40, 40),
)


def test_people_count_slices_from_1():
    hottest = SliceFinding(17, 0.9, (1, 2, 17))
    volume = replace(REFERRED, slices=(SliceFinding(3, 0.1, (1, 2, 3)), hottest))
    assert hottest_in_words(volume) == "18 of 24"
    assert hottest_in_words(replace(volume, slice_count=1)) == ""
    assert hottest_in_words(REFERRED) == ""


def test_a_referral_is_explained_with_what_would_change_it():
    assert why_referred(REFERRED) == "scores like 26 % of tumor-free scans and 9 % of tumors"
    assert "more series" in what_would_change_it(REFERRED)
    assert "whole series" in what_would_change_it(replace(REFERRED, slice_count=1))
    other = replace(REFERRED, reason="not_calibrated", message="a series in sagittal slices")
    assert why_referred(other) == "a series in sagittal slices"
    assert "axial" in what_would_change_it(other)
    assert prevalence_in_words(replace(other, borders=None)) == ""
    rare = replace(REFERRED, prevalence=0.02)
    assert prevalence_in_words(rare).endswith("at a prevalence of 2 %.")
    answered = replace(REFERRED, decision="tumor")
    assert (why_referred(answered), what_would_change_it(answered)) == ("", "")


def test_borders_are_said_on_the_scale_of_the_probability():
    assert borders_in_words(REFERRED) == "no tumor below 0.210, refer, tumor from 0.830"
    point = replace(REFERRED, borders=Borders(0.5, 0.5), decision="no_tumor")
    assert borders_in_words(point) == "no tumor below 0.500, tumor from 0.500"
    assert borders_in_words(replace(REFERRED, borders=None)) == ""
    assert scale_in_figures(Findings("s", "failed")) == ("", ())


@pytest.mark.parametrize(("probability", "shown"), [(0.8296, "0.8296"), (0.82999996, "0.82999996")])
def test_no_rounding_puts_a_probability_on_the_other_side(probability, shown):
    found = replace(REFERRED, probability=probability)
    assert scale_in_figures(found)[0] == shown
    values = found.as_json()
    assert values["probability"] < values["borders"]["tumor_from"]


def test_borrowed_references_and_doubtful_geometry_are_reported():
    assert measured_on(REFERRED) == (
        "Compared with 71 T1c series with a tumor and 40 tumor-free (all of these simulated from "
        "people scanned in other sequences), none of them used in training. 40 of a kind are few: "
        "the borders are uncertain."
    )
    doubtful = replace(REFERRED, warnings=(ScanWarning("geometry_doubtful", "as it is"),))
    assert measured_on(doubtful).endswith("it has the scale of axial series.")
    axial = replace(doubtful, recognized=Recognized(plane="axial"))
    assert "it looks axial: it has the scale of axial series." in measured_on(axial)
    plain = StudyFindings("s", decision="tumor", reference=Reference("people", 79, 44))
    assert measured_on(plain) == (
        "Compared with 79 people with a tumor and 44 tumor-free, none of them used in training. "
        "44 of a kind are few: the borders are uncertain."
    )


def test_a_weight_is_described_by_share_and_side():
    assert weight_in_words(SeriesWeight("a", "T1", 0.4, -1.26)) == ("40 %", "1.3 against a tumor")
    assert weight_in_words(SeriesWeight("a", "T1", 0.6, 2.0)) == ("60 %", "2.0 for a tumor")


@pytest.mark.parametrize(
    ("tumor", "tumor_free", "begins"),
    [
        (19, 19, ""),
        (18, 18, "All scans are referred: to exclude an answer at a coverage of 95 % takes 19"),
        (18, 30, "The answer is never no tumor"),
        (30, 18, "The answer is never tumor"),
    ],
)
def test_answers_that_are_never_given_are_named(tumor, tumor_free, begins):
    never = never_answered(Reference("pictures", tumor, tumor_free), 0.95)
    assert never.startswith(begins) if begins else never == ""
    calibrator = Calibrator(
        tumor_logits=tuple(range(tumor)), tumor_free_logits=tuple(range(tumor_free))
    )
    answers = {calibrator.answer(logit, "balanced", 0.95).decision for logit in (-99, 5, 99)}
    assert ("no_tumor" in answers, "tumor" in answers) == (tumor >= 19, tumor_free >= 19)


def test_few_references_name_the_coverage_that_they_allow():
    found = replace(REFERRED, reference=Reference("pictures", 8, 9), coverage=0.95)
    assert measured_on(found).endswith("can exclude both is 0.88.")
    calibrator = Calibrator(tumor_logits=tuple(range(8)), tumor_free_logits=tuple(range(9)))
    assert calibrator.answer(-99, "balanced", 0.88).decision == "no_tumor"
    assert calibrator.answer(-99, "balanced", 0.89).decision == "refer"
