"""Packs: what goes in comes out, and a training on them goes on after a stop."""

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import Timer

from lab.release import candidates, detector, finish
from lab.release.packing import subset, unpack, without_folds, write_pack
from lab.release.training import train_unpacked
from meninx._data.manifest import Picture
from meninx._detect.preprocessing import Preprocessing
from meninx._errors import DataError, OptionError
from meninx._learn.fit.module import DetectorTraining
from meninx._learn.input.dataset import MASKED, TUMOR_FREE, Example, Facts, SliceDataset
from meninx._learn.recipe import (
    AugmentationRecipe,
    LossRecipe,
    Recipe,
    SamplingRecipe,
    TrainingRecipe,
)
from meninx._scan.scan import Scan
from meninx._synthesis.packed_heads import RealHead, pack_head, packed_heads, read_packed_head

ROOT = Path(__file__).parents[2]
# Run by `make test`, another make would be a part of that: tell of folders, and heed its variables.
ALONE = {
    name: value
    for name, value in os.environ.items()
    if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
}
CANVAS = Preprocessing(size=80)
TINY = Recipe(
    name="tiny",
    preprocessing=Preprocessing(size=64),
    training=TrainingRecipe(
        epochs=3,
        pictures_per_epoch=16,
        size=64,
        batch_size=8,
        validation_fold=0,
        test_fold=1,
        precision="32-true",
    ),
    sampling=SamplingRecipe(masked=0.5, tumor_free=0.5),
    augmentation=AugmentationRecipe(),
    loss=LossRecipe(type_weight=0.0),
)


