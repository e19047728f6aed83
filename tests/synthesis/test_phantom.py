import subprocess

import numpy as np
import pytest

from meninx._scan.nifti import write_nifti
from meninx._scan.reading import read_scans
from meninx._synthesis.anatomy import Head
from meninx._synthesis.lesion import KINDS, Lesion
from meninx._synthesis.phantom import ORIENTATIONS, Phantom, grid_of
from meninx._synthesis.phantom_studies import make_studies, make_study
from meninx._synthesis.shapes import SmoothNoise, ellipsoid
from meninx._synthesis.writing import dicom_slice, write_dicom, write_studies


def test_the_same_seed_gives_the_same_head(head_grid):
    first, second = (Phantom(5, "glioma").render("T2", head_grid) for _ in range(2))
    np.testing.assert_array_equal(first[0].voxels, second[0].voxels)
    np.testing.assert_array_equal(first[1], second[1])
    other, _ = Phantom(6, "glioma").render("T2", head_grid)
    assert np.abs(other.voxels - first[0].voxels).mean() > 10


def test_a_healthy_head_has_no_mask_and_a_sick_one_has(sick, healthy):
    assert not healthy.mask.any()
    assert 0.0005 < sick.mask.mean() < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_lesions_lie_in_the_head_where_their_kind_does(kind):
    for seed in range(5):
        head = Head(seed)
        site = Lesion(kind, head, seed).site
        center = np.array(site.center, np.float32)[:, None]
        assert head.cavity_distance(center)[0] < 12
        if kind == "pituitary":
            assert np.linalg.norm(center[:, 0] - (0, -22, -36)) < 20
        if kind == "meningioma":
            assert abs(head.brain_distance(center)[0]) < site.radius


def test_lesions_push_tissue_outwards_and_not_far_away():
    lesion = Lesion("glioma", Head(1), 1)
    x, y, z = lesion.site.center
    beside = np.array([[x + lesion.site.radius * 1.2], [y], [z]], np.float32)
    far = np.array([[x + 100], [y], [z]], np.float32)
    assert lesion.displaced(beside)[0, 0] < beside[0, 0] - 0.5
    assert lesion.displaced(far)[0, 0] == pytest.approx(far[0, 0], abs=1.0)


def test_ellipsoid_is_a_distance_near_the_surface():
    points = np.array([[11.0, 10.0, 9.0], [0, 0, 0], [0, 0, 0]], np.float32)
    np.testing.assert_allclose(ellipsoid(points, (0, 0, 0), (10, 20, 30)), [1, 0, -1], atol=0.15)


def test_noise_is_smooth_and_of_unit_variance():
    noise = SmoothNoise(np.random.default_rng(0), 10.0)
    points = np.random.default_rng(1).uniform(-80, 80, (3, 20000)).astype(np.float32)
    values = noise(points)
    assert values.std() == pytest.approx(1, abs=0.1)
    assert (noise(points + np.float32(0.5)) - values).std() < 0.25


@pytest.mark.parametrize("plane", list(ORIENTATIONS))
def test_every_plane_shows_the_same_tumor_in_space(plane):
    """Centers of the mask, in LPS mm, agree between planes."""
    study = make_study("x", 7, "glioma", "T1c", plane, grid_of(plane, (80, 84, 60), (2.6, 2.5, 3)))
    voxels = np.argwhere(study.mask).mean(axis=0)
    center = (study.scan.affine @ [*voxels, 1])[:3]
    site = Phantom(7, "glioma").lesion.site
    assert np.linalg.norm(center - site.center) < 12


def test_stripped_heads_have_neither_skull_nor_face(head_grid):
    whole, _ = Phantom(3).render("T1", head_grid)
    stripped, _ = Phantom(3).render("T1", head_grid, strip=True)
    assert (stripped.voxels > 0).sum() < 0.8 * (whole.voxels > 100).sum()
    assert (stripped.voxels[0] == 0).all()


@pytest.mark.parametrize("plane", list(ORIENTATIONS))
@pytest.mark.parametrize("lesion", ["glioma", "pituitary", None])
def test_a_slice_alone_is_what_it_is_in_the_whole_scan(plane, lesion):
    study = make_study("x", 7, lesion, "T1c", plane, grid_of(plane, (52, 60, 9), (3.8, 3.6, 11)))
    areas = study.mask.sum(axis=(0, 1))
    np.testing.assert_array_equal(study.person.tumor_areas(study.grid), areas)
    assert areas.any() == (lesion is not None)
    index = int(areas.argmax()) if lesion else 4
    image, mask = study.best_slice()
    np.testing.assert_array_equal(image, study.scan.slice(index).image)
    np.testing.assert_array_equal(mask, study.scan.view.cut(study.mask, index))
    alone, _ = study.person.render("T1c", study.grid, only=index)
    place = study.scan.point_of((3, 4, index))
    np.testing.assert_allclose(alone.point_of((3, 4, 0)), place, atol=1e-9)


