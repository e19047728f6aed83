import numpy as np
import pytest

from meninx._errors import UnsupportedScan
from meninx._learn.input.simulation import SIMULATED, simulated_examples
from meninx._scan.nifti import write_nifti
from meninx._scan.reading import read_one
from meninx._synthesis.head_template import AugmentedHead, template_of
from meninx._synthesis.packed_heads import RealHead
from meninx._synthesis.phantom import Phantom, grid_of

HEAD = grid_of("axial", (90, 110, 60), (2.2, 2.2, 3.0))


@pytest.fixture(scope="module")
def t1():
    return Phantom(11).render("T1", HEAD, noise=0.005)[0]


@pytest.fixture(scope="module")
def template(t1):
    return template_of(t1)


def test_tissues_of_a_t1_are_told_apart(template):
    assert 0 < template.csf < template.gray < 1
    # White matter is 1: half of the brain is near white or gray matter.
    brain = template.intensity[template.cavity < -3]
    assert np.median(brain) == pytest.approx(template.gray, abs=0.5 * (1 - template.csf))


def test_the_hull_is_that_of_the_brain(t1, template):
    head = Phantom(11).head
    origin = np.array(template.origin)
    points = np.random.default_rng(0).uniform(-50, 50, (3, 4000)).astype(np.float32)
    lows = (
        t1.affine[:3, :3] @ np.array([[0, side - 1] for side in t1.voxels.shape])
        + t1.affine[:3, 3:]
    ).min(axis=1)
    index = np.rint(points - lows[:, None]).astype(int)
    found = template.cavity[tuple(index)] < 0
    truth = head.cavity_distance(points) < 0
    assert (found == truth).mean() > 0.9
    assert np.all(np.abs(origin + lows) < 25)


def test_a_scan_without_a_brain_is_refused(t1):
    ball = np.hypot(*np.ogrid[-45:45, -55:55])[..., None] < 30
    block = (ball * np.ones(60)).astype(np.float32) * 100
    block += np.random.default_rng(0).normal(0, 20, block.shape).astype(np.float32) * (block > 0)
    scan = type(t1)("ball", block, t1.affine, "T1", slice_axis=2)
    with pytest.raises(UnsupportedScan, match="whole head in T1"):
        template_of(scan)


def distances(shape=(90, 110, 90)):
    """Distance of each voxel of 1.5 mm from the middle, in voxels."""
    return np.linalg.norm(np.moveaxis(np.indices(shape), 0, -1) - np.array(shape) / 2, axis=-1)


BALL = distances()
# A head has at least three levels of intensity, and tissue thicker than 9 mm, in its middle.
NO_BRAINS = {
    "below zero": (-100.0 - BALL, "found no head"),
    "one level": ((BALL < 40) * 100.0, "fewer than three levels"),
    "two levels": ((BALL < 40) * (100.0 + np.indices(BALL.shape)[0] % 2), "than three levels"),
    "a shell": (((BALL > 36) & (BALL < 42)) * (100.0 + BALL), "."),
    "a dot": ((BALL < 3) * (100.0 + BALL), "."),
}


@pytest.mark.parametrize("name", NO_BRAINS)
def test_a_volume_of_few_levels_or_thin_tissue_is_refused(t1, name):
    values, message = NO_BRAINS[name]
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    scan = type(t1)(name, values.astype(np.float32), affine, "T1", slice_axis=2)
    with pytest.raises(UnsupportedScan, match=f"{message}.*a whole head in T1"):
        template_of(scan)


def test_likenesses_differ_and_seeds_repeat(template):
    points = np.random.default_rng(1).uniform(-40, 40, (3, 3000)).astype(np.float32)
    first, again, other = (AugmentedHead(template, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.cavity_distance(points), again.cavity_distance(points))
    assert np.abs(first.cavity_distance(points) - other.cavity_distance(points)).max() > 3


def test_sequences_order_tissues_as_scanners_do(template):
    head = AugmentedHead(template, 3)
    points = np.random.default_rng(2).uniform(-45, 45, (3, 20000)).astype(np.float32)
    inner = points[:, head.cavity_distance(points) < -4]
    healthy = Phantom(3, None, head)
    t1, t2, flair = (
        head.signal_at(inner, healthy.signals(name), 0.5) for name in ("T1", "T2", "FLAIR")
    )
    fluid, white = t1 < np.quantile(t1, 0.04), t1 > np.quantile(t1, 0.9)
    assert t2[fluid].mean() > 1.5 * t2[white].mean()
    assert flair[fluid].mean() < 0.7 * flair[white].mean()


def test_edema_leaves_fluid_alone(template):
    head = AugmentedHead(template, 4)
    points = np.random.default_rng(3).uniform(-45, 45, (3, 20000)).astype(np.float32)
    inner = points[:, head.cavity_distance(points) < -4]
    t1 = head.signal_at(inner, Phantom(4, None, head).signals("T1"), 0.5)
    share = head.parenchyma(inner)
    assert share[t1 > np.median(t1)].min() > 0.9
    assert share[t1 <= np.quantile(t1, 0.01)].mean() < 0.3


def test_examples_of_likenesses_show_lesions_in_every_other_head(t1, tmp_path):
    path = tmp_path / "head_t1.nii.gz"
    write_nifti(t1.voxels.astype(np.int16), t1, path)
    examples = simulated_examples(0, 4, (RealHead(path),))
    sick = [example.mask is not None for example in examples]
    assert 0.15 < np.mean(sick) < 0.6
    assert {example.kind for example in examples} == {SIMULATED}
    again = simulated_examples(0, 1, (RealHead(path),))
    np.testing.assert_array_equal(examples[5].image, again[5].image)


@pytest.mark.real_data
@pytest.mark.parametrize("head", ["templates/colin27-t1.nii.gz", "dicom/healthy-child-t1"])
def test_real_heads_have_brains_of_a_plausible_size(real_data, head):
    template = template_of(read_one(real_data / head))
    liters = (template.cavity < 0).sum() / 1e6
    assert 1.0 < liters < 1.9
    # The pituitary is at the base of the brain, outside it or at its edge.
    below = template.cavity[
        tuple(int(o + s) for o, s in zip(template.origin, template.sella, strict=True))
    ]
    assert below > -12
