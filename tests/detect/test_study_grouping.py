"""Series of one study are grouped; those of two patients never are."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from meninx._detect.calibration import Calibration, Reference, StudyCalibrator
from meninx._detect.calibrator import Calibrator
from meninx._detect.decision import decision_from_p_values
from meninx._detect.findings import Findings
from meninx._detect.loading import load_detector
from meninx._detect.study_grouping import LEADING, evidence_of, grouped_by_study, study_name
from meninx._scan.completeness import Incomplete
from meninx._scan.sequence import sequence_from_text
from meninx._scan.warning import ScanWarning


def nifti(name):
    """Findings of a file of this name, with the sequence that the NIfTI reader finds."""
    sequence = sequence_from_text(name.rsplit("/", 1)[-1])
    return Findings(name, "scored", slice_count=24, sequence=sequence, logit=0.0)


def dicom(name, study, sequence="T1", **values):
    identity = {"study_instance_uid": study, "series_instance_uid": f"{study}.{name}"}
    return Findings(name, "scored", sequence=sequence, identity=identity, slice_count=24, **values)


def studies_of(*names):
    """Return the groups of files that share a study, without single files."""
    groups = grouped_by_study([nifti(name) for name in names])
    return [{found.scan for found in members} for _, members in groups if len(members) > 1]


@pytest.mark.parametrize(
    "names",
    [
        ["flair.nii.gz", "t1.nii.gz", "t1ce.nii.gz", "t2.nii.gz"],
        ["case 1/FLAIR.nii", "case 1/T1.nii.gz"],
        ["sub-01_T1w.nii.gz", "sub-01_FLAIR.nii.gz", "sub-01_ce-gadolinium_T1w.nii.gz"],
        ["sub-t2_T2w.nii", "sub-t2_FLAIR.nii"],
        ["BraTS19_CBICA_AAB_1_t1ce.nii.gz", "BraTS19_CBICA_AAB_1_flair.nii.gz"],
        [
            "BraTS-GLI-00000-000-t1n.nii.gz",
            "BraTS-GLI-00000-000-t1c.nii.gz",
            "BraTS-GLI-00000-000-t2w.nii.gz",
            "BraTS-GLI-00000-000-t2f.nii.gz",
        ],
        ["P01_T2_FLAIR.nii.gz", "P01_T1_MPRAGE.nii.gz", "P01_T2.nii.gz"],
        ["a.zip/x/t1_007.nii.gz", "a.zip/x/flair_007.nii.gz"],
        ["P-T1-brain.nii.gz", "P-FLAIR-brain.nii.gz"],
        ["./t1.nii.gz", "t2.nii.gz"],
        ["Müller_T1.nii.gz", "Müller_T2.nii.gz"],
        ["T1 KM.nii.gz", "T1.nii.gz", "dark fluid.nii.gz"],
        ["KM_T2.nii.gz", "KM_FLAIR.nii.gz"],
    ],
)
def test_files_whose_names_differ_in_the_sequence_alone_are_one_study(names):
    for order in permutations(names):
        assert studies_of(*order) == [set(names)]


@pytest.mark.parametrize(
    "names",
    [
        ["sub-01_T1w.nii.gz", "sub-02_FLAIR.nii.gz"],
        ["a/t1.nii.gz", "b/flair.nii.gz"],
        ["a/t1.nii.gz", "a/b/flair.nii.gz"],
        ["a.zip/t1.nii.gz", "b.zip/flair.nii.gz"],
        ["a/sub-01/t1.nii.gz", "a/sub-01_flair.nii.gz"],
        ["p1_T1.nii.gz", "P1_FLAIR.nii.gz"],
        ["KM_T1.nii.gz", "CE_FLAIR.nii.gz"],
        ["T1_KM.nii.gz", "FLAIR_CE.nii.gz"],
        ["sub-t1_flair.nii.gz", "sub-t2_flair.nii.gz"],
        ["sub-t1_T2w.nii.gz", "sub-t2_FLAIR.nii.gz"],
        ["P_T1_FLAIR.nii.gz", "P_T2_FLAIR.nii.gz"],
        ["01_T1.nii.gz", "1_FLAIR.nii.gz"],
        ["a_T1_b.nii.gz", "ab_FLAIR.nii.gz"],
        ["a_T1_b.nii.gz", "a_b_FLAIR.nii.gz"],
        ["T1_1.nii.gz", "T2_2.nii.gz"],
        ["pre_T1.nii.gz", "post_FLAIR.nii.gz"],
        ["ce-01_T1w.nii.gz", "ce-02_FLAIR.nii.gz"],
        ["sub_ce-01_T1w.nii.gz", "sub_ce-02_FLAIR.nii.gz"],
        ["T1_*.nii.gz", "*_FLAIR.nii.gz"],
        ["Flair_T1.nii.gz", "T2.nii.gz"],
        ["ses-1_T1w.nii.gz", "ses-2_FLAIR.nii.gz"],
        ["T1.png", "FLAIR.png"],
        ["T1", "FLAIR"],
        ["brain.nii.gz", "mask.nii.gz"],
        ["sub-01_T1w.nii.gz", "sub-01_T1w_mask.nii.gz", "sub-01_dwi.nii.gz"],
    ],
)
def test_ambiguous_names_are_not_grouped(names):
    for order in permutations(names):
        assert studies_of(*order) == []


def test_two_scans_of_one_sequence_are_not_grouped():
    assert studies_of("T1.nii.gz", "T1w.nii.gz", "FLAIR.nii.gz") == []
    assert studies_of("T1.nii", "T1.nii.gz") == []
    # The same file, named twice, counts once.
    assert studies_of("T1.nii.gz", "T1.nii.gz", "FLAIR.nii.gz") == [{"T1.nii.gz", "FLAIR.nii.gz"}]


WORDS = [
    "T1",
    "T1w",
    "t1ce",
    "T1_post",
    "T1-Gd",
    "T2",
    "t2w",
    "FLAIR",
    "t2f",
    "T2_FLAIR",
    "T1_FLAIR",
    "mprage",
    "KM",
    "CE",
    "c",
    "post",
    "sub-",
    "ses-01",
    "_ce-gd",
    "_ce-01",
    "",
    "x",
    "brain",
]
PATIENTS = st.one_of(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=8),
    st.lists(st.sampled_from(WORDS), max_size=4).map("_".join),
    st.integers(0, 999).map("{:03}".format),
)


@given(PATIENTS, PATIENTS, st.sampled_from(WORDS), st.sampled_from(WORDS), st.sampled_from("_- "))
@example("KM", "CE", "T1", "FLAIR", "_")
@example("t1", "t2", "FLAIR", "FLAIR", "_")
def test_patients_in_folders_or_by_a_number_are_never_joined(patient, other, first, second, mark):
    """A folder or a number separates patients, for any names after it."""
    for parted in (
        (f"1/{patient}{mark}{first}.nii.gz", f"2/{other}{mark}{second}.nii.gz"),
        (f"001{mark}{patient}{mark}{first}.nii", f"002{mark}{other}{mark}{second}.nii"),
        (f"{first}{mark}{patient}{mark}001.nii", f"{second}{mark}{other}{mark}002.nii"),
    ):
        assert studies_of(*parted) == []


@given(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6),
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6),
    st.sampled_from(["T1w", "t1ce", "T1-Gd", "mprage"]),
    st.sampled_from(["FLAIR", "T2_FLAIR", "t2f", "T2w"]),
)
@example("KM", "CE", "T1w", "FLAIR")
@example("gd", "post", "T1w", "T2w")
@example("T1", "T2", "T1w", "FLAIR")
def test_two_initials_in_one_folder_are_two_patients(patient, other, first, second):
    assume(patient != other)
    for shape in ("{0}_{1}.nii.gz", "sub-{0}_{1}.nii.gz", "{1}_{0}.nii.gz"):
        assert studies_of(shape.format(patient, first), shape.format(other, second)) == []


@given(st.lists(st.tuples(PATIENTS, st.sampled_from(WORDS)), max_size=8))
def test_grouping_keeps_every_scan_and_repeats_no_sequence(parts):
    found = [nifti(f"{number}_{word}.nii.gz") for number, word in parts]
    groups = grouped_by_study(found)
    assert sorted(found.scan for _, members in groups for found in members) == sorted(
        scan_findings.scan for scan_findings in found
    )
    for name, members in groups:
        known = {scan_findings.scan: scan_findings.sequence for scan_findings in members}
        assert len(set(known.values())) == len(known)
        assert name is not None
        if len(known) > 1:
            assert "unknown" not in known.values()
    names = [name for name, members in groups if len(members) > 1]
    assert len(set(names)) == len(names)


def test_dicom_is_grouped_by_its_study_alone():
    found = [
        dicom("a/1", "1.2"),
        dicom("b/1", "1.3", "FLAIR"),
        dicom("a/2", "1.2", "T1"),
        replace(dicom("a/0", "1.2"), status="refused", slice_count=1),
        dicom("x", ""),
        dicom("y", "", "FLAIR"),
        Findings("bad.dcm", "failed"),
        Findings("photo.png", "scored"),
    ]
    groups = [
        (name, [scan_findings.scan for scan_findings in members])
        for name, members in grouped_by_study(found)
    ]
    assert groups == [
        ("1.2", ["a/1", "a/2", "a/0"]),
        ("1.3", ["b/1"]),
        ("x", ["x"]),
        ("y", ["y"]),
        (None, ["bad.dcm"]),
        (None, ["photo.png"]),
    ]
    assert study_name("t1.nii.gz", {"series_instance_uid": "1"}, "T1") is None


CALIBRATORS = {
    "T1": Calibrator(unit=2.0, balanced=3.0),
    "FLAIR": Calibrator(unit=0.5),
}
STUDY = StudyCalibrator(
    {"T1": 0.25, "FLAIR": 0.75, "unknown": 0.25},
    Calibrator(balanced=0.8, tumor_logits=(0.0, 2.0, 4.0), tumor_free_logits=(-4.0, -2.0, 0.5)),
)
WITH_STUDY = Calibration(Calibrator(9.0), Calibrator(3.0), CALIBRATORS, STUDY)


def test_evidence_is_each_series_on_its_own_scale():
    found = [dicom("a", "1", "T1", logit=4.0), dicom("b", "1", "FLAIR", logit=1.0)]
    together = evidence_of(found, WITH_STUDY)
    assert [scan.scan for scan in together.counted] == ["a", "b"]
    assert together.calibrator is STUDY.calibrator
    assert together.logit == pytest.approx(0.25 * (4 - 3) / 2 + 0.75 * 2)
    assert [(weight.share, weight.evidence) for weight in together.weighed] == [
        (0.25, 0.5),
        (0.75, 2.0),
    ]
    assert together.reference == Reference("people", 3, 3)
    # Duplicates, refused series and single slices change nothing.
    others = [
        found[0],
        Findings("c", "refused"),
        replace(dicom("d", "1", logit=50.0), slice_count=1),
    ]
    again = evidence_of([*others, *found], WITH_STUDY)
    assert again.logit == pytest.approx(together.logit)
    assert {scan.scan for scan in again.counted} == {"a", "b"}


def test_uncalibrated_series_do_not_count_beside_calibrated_ones():
    axial = [dicom("a", "1", "T1", logit=4.0), dicom("b", "1", "FLAIR", logit=1.0)]
    sagittal = replace(dicom("c", "1", "FLAIR", logit=40.0), reason="not_calibrated")
    assert evidence_of([sagittal, *axial], WITH_STUDY) == evidence_of(axial, WITH_STUDY)
    assert evidence_of([sagittal], WITH_STUDY).counted == [sagittal]


def test_one_series_is_scored_on_its_own_scale():
    for calibration in (WITH_STUDY, replace(WITH_STUDY, study=None)):
        alone = evidence_of([dicom("a", "1", "T1", logit=4.0)], calibration)
        assert [scan.scan for scan in alone.counted] == ["a"]
        assert (alone.calibrator, alone.logit) == (CALIBRATORS["T1"], 4.0)
        assert [(weight.share, weight.evidence) for weight in alone.weighed] == [(1.0, 0.5)]
    single = replace(dicom("a", "1", "T1", logit=4.0), slice_count=1)
    assert evidence_of([single], WITH_STUDY).calibrator == Calibrator(9.0)


@given(st.permutations(LEADING))
def test_without_a_calibrator_of_studies_the_preferred_sequence_answers(order):
    alone = replace(WITH_STUDY, study=None)
    found = [dicom(name, "1", name, logit=float(n)) for n, name in enumerate(order)]
    for expected in LEADING:
        leading = evidence_of(found, alone)
        assert [scan.scan for scan in leading.counted] == [expected]
        assert leading.logit == order.index(expected)
        found = [scan_findings for scan_findings in found if scan_findings.scan != expected]
        if not found:
            break


@pytest.fixture
def detectors():
    """The shipped detector with a calibrator of studies, with and without referral."""
    found = load_detector(coverage=0.5), load_detector(coverage=None)
    for detector in found:
        detector.card = replace(detector.card, calibration=WITH_STUDY)
    return found


def test_a_study_is_decided_by_its_p_values_or_by_the_operating_point(detectors):
    referring, plain = detectors
    series = [dicom("a", "1", "T1", logit=4.0), dicom("b", "1", "FLAIR", logit=1.0)]
    found = referring.score_study(series, "1")
    logit = evidence_of(series, WITH_STUDY).logit
    assert found.p_values == STUDY.calibrator.p_values(logit)
    assert (found.status, found.coverage) == ("scored", 0.5)
    assert found.threshold == STUDY.calibrator.probability(0.8)
    assert found.probability == STUDY.calibrator.probability(logit)
    assert found.series == ("a", "b")
    assert found.decision == decision_from_p_values(found.p_values, 0.5, called=logit >= 0.8)
    decided = plain.score_study(series, "1")
    assert decided.coverage is None
    assert decided.decision == ("tumor" if logit >= 0.8 else "no_tumor")
    assert decided.borders == (decided.threshold, decided.threshold)
    assert list(found.as_json()) == [
        "study",
        "series",
        "weights",
        "status",
        "reason",
        "message",
        "decision",
        "probability",
        "borders",
        "prevalence",
        "p_values",
        "coverage",
        "reference",
        "warnings",
        "incomplete",
        "model",
    ]


def test_a_study_of_nothing_scored_is_refused_or_failed(detectors):
    refused, failed = Findings("a", "refused"), Findings("b", "failed")
    for series, status in (([failed, refused], "refused"), ([failed], "failed"), ([], "failed")):
        found = detectors[0].score_study(series, "s")
        assert (found.status, found.decision, found.probability) == (status, None, None)
        assert found.series == ()
        assert found.as_json()["probability"] is None


def test_what_can_t_be_read_is_missing_unless_it_is_of_another_contrast(detectors):
    flair = dicom("a", "1", "FLAIR", logit=1.0)
    unknown = Findings("b", "failed")
    other = replace(unknown, warnings=(ScanWarning("other_contrast", "diffusion"),))
    assert detectors[0].score_study([flair, unknown], "s").reason == "incomplete"
    study, alone = (detectors[0].score_study(found, "s") for found in ([flair, other], [flair]))
    assert study.incomplete == ()
    assert (study.decision, study.probability) == (alone.decision, alone.probability)
    assert [warning.text for warning in study.warnings] == [
        "not counted in this study: 1 series of another contrast that could not be read"
    ]
    assert alone.warnings == ()
    both = detectors[0].score_study([flair, other, replace(unknown, scan="c")], "s")
    assert both.incomplete == (Incomplete("series of the study", 2, 1),)
    nothing = detectors[0].score_study([other], "s")
    assert (nothing.status, len(nothing.warnings)) == ("failed", 1)


def test_each_class_of_studies_is_kept_as_often_as_promised(detectors):
    """The maximum over series does not keep the coverage; the study's calibrator does."""
    rng = np.random.default_rng(3)
    sequences, shift = ("T1", "FLAIR"), {True: 1.0, False: -1.0}

    def study(sick):
        person = rng.normal(shift[sick], 0.7)
        return [dicom(name, "1", name, logit=person + rng.normal()) for name in sequences]

    kept = {True: [], False: []}
    for _ in range(60):
        held_out = {}
        for sick in kept:
            logits = [evidence_of(study(sick), WITH_STUDY).logit for _ in range(40)]
            held_out[sick] = tuple(np.sort(logits))
        calibrator = Calibrator(tumor_logits=held_out[True], tumor_free_logits=held_out[False])
        calibration = replace(WITH_STUDY, study=replace(STUDY, calibrator=calibrator))
        detector = detectors[0]
        detector.coverage = 0.9
        detector.card = replace(detector.card, calibration=calibration)
        for sick, wrong in ((True, "no_tumor"), (False, "tumor")):
            for _ in range(20):
                kept[sick].append(detector.score_study(study(sick), "s").decision != wrong)
    for right in kept.values():
        # 1,200 draws that share 60 calibrations: three standard errors of both.
        assert np.mean(right) >= 0.9 - 0.03