@pytest.mark.parametrize("written_as", ["dicom", "nifti", "png"])
def test_written_studies_are_read_back(tmp_path, written_as):
    list(write_studies(make_studies(2, 30), tmp_path, written_as))
    scans = list(read_scans(tmp_path / "studies"))
    assert len(scans) == 2
    lines = (tmp_path / "manifest.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "glioma" in lines[1]
    assert "none" in lines[2]
    assert len(list((tmp_path / "masks").iterdir())) == 2


def test_the_same_head_as_dicom_and_nifti_is_the_same_scan(sick, tmp_path):
    write_dicom(sick.scan, tmp_path / "series", 7)
    write_nifti(sick.scan.voxels.astype(np.int16), sick.scan, tmp_path / "sick_t1c.nii.gz")
    (dicom,) = read_scans(tmp_path / "series")
    (nifti,) = read_scans(tmp_path / "sick_t1c.nii.gz")
    np.testing.assert_array_equal(dicom.voxels, nifti.voxels)
    np.testing.assert_allclose(dicom.affine, nifti.affine, atol=1e-4)
    assert dicom.sequence == nifti.sequence == "T1c"


def test_writing_again_gives_the_same_bytes(tiny_scan):
    first, second = dicom_slice(tiny_scan, 2, 4), dicom_slice(tiny_scan, 2, 4)
    assert first.to_json() == second.to_json()


@pytest.mark.dicom3tools
@pytest.mark.parametrize("plane", list(ORIENTATIONS))
@pytest.mark.parametrize("sequence", ["T1", "T1c", "T2", "FLAIR"])
def test_dciodvfy_finds_no_error(dciodvfy, tmp_path, plane, sequence):
    grid = grid_of(plane, (40, 44, 3), (5, 5.5, 20), tilt_degrees=11)
    study = make_study("x", 3, "glioma", sequence, plane, grid)
    for path in write_dicom(study.scan, tmp_path, 3):
        report = subprocess.run([dciodvfy, path], capture_output=True, text=True, check=False)
        assert "Error" not in report.stdout + report.stderr
        assert report.returncode == 0


def test_treated_gliomas_are_rings_and_cavities_and_untreated_ones_are_as_before(head_grid):
    plain = Phantom(3, "glioma")
    assert plain.lesion.site.core == "necrosis"
    assert plain.lesion.site.blood == plain.lesion.site.stain == 0
    assert (
        Phantom(3, "meningioma", treated=True).lesion.site == Phantom(3, "meningioma").lesion.site
    )
    sites = [Phantom(seed, "glioma", treated=True).lesion.site for seed in range(60)]
    rims = np.array([(1 - site.necrosis) * site.radius for site in sites])
    cavities = np.array([site.core == "csf" for site in sites])
    assert 0.4 < cavities.mean() < 0.9
    assert (rims < 4.01).all()
    assert (rims[~cavities] > 1).all()
    # With and without a bright rim.
    assert 0.1 < (rims[cavities] == 0).mean() < 0.7
    assert 0.2 < np.mean([site.blood > 0 for site in sites]) < 0.8
    # A cavity is as dark in FLAIR as the ventricles.
    seed = next(seed for seed, site in enumerate(sites) if site.core == "csf" and not site.blood)
    person = Phantom(seed, "glioma", treated=True)
    signals = person.signals("FLAIR")
    center = np.array(person.lesion.site.center, dtype=np.float32)[:, None]
    shares = dict(person.lesion.shares(center, 0.5))
    assert shares["csf"][0] > 0.9
    assert signals["csf"] < 0.3 * signals["white"]
    assert person.render("FLAIR", head_grid)[1].any()
    blood = next(seed for seed, site in enumerate(sites) if site.blood > 0)
    covered = Phantom(blood, "glioma", treated=True)
    points = np.random.default_rng(0).uniform(-30, 30, (3, 20000)).astype(np.float32)
    points += np.array(covered.lesion.site.center, dtype=np.float32)[:, None]
    assert dict(covered.lesion.shares(points, 0.5))["blood"].max() > 0.9
    assert covered.signals("T1")["blood"] > covered.signals("T1")["white"]
