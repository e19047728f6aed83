"""Maps, masks and differences by the description of their series."""

import pytest

from meninx._scan.map_descriptions import map_by_description
from tests.scan.dicom_making import save_all, slices_of

# Descriptions that name a map whatever ImageType says.
MAPS = [
    "ep2d_diff_ADC",
    "Apparent diffusion coefficient",
    "Apparent Diffusion Coefficient (mm2_s)",
    "coefficient de diffusion apparent",
    "Diffusionskoeffizient",
    "SUBTRACTION T1 post - pre",
    "T1 post - pre",
    "T1_POST-PRE",
    "T1 SUB",
    "SUB T1 cor",
    "AX T1 SUB",
    "T1Sub",
    "Subtraktion",
    "Bildsubtraktion",
    "soustraction T1",
    "sustracción",
    "subtração",
    "sottrazione",
    "Difference T1",
    "Differenzbild",
    "fractional anisotropy",
    "Fractional Ansio.",
    "DTI_FA",
    "dti 30 MD",
    "Mean Diffusivity",
    "MeanDiffusivity",
    "T1 map",
    "T2map",
    "Susceptibility map",
    "PerfusionMap",
    "T1-Karte",
    "mappa T2 mappa",
    "Ktrans",
    "Perf_rMTT",
    "dADC",
    "Average DC",
    "QSM",
    "MTR",
    "Magnetization transfer ratio",
    "Phase",
    "QSM phase",
    "GRE_Phase",
    "PHA_Images",
    "t2_swi_Pha_Images",
    "Phase images",
    "SWI phase",
    "images de phase",
    "phase difference",
    "Segmentation",
    "Segmentierung",
    "FreeSurfer segmentation",
    "Brain mask",
    "BrainMask",
    "Mask",
    "Tumor mask",
    "fMRI activation",
    "Aktivierungskarte",
    "zstat",
    "Z-Score",
    "T score",
    "mIP_Images(SW)",
    "MinIP 8 mm",
    "TOF MIP cor",
    "Time to peak",
    "Cerebral blood volume",
    "Head_MRAC_UMAP",
    "t2_tse_dixon_F",
    "mDIXON-FAT",
    "FAT: Sag T2 IDEAL",
    "T1 Map",
    "rCBV corrected",
    "ADC (10^-6 mm2/s)",
    "MIN IP 10mm",
    "Fat fraction",
    "R2*",
    "imaginary",
    "T1/T2 ratio",
]
# Descriptions that name a map unless ImageType says original.
AMBIGUOUS = [
    "FA",
    "T1 tensor",
    "proyección",
    "projection",
    "QSM GRE",
    "mask 3",
    "Phase B0 1",
    "phase axial",
    "Perfusion",
    "MTR off",
    "FLAIR ratio image",
    "Velocity",
    "fusion PET T1",
    "labels on T1",
    "MOLLI map ax",
]
# Descriptions of images, whatever ImageType says.
IMAGES = [
    "",
    "t1_mprage",
    "T1 MPRAGE facade",
    "T1 MPR ax",
    "T1 mapping reference",
    "T2 FAT SAT",
    "T1 fat suppressed",
    "t1_vibe_dixon_W",
    "dixon in phase",
    "T2 mDIXON fat sat",
    "T1 mDIXON (water, fat, in, opp)",
    "out of phase",
    "phase contrast",
    "late phase",
    "en phase",
    "T2 no phase wrap",
    "PSIR phase sensitive",
    "FA 15 T1",
    "T1 F",
    "FLAIR FS",
    "Mag_Images",
    "SWI_Images",
    "sub-01_T1w",
    "T1 sub-mm",
    "T1 3D submillimeter",
    "sub-acute stroke FLAIR",
    "T1 pre for subtraction",
    "T1 zur Segmentierung",
    "T1 without subtraction",
    "T1 unsubtracted",
    "T1 MPRAGE with mask",
    "T1 pre/post",
    "T1 post",
    "T1 pre",
    "T1 post pre-op",
    "T1 post-preop",
    "SAG MPRAGE 220 FOV",
    "t1_fl2d_sag",
    "T1 masked",
    "T1 segmented acquisition",
    "T1 anisotropic resolution",
    "Project X T1",
    "different slices",
    "T2 tse WARP",
    "T1 bias corrected",
    "AX T1 5mm thickness",
    "COR FLAIR",
]


@pytest.mark.parametrize("description", MAPS)
def test_maps_that_a_description_names(description):
    found = [map_by_description(description, is_original=original) for original in (True, False)]
    assert [refusal.reason for refusal in found] == ["derived"] * 2


@pytest.mark.parametrize("description", AMBIGUOUS)
def test_words_of_acquisitions_count_unless_the_image_is_original(description):
    assert map_by_description(description, is_original=True) is None
    assert map_by_description(description, is_original=False).reason == "derived"


@pytest.mark.parametrize("description", IMAGES)
def test_descriptions_of_images(description):
    assert map_by_description(description, is_original=True) is None
    assert map_by_description(description, is_original=False) is None


@pytest.mark.parametrize(
    "kind", [["DERIVED", "SECONDARY"], ["ORIGINAL", "PRIMARY", "M", "ND"], None]
)
@pytest.mark.parametrize(
    ("description", "count"), [("T1 SUB", 0), ("Brain mask", 0), ("QSM", 0), ("T1 ax", 1)]
)
def test_a_map_is_refused_whatever_its_image_type(
    tiny_scan, tmp_path, read_all, errors, kind, description, count
):
    slices = slices_of(tiny_scan)
    for dataset in slices:
        dataset.SeriesDescription = description
        dataset.ImageType = kind
        if kind is None:
            del dataset.ImageType
    scans = read_all(save_all(slices, tmp_path))
    assert len(scans) == count
    assert [error.reason for error in errors] == ["derived"] * (1 - count)


@pytest.mark.parametrize("is_original", [True, False])
@pytest.mark.parametrize(
    "description",
    [
        *("AX T1 SWAP PHASE", "AX T2 FLIP PHASE", "T1 HALF PHASE", "AX FLAIR PROPELLER PHASE RL"),
        *("AX T1 DELAY PHASE", "T1 PITUITARY DYNAMIC PHASE", "AX T1 PARENCHYMAL PHASE"),
        *("T1 BRAIN MASK", "RT BRAIN MASK T1", "T1 GD RTMASK", "T1 FACEMASK", "T1 MPRAGE RT MASK"),
        *("t1_space_aniso", "T1 ISO/ANISO", "AX T1 IDEAL F/S", "COR T2 FLEX F/S", "SAG T1 STD"),
        *("STEALTH T1 FUSION", "BRAINLAB T1 FUSION", "AX T1 POST PERFUSION"),
    ],
)
def test_ordinary_series_are_no_maps(description, is_original):
    assert map_by_description(description, is_original=is_original) is None


def test_a_saturation_by_magnetization_transfer_is_an_acquisition_beside_words_of_one():
    assert map_by_description("t1_mtsat_tra on", is_original=True) is None
    assert map_by_description("MTsat", is_original=True).reason == "derived"
