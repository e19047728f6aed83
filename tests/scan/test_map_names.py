"""Maps and masks by file names."""

import nibabel
import numpy as np
import pytest

from meninx._scan.map_names import map_warning, name_warnings, refusal_by_bids_name
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
    assert refusal_by_bids_name(name).reason == "derived"


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
    assert refusal_by_bids_name(name) is None


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
    codes = [warning.code for warning in doubted.warnings]
    assert codes == ["derived_doubtful", "other_contrast"]
    assert doubted.other_contrast
    assert doubted.sequence == "unknown"


@pytest.mark.parametrize("text", ["T1map", "patient_t2_map", "T1 mapping", "pd-maps", "t2Map post"])
def test_a_map_has_no_sequence(text):
    assert sequence_from_text(text) == "unknown"


@pytest.mark.parametrize("suffix", ["ct", "pet", "ses-2_trc-18FDG_pet", "spect", "meg"])
def test_bids_names_of_other_machines_are_refused(suffix):
    assert refusal_by_bids_name(f"sub-01_{suffix}.nii.gz").reason == "not_mr"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("sub-01_dwi.nii.gz", "other_contrast"),
        ("sub-01_swi.nii", "other_contrast"),
        ("sub-01_angio.nii.gz", "other_contrast"),
        ("sub-01_task-rest_bold.nii.gz", "other_contrast"),
        ("sub-01_asl.nii.gz", "other_contrast"),
        ("sub-01_m0scan.nii.gz", "other_contrast"),
        ("sub-01_dir-AP_epi.nii.gz", "other_contrast"),
        ("sub-01_sbref.nii.gz", "other_contrast"),
        ("sub-01_T2starw.nii.gz", "other_contrast"),
        ("sub-01_PDw.nii.gz", "other_contrast"),
        ("sub-01_magnitude1.nii.gz", "other_contrast"),
        ("AxDWI.mha", "other_contrast"),
        ("swi_01.png", "other_contrast"),
        ("CT_head.nii.gz", "not_mr_doubtful"),
        ("headCT.nii.gz", "not_mr_doubtful"),
        ("ct_to_t1.nii.gz", "not_mr_doubtful"),
        ("FDG-PET.nrrd", "not_mr_doubtful"),
        ("TC_craneo.nii", "not_mr_doubtful"),
        ("tdm cerebrale.nii", "not_mr_doubtful"),
        ("CT (12).png", "not_mr_doubtful"),
        ("knee_T1.nii.gz", "not_brain_doubtful"),
        ("T1knee.nii.gz", "not_brain_doubtful"),
        ("spine_T2.nii.gz", "not_brain_doubtful"),
        ("Knie_T1.nii", "not_brain_doubtful"),
        ("rachis T2.nii", "not_brain_doubtful"),
        ("rodilla-t1.mgz", "not_brain_doubtful"),
        ("wervelkolom_t2.nii", "not_brain_doubtful"),
        ("heup_T1.nii", "not_brain_doubtful"),
        ("sub-01_bp-cspine_T2w.nii.gz", "not_brain_doubtful"),
    ],
)
def test_names_of_other_scans_are_warned_of(name, code):
    assert [warning.code for warning in name_warnings(name)] == [code]


@pytest.mark.parametrize(
    "name",
    [
        *("sub-DTI01_T1w.nii.gz", "sub-01_ses-pet_T1w.nii.gz", "sub-PD3_FLAIR.nii", "brain.nii.gz"),
        *("sub-01_acq-postop_ce-gadolinium_T1w.nii.gz", "sub-CT07_T2w.nii.gz", "t1_to_dwi.nii.gz"),
        *("CT017_T1.nii.gz", "PET-MR_T1.nii.gz", "petmr_t1.nii", "Rene_T1.nii", "Wade_flair.nii"),
        *("BraTS-GLI-00000-000-t1n.nii.gz", "patient_M0_T1.nii", "UCSF-PDGM-0004_T1.nii.gz"),
        *("Te-gl_0010.jpg", "1 no.jpeg", "IM_0001.png", "DU-5855-12-flair.webp", "scan_12.png"),
        *("T1 angioma.nii", "diffuse_glioma_T2.nii", "CTR_001.nii", "head_neck_T1.nii", "T2w.nii"),
        *("DSC_0012.JPG", "DSC00012.JPG", "dir01.png", "T1_to_CT.nii.gz", "T1_in_PET.nii"),
        *("brain_spine_T2.nii", "sub-01_T1w_brain.nii.gz", "IXI002-Guys-0828-T1.nii.gz", "y12.bmp"),
    ],
)
def test_ordinary_names_pass_without_a_word(name):
    assert refusal_by_bids_name(name) is None
    assert name_warnings(name) == ()


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("DTI_study_031_T1.nii.gz", "T1"),
        ("fMRI_study_sub07_T1", "T1"),
        ("ASL_case021_T1.nii.gz", "T1"),
        ("CSI_sub-07_T1w.nii.gz", "T1"),
        ("perfusion_pat12_t1ce.nii", "T1c"),
        ("DWI_study_031_T2.nii.gz", "T2"),
        ("SWI_study_031_FLAIR.nii.gz", "FLAIR"),
    ],
)
def test_the_name_of_a_study_before_a_person_is_no_contrast(name, sequence):
    assert name_warnings(name) == ()
    assert sequence_from_text(name) == sequence


@pytest.mark.parametrize(
    "name",
    [
        *("DWI_b1000_T2.nii", "dti_T2.nii", "diffusion_weighted_T2.nii", "031_T1_dwi.nii"),
        *("perfusion_pat12.nii", "DTI_64_dir_T2.nii", "T1_EPI.nii", "DTI_study_031.nii"),
        *("DWI_b1000_002_T2", "stir_001_T2.nii", "epi_0012_T2", "ADC_12_T1", "TOF_12345_T1"),
        *("DTI_123_FA_T1", "SWI_07_FLAIR", "dwi-12_T1c", "dwi_sub12_T2w.nii", "CSI_Miller_T1"),
    ],
)
def test_the_contrast_itself_is(name):
    assert "other_contrast" in [warning.code for warning in name_warnings(name)]