def examples():
    """Return slices of eight heads in four folds, every other one with a tumor."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:96j, -1:1:90j]
    found = []
    for person in range(8):
        for number in range(3):
            image = np.clip(1 - np.hypot(x, y), 0, 1) * 100 + rng.uniform(0, 3, x.shape)
            lesion = np.hypot(x - 0.2, y + 0.1) < 0.25
            sick = person % 2 == 0 and number == 1
            facts = Facts(
                MASKED if sick else TUMOR_FREE,
                person=f"p{person}",
                sequence="T1",
                source="first" if person < 2 else "second",
                fold=(1, 5, 6, 7)[person // 2],
                below=-(number > 0),
                above=int(number < 2),
            )
            image = (image + 80 * (lesion & sick)).astype(np.float32)
            found.append(Example(image, lesion.astype(np.float32) if sick else None, facts))
    return found


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    path = tmp_path_factory.mktemp("pack") / "heads.pack"
    write_pack(examples(), CANVAS, path, quality=90)
    return path


@pytest.mark.parametrize("part", [256, 13])
def test_what_is_packed_comes_out(pack, tmp_path, monkeypatch, part):
    # In one part here, and in two by processes.
    monkeypatch.setattr("lab.release.packing.PART", part)
    plain, found = SliceDataset(examples(), CANVAS), unpack([pack], tmp_path)
    assert found.facts == plain.facts
    assert torch.equal(found.slices, plain.slices)
    assert (found.image.float() - plain.image.float()).abs().mean() < 3
    covered = plain.mask > 127
    assert ((found.mask > 127) == covered).float().mean() > 0.998
    assert (found.depth.float() - plain.depth.float()).abs().mean() < 3
    # The second time from the arrays that the first left.
    assert torch.equal(unpack([pack], tmp_path).image, found.image)


def test_neighbors_are_channels_and_follow_a_smaller_set(pack, tmp_path):
    whole = unpack([pack], tmp_path)
    part = without_folds(whole, {1, 5})
    assert {fact.fold for fact in part.facts} == {6, 7}
    first = subset(whole, [fact.source != "second" for fact in whole.facts])
    assert {fact.person for fact in first.facts} == {"p0", "p1"}
    batch = part.batch(torch.tensor([1, 2]))
    assert batch.image.shape == (2, 3, 80, 80)
    stored = part.image.float() / 255
    torch.testing.assert_close(batch.image[0], stored[[0, 1, 2]])
    torch.testing.assert_close(batch.image[1], stored[[1, 2, 2]])
    assert part.resized(64).image.shape == (12, 64, 64)


def test_packs_that_do_not_belong_together_are_data_errors(pack, tmp_path):
    write_pack(examples()[:3], Preprocessing(size=64), tmp_path / "other.pack")
    with pytest.raises(DataError, match="packs of different canvases"):
        unpack([pack, tmp_path / "other.pack"], tmp_path / "arrays")
    (tmp_path / "bad.pack").write_bytes(b"words")
    with pytest.raises(DataError, match="no pack of training slices"):
        unpack([tmp_path / "bad.pack"], tmp_path / "arrays")
    unpack([tmp_path / "other.pack"], tmp_path / "arrays")
    with pytest.raises(DataError, match="unpacked from other packs"):
        unpack([pack], tmp_path / "arrays")


def test_a_packed_head_lies_where_the_whole_one_did(tmp_path):
    rng = np.random.default_rng(1)
    voxels = rng.uniform(0, 5, (40, 50, 30)).astype(np.float32)
    voxels[10:20, 30:40, 5:15] = 90
    affine = np.array([[0, 1.0, 0, -20], [1.0, 0, 0, 7], [0, 0, 3.0, -40], [0, 0, 0, 1]])
    pack_head(Scan("h", voxels, affine, "T1"), RealHead(tmp_path, "anna", 6), tmp_path / "a.npz")
    (head,) = packed_heads(tmp_path)
    assert (head.person, head.fold) == ("anna", 6)
    small = read_packed_head(head.path)
    assert small.spacing_mm[0] == pytest.approx(2.0, rel=0.06)
    centers = []
    for scan in (Scan("h", voxels, affine, "T1"), small):
        bright = np.argwhere(scan.voxels > 0.5 * scan.voxels.max())
        centers.append(scan.affine[:3, :3] @ bright.mean(0) + scan.affine[:3, 3])
    np.testing.assert_allclose(centers[0], centers[1], atol=0.7)


def test_packs_hold_nothing_to_choose_an_epoch_by(pack, tmp_path):
    chosen = replace(TINY, training=replace(TINY.training, validation_fold=5))
    with pytest.raises(OptionError, match="set it to 0"):
        train_unpacked(unpack([pack], tmp_path), chosen, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["recipes/meninx.toml", "recipes/seed.toml"])
@pytest.mark.parametrize(("people", "data"), [("", "runs"), ("--without-lgg", "runs/without-lgg")])
def test_each_recipe_s_and_each_choice_of_people_s_files_lie_apart(recipe, people, data):
    command = [
        "make",
        "--dry-run",
        "--always-make",
        "detector",
        f"RECIPE={recipe}",
        f"PEOPLE={people}",
    ]
    said = subprocess.run(
        command, cwd=ROOT, env=ALONE, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    runs = f"{data}/{Path(recipe).stem}"
    assert any(f"--output {data}/people.csv {people}".strip() in line for line in said)
    assert any(f'--output {runs}/sim.pack --recipe "{recipe}"' in line for line in said)
    *_, run = (line for line in "\n".join(said).replace("\\\n", " ").splitlines())
    assert run.split()[1:] == [
        "-m",
        "lab.release.whole",
        *(f"{data}/real.pack", f"{data}/planes.pack", f"{runs}/sim.pack"),
        *("--recipe", f'"{recipe}"', "--output", runs),
        *("--people", f"{data}/people.csv", "--heads", f"{data}/heads"),
        *("--detectors", f"lab/release/detectors/{runs.removeprefix('runs/')}"),
        *("--weights", "src/meninx/weights" if runs == "runs/meninx" else f"{runs}/weights"),
    ]


def test_only_what_learned_from_lgg_takes_over_its_license():
    row = Picture("1", Path("1.png"), None, False, None, "1", 2, source="tumor-free")
    assert finish.license_of([row]) == ""
    assert "CC BY-NC-SA" in finish.license_of([row, replace(row, source="lgg")])


def test_make_detector_asks_for_the_data_before_it_installs_anything():
    unset = {name: value for name, value in ALONE.items() if name != "MENINX_DATA"}
    asked = subprocess.run(
        ["make", "data-named"],
        cwd=ROOT,
        env=unset,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode
    assert "MENINX_DATA" in asked.stderr
    makefile = (ROOT / "Makefile").read_text()
    assert "runs/curated.csv: | data-named .venv/test.stamp" in makefile


def test_the_detector_s_training_resumes_after_a_stop(pack, tmp_path):
    """Both parts, on a half and on all people, as `make detector` does."""
    second = replace(TINY, training=replace(TINY.training, epochs=2, seed=2))
    networks = detector.jobs_of([pack], [TINY, second], tmp_path, 1, tmp_path / "detectors")
    folders = [[str(job.folder.relative_to(tmp_path)) for job in jobs] for jobs in networks]
    names = ("half-a", "half-b", "all-0")
    assert folders == [[f"first/{name}", f"second/{name}"] for name in names]

    class StopsError(Exception):
        pass

    begin = DetectorTraining.on_train_epoch_start

    def stop_in_the_third(module):
        if module.current_epoch == 2:
            raise StopsError
        begin(module)

    first = networks[0][0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectorTraining, "on_train_epoch_start", stop_in_the_third)
        with pytest.raises(StopsError):
            candidates.train(first)
    assert not (first.folder / "weights.safetensors").exists()
    # The second half is trained as the first.
    networks = [networks[0], networks[2]]
    for jobs in networks:
        candidates.train_stages(jobs)
    table = (first.folder / "epochs.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["epoch", "0", "1", "2"]
    for job in (job for jobs in networks for job in jobs):
        assert (job.folder / "weights.safetensors").is_file()
        is_last_of_half = job.half and job.folder.parent.name == "second"
        assert (job.folder / "scored.json").is_file() == bool(is_last_of_half)
    assert all(detector.is_done(jobs[-1]) for jobs in networks)
    last = networks[1][1].folder
    detector.copy_weights(last, tmp_path)
    kept = tmp_path / "all-0" / "weights.safetensors"
    assert kept.read_bytes() == (last / "weights.safetensors").read_bytes()


def test_another_machine_goes_on_from_a_part(pack, tmp_path):
    """The first machine's time ends after two of three epochs; the second finishes both stages."""
    grown = replace(TINY, training=replace(TINY.training, smaller_sizes=(48,)))
    second = replace(TINY, training=replace(TINY.training, epochs=1, seed=2))
    detectors = tmp_path / "detectors"

    def network(machine, ends=None):
        output = tmp_path / machine
        return detector.jobs_of([pack], [grown, second], output, 1, detectors, ends)[0]

    sizes = []
    begin = DetectorTraining.on_train_epoch_start

    def watched(module):
        begin(module)
        sizes.append((module.recipe_epoch, module.recipe.size_at(module.recipe_epoch)))
        if len(sizes) == 2:
            (timer,) = [part for part in module.trainer.callbacks if isinstance(part, Timer)]
            timer._duration = 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectorTraining, "on_train_epoch_start", watched)
        begun = network("first", time.time() + 3600)
        assert detector.slices_left(begun) == 4 * 16
        candidates.train_stages(begun)
        assert not (begun[0].folder / "weights.safetensors").exists()
        # The time of this call would end the next one on the same machine.
        saved = torch.load(begun[0].folder / "checkpoints" / "last.ckpt", weights_only=True)
        assert "time_elapsed" not in str(saved["callbacks"])
        resumed = network("second")
        assert detector.slices_left(resumed) == 2 * 16
        candidates.train_stages(resumed)
    assert sizes == [(0, 48), (1, 48), (2, 64), (0, 64)]
    assert (resumed[1].folder / "scored.json").is_file()
    assert detector.slices_left(resumed) == 0
    other = replace(TINY, name="other")
    with pytest.raises(OptionError, match="part of recipe tiny, expected other"):
        resumed[1].part.epochs(other)
    (detectors / "half-a.onnx").touch()
    names = [
        jobs[0].folder.name for jobs in detector.jobs_of([pack], [TINY], tmp_path, 1, detectors)
    ]
    assert names == ["half-b", "all-0"]
