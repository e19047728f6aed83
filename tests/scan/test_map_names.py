"""Maps and masks by file names."""

import nibabel
import numpy as np
import pytest

from meninx._scan.map_names import map_by_bids_name, map_warning
from meninx._scan.reading import read_scans
from meninx._scan.sequence import sequence_from_text


@pytest.mark.parametrize(
    "name",
    [
        "sub-03_ses-1_R2starmap.nii.gz",
        "sub-03_acq-x_T2map.nii",
        "sub-03_desc-brain_mask.nii.gz",
        "sub-03_label-WM_probseg.nii.gz",
        "sub-03_part-phase_T2starw.nii.gz",
        "sub-03_phasediff.nii",
        "sub-03_param-FA_dwimap.nii.gz",
        "sub-03_desc-MD_dwi.nii.gz",
        "sub-03_atlas-x_dseg.nii.gz",
    ],
)
def test_bids_names_exclude_maps_and_masks(name):
    assert map_by_bids_name(name).reason == "derived"


@pytest.mark.parametrize(
    "name",
    [
        "sub-03_T1w.nii.gz",
        "sub-03_ses-2_desc-preproc_T1w.nii.gz",
        "sub-03_FLAIR.nii",
        "sub-03_part-mag_T2starw.nii.gz",
        "sub-03_UNIT1.nii",
        "case_T1map.nii",
    ],
)
def test_other_names_of_bids(name):
    assert map_by_bids_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "dti_AD.nii.gz",
        "x_MD.nii",
        "patient3_eADC.nrrd",
        "p_rCBF.mha",
        "9_T2map.nii.gz",
        "a-phase.nii",
        "lh_aparc+aseg.mgz",
        "zstat14.nii.gz",
        "brain_pve_2.nii.gz",
        "QSM.nii.gz",
        "17-seg.nii.gz",
        "unwrapped_phase.nii.gz",
        "warp1.nii.gz",
    ],
)
def test_words_of_tools_are_warned_of(name):
    assert map_warning(name).code == "derived_doubtful"


@pytest.mark.parametrize(
    "name",
    [
        "t1_in_phase.nii",
        "FA_anna_t1.nii",
        "t1_fa15.nii.gz",
        "patient_AD.nii",
        "t1ce.nii.gz",
        "segovia.nii",
        "brain.mgz",
        "T1_masked.nii.gz",
        "late_phase.nii",
        "RDNA_t2.nii",
    ],
)
def test_words_inside_words_and_initials_are_not(name):
    assert map_warning(name) is None


def test_a_volume_has_the_exclusion_or_warning_of_its_name(tmp_path):
    voxels = np.arange(7 * 8 * 9, dtype=np.int16).reshape(7, 8, 9)
    for name in ("sub-9_T1map", "t1map", "t1"):
        nibabel.save(
            nibabel.Nifti1Image(voxels, np.diag([1.1, 1.3, 2.7, 1])), tmp_path / f"{name}.nii"
        )
    stated, plain, doubted = read_scans(tmp_path)
    assert stated.exclusion.reason == "derived"
    assert stated.exclusion.place.endswith("sub-9_T1map.nii")
    assert (plain.exclusion, plain.warnings, plain.sequence) == (None, (), "T1")
    assert [warning.code for warning in doubted.warnings] == ["derived_doubtful"]
    assert doubted.sequence == "unknown"


@pytest.mark.parametrize("text", ["T1map", "patient_t2_map", "T1 mapping", "pd-maps", "t2Map post"])
def test_a_map_has_no_sequence(text):
    assert sequence_from_text(text) == "unknown"
