import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps

from meninx.data.folders import find_items, label_of
from meninx.data.manifest import read_manifest, write_manifest
from meninx.data.prepare import load_data, prepare, ranges
from meninx.errors import DataError, OptionError
from meninx.phantom.phantom import Phantom, grid_of
from meninx.phantom.writing import make_studies, write_studies


def picture_of(seed):
    scan, _ = Phantom(seed, None).render("T2", grid_of("axial", (150, 170, 1), (1.2, 1.2, 5.0)))
    image = scan.slice(0).image
    return Image.fromarray(
        np.clip(image / np.percentile(image, 99.8) * 255, 0, 255).astype(np.uint8)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight heads in class folders with a train and a test half; two copies cross it."""
    root = tmp_path_factory.mktemp("collection")
    for seed in range(8):
        split = "Training" if seed < 5 else "Testing"
        label = "no_tumor" if seed % 2 else "glioma_tumor"
        place = root / split / label
        place.mkdir(parents=True, exist_ok=True)
        picture_of(seed).save(place / f"{seed}.png")
    ImageOps.mirror(picture_of(0)).save(root / "Testing" / "glioma_tumor" / "copy.jpg")
    shutil.copy(root / "Training/no_tumor/1.png", root / "Testing/no_tumor/same.png")
    return root


@pytest.mark.parametrize(
    ("name", "label"),
    [("yes", "unknown"), ("no", "none"), ("No Tumor", "none"), ("notumor", "none"),
     ("glioma_tumor", "glioma"), ("Meningioma", "meningioma"), ("pituitary_tumor", "pituitary"),
     ("Training", None), ("images", None)],
)  # fmt: skip
def test_names_say_what_a_folder_holds(name, label):
    assert label_of(name) == label


def test_folders_become_items(folder):
    items = find_items(folder)
    assert len(items) == 10
    assert {(item.tumor, item.tumor_type) for item in items} == {(True, "glioma"), (False, None)}
    assert {item.split for item in items} == {"train", "test"}


def test_silent_names_are_named_and_can_be_told(folder, tmp_path):
    shutil.copytree(folder / "Training/no_tumor", tmp_path / "data/lot_7")
    with pytest.raises(DataError, match=r"lot_7 \(2 pictures\)"):
        find_items(tmp_path / "data")
    assert not find_items(tmp_path / "data", {"LOT_7": "none"})[0].tumor
    with pytest.raises(DataError, match="expected one of"):
        find_items(tmp_path / "data", {"lot_7": "sick"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        find_items(tmp_path / "empty")


def test_copies_get_one_group_and_one_fold(folder, tmp_path):
    pictures, found = prepare(folder, folds=3)
    by_id = {picture.id: picture for picture in pictures}
    copy, original = by_id["Testing/glioma_tumor/copy.jpg"], by_id["Training/glioma_tumor/0.png"]
    assert copy.group == original.group
    assert copy.fold == original.fold
    assert {group.kind for group in found.duplicates.groups} == {"exact", "near"}
    write_manifest(pictures, tmp_path / "manifest.csv")
    again = read_manifest(tmp_path / "manifest.csv")
    assert [p.id for p in again.pictures] == [p.id for p in pictures]
    assert again.pictures[0].picture.samefile(pictures[0].picture)
    assert all(p.sha256 for p in again.pictures)


def test_folds_do_not_depend_on_names(folder, tmp_path):
    folds = {p.sha256: p.fold for p in prepare(folder, folds=3)[0]}
    for number, path in enumerate(sorted(folder.rglob("*.*"), reverse=True)):
        place = tmp_path / ("no" if "no_tumor" in str(path) else "glioma")
        place.mkdir(exist_ok=True)
        shutil.copy(path, place / f"{number}{path.suffix}")
    assert {p.sha256: p.fold for p in prepare(tmp_path, folds=3)[0]} == folds


@pytest.mark.parametrize("split", ["given", "random"])
def test_leaking_splits_are_refused_unless_allowed(folder, tmp_path, split):
    with pytest.raises(DataError, match="lies in the folds"):
        prepare(folder, split=split, folds=5, seed=3)
    pictures, _ = prepare(folder, split=split, folds=5, seed=3, allow_leaks=True)
    write_manifest(pictures, tmp_path / "manifest.csv")
    with pytest.raises(DataError, match="--allow-leaks"):
        read_manifest(tmp_path)
    assert read_manifest(tmp_path, allow_leaks=True).leaks
    if split == "given":
        assert {p.fold for p in pictures if p.split == "test"} == {1}


def test_mended_folds_move_whole_what_leaked_and_nothing_else(folder, tmp_path):
    given, _ = prepare(folder, split="given", folds=5, seed=3, allow_leaks=True)
    pictures, _ = prepare(folder, split="mended", folds=5, seed=3)
    write_manifest(pictures, tmp_path / "manifest.csv")
    assert not read_manifest(tmp_path).leaks
    homes: dict[str, set[int]] = {}
    for one in given:
        homes.setdefault(one.group, set()).add(one.fold)
    moved = [new for old, new in zip(given, pictures, strict=True) if old.fold != new.fold]
    assert moved
    assert all(len(homes[one.group]) > 1 and one.fold in homes[one.group] for one in moved)


def test_a_shared_patient_is_refused_by_name(folder, tmp_path):
    rows = ["picture,tumor,patient,fold"]
    for number, path in enumerate(sorted((folder / "Training").rglob("*.png"))):
        patient = "P-12" if number in (1, 3) else f"P-{number}"
        rows.append(
            f"{path},{int('glioma' in str(path))},{patient},{number % 2 + (number == 3) + 1}"
        )
    rows[4] = rows[4][:-1] + "1"
    rows[2] = rows[2][:-1] + "2"
    (tmp_path / "table.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="patient P-12 lies in the folds 1 and 2"):
        prepare(tmp_path / "table.csv", split="given")
    # The same where a verb reads the table by itself: the user's folds are taken, and refused.
    with pytest.raises(DataError, match="patient P-12 lies in the folds 1 and 2"):
        load_data(tmp_path / "table.csv", tmp_path / "out")
    pictures, _ = prepare(tmp_path / "table.csv", folds=2)
    assert len({p.fold for p in pictures if p.patient == "P-12"}) == 1


def test_groups_of_a_table_are_kept(folder, tmp_path):
    paths = sorted((folder / "Training").rglob("*.png"))
    rows = [f"{path},{number % 2},{'ab'[number > 2]}" for number, path in enumerate(paths)]
    (tmp_path / "table.csv").write_text("\n".join(["picture,tumor,group", *rows]))
    pictures, found = prepare(tmp_path / "table.csv", folds=2)
    assert len({p.group for p in pictures[:3]}) == len({p.group for p in pictures[3:]}) == 1
    assert pictures[0].group != pictures[3].group
    assert found.duplicates.groups == ()


def test_faults_of_a_table_are_told_at_once(tmp_path):
    (tmp_path / "t.csv").write_text("picture,tumor,tumor_type\na.png,2,none\nb.png,1,gliom\n")
    with pytest.raises(DataError) as caught:
        prepare(tmp_path / "t.csv")
    for part in ("a.png does not exist", "tumor is '2'", "tumor_type is 'gliom'"):
        assert part in str(caught.value)
    with pytest.raises(OptionError, match="at least 2"):
        prepare(tmp_path / "t.csv", folds=1)


def test_unreadable_pictures_are_left_out(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data")
    (tmp_path / "data/Training/no_tumor/broken.png").write_bytes(b"\x89PNG broken")
    pictures, found = prepare(tmp_path / "data", folds=2)
    assert len(pictures) == 10
    assert [one.path.name for one in found.facts if one.error] == ["broken.png"]


def test_volumes_are_labeled_by_their_masks(tmp_path):
    list(write_studies(make_studies(2, 100), tmp_path / "made", "nifti"))
    for study in (tmp_path / "made/studies").iterdir():
        case = tmp_path / "data" / study.name.split(".")[0]
        case.mkdir(parents=True)
        shutil.copy(study, case / "t1.nii.gz")
        # The healthy one's mask is empty, as collections have it.
        mask = f"{study.name.split('_')[0]}.nii.gz"
        shutil.copy(tmp_path / "made/masks" / mask, case / "tumor-mask.nii.gz")
    manifest = load_data(tmp_path / "data", tmp_path / "out")
    assert sorted(picture.tumor for picture in manifest.pictures) == [False, True]
    sick = next(picture for picture in manifest.pictures if picture.tumor)
    assert sick.is_volume
    assert sick.patient
    first, last = sick.tumor_slices.split()[0].split("-")
    assert 0 < int(first) < int(last)
    assert sick.extra["sequence"] == "t1"
    assert load_data(tmp_path / "out", tmp_path / "other") == manifest


def test_ranges():
    assert ranges([]) == ""
    assert ranges([3, 4, 5, 9]) == "3-5 9-9"
