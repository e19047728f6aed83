import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from meninx._assess.cases import units_of
from meninx._data.fold_rules import parse_fold_rule
from meninx._data.folders import find_items, label_of, normal_sequence
from meninx._data.manifest import Picture, read_manifest, write_manifest
from meninx._data.prepare import load_data, prepare, ranges
from meninx._data.stacks import read_stack
from meninx._errors import DataError, OptionError, UnsupportedScan
from meninx._synthesis.phantom import Phantom, grid_of
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.conftest import coarse_grid


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
    [
        ("yes", "unknown"),
        ("no", "none"),
        ("No Tumor", "none"),
        ("notumor", "none"),
        ("glioma_tumor", "glioma"),
        ("Meningioma", "meningioma"),
        ("pituitary_tumor", "pituitary"),
        ("Training", None),
        ("images", None),
        ("saudável", "none"),
        ("tumor_no", "none"),
        ("tumor_yes", "unknown"),
        ("1_tumor", "unknown"),
        ("Brain_Glioma", "glioma"),
        ("brain_menin", "meningioma"),
        ("meningitis", None),
        ("Astrocitoma T1C+", "glioma"),
        ("GBM", "glioma"),
        ("Meningeom", "meningioma"),
        ("Hypophysenadenom", "pituitary"),
        ("Schwannoma T2", "unknown"),
        ("_NORMAL T1", "none"),
        ("Healthy Controls", "none"),
        ("pas de tumeur", "none"),
        ("sí", "unknown"),
        ("não", "none"),
        ("without tumour", "none"),
        # What is no glioma may be another tumor; numbers tell nothing alone.
        ("glioma_no", None),
        ("non-glioma", None),
        ("pituitary_normal", None),
        ("class_0", None),
        ("class_1", None),
        ("patient 3", None),
        ("Tuberculoma", None),
    ],
)
def test_names_say_what_a_folder_holds(name, label):
    assert label_of(name) == label


@pytest.mark.parametrize(
    ("word", "sequence"),
    [
        ("t1", "T1"),
        ("T1w", "T1"),
        ("t1c", "T1c"),
        ("T1Gd", "T1c"),
        ("t1ce", "T1c"),
        ("flair", "FLAIR"),
        ("T2-FLAIR", "FLAIR"),
        ("t2", "T2"),
        ("", ""),
        ("dwi", ""),
        ("tumor", ""),
    ],
)
def test_words_for_sequences(word, sequence):
    assert normal_sequence(word) == sequence


def test_folders_become_items(folder):
    items = find_items(folder)
    assert len(items) == 10
    assert {(item.tumor, item.tumor_type) for item in items} == {(True, "glioma"), (False, None)}
    assert {item.split for item in items} == {"train", "test"}


def test_names_without_a_label_are_reported_and_can_be_given_one(folder, tmp_path):
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
    for picture in given:
        homes.setdefault(picture.group, set()).add(picture.fold)
    moved = [new for old, new in zip(given, pictures, strict=True) if old.fold != new.fold]
    assert moved
    assert all(
        len(homes[picture.group]) > 1 and picture.fold in homes[picture.group] for picture in moved
    )


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
    with pytest.raises(DataError, match="person P-12 lies in the folds 1 and 2"):
        prepare(tmp_path / "table.csv", split="given")
    # The same where a verb reads the table by itself: the user's folds are taken, and refused.
    with pytest.raises(DataError, match="person P-12 lies in the folds 1 and 2"):
        load_data(tmp_path / "table.csv", tmp_path / "out")
    pictures, _ = prepare(tmp_path / "table.csv", folds=2)
    assert len({p.fold for p in pictures if p.person == "P-12"}) == 1


@pytest.mark.parametrize("cell", ["-1", "\u22121", "-1.0", "1?", "glioma?", "99", "?"])
def test_a_label_that_is_neither_yes_nor_no_is_no_tumor_either(tmp_path, cell):
    """Is -1 tumor-free, as in scikit-learn, or uncertain, as in CheXpert?"""
    (tmp_path / "t.csv").write_text(f"picture,tumor\na.png,1\nb.png,{cell}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 3: tumor is .*, expected 0 or 1"):
        prepare(tmp_path / "t.csv")
    assert label_of("-1") is None and label_of("1") == "unknown"


def test_groups_of_a_table_are_kept(folder, tmp_path):
    paths = sorted((folder / "Training").rglob("*.png"))
    rows = [f"{path},{number % 2},{'ab'[number > 2]}" for number, path in enumerate(paths)]
    (tmp_path / "table.csv").write_text("\n".join(["picture,tumor,group", *rows]))
    pictures, found = prepare(tmp_path / "table.csv", folds=2)
    assert len({p.group for p in pictures[:3]}) == len({p.group for p in pictures[3:]}) == 1
    assert pictures[0].group != pictures[3].group
    assert found.duplicates.groups == ()


def test_all_faults_of_a_table_are_reported_at_once(tmp_path):
    (tmp_path / "t.csv").write_text("picture,tumor,tumor_type\na.png,2,none\nb.png,1,gliosis\n")
    with pytest.raises(DataError) as caught:
        prepare(tmp_path / "t.csv")
    for part in ("a.png does not exist", "tumor is '2'", "tumor_type is 'gliosis'"):
        assert part in str(caught.value)
    with pytest.raises(OptionError, match="at least 2"):
        prepare(tmp_path / "t.csv", folds=1)


def test_unreadable_pictures_are_left_out(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data")
    (tmp_path / "data/Training/no_tumor/broken.png").write_bytes(b"\x89PNG broken")
    pictures, found = prepare(tmp_path / "data", folds=2)
    assert len(pictures) == 10
    assert [fact.path.name for fact in found.facts if fact.error] == ["broken.png"]


def test_blank_files_connect_no_persons(slices):
    for name in ("A-1-1-t1.png", "B-2-1-t1.png"):
        Image.new("L", (40, 50)).save(slices / name)
    pictures, found = prepare(slices, folds=2)
    assert len({fact.sha256 for fact in found.facts}) == len(found.facts) - 1
    assert len(pictures) == len(found.facts) - 2
    assert {picture.person: picture.group for picture in pictures}.keys() == {"A-1", "B-2"}
    assert (
        len({picture.group for picture in pictures})
        == len({picture.fold for picture in pictures})
        == 2
    )


def test_volumes_are_labeled_by_their_masks(tmp_path):
    list(write_studies(make_studies(2, 100, coarse_grid), tmp_path / "made", "nifti"))
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
    assert sick.person
    first, last = sick.tumor_slices.split()[0].split("-")
    assert 0 < int(first) < int(last)
    assert sick.sequence == "T1"
    assert load_data(tmp_path / "out", tmp_path / "other") == manifest


def test_ranges():
    assert ranges([]) == ""
    assert ranges([3, 4, 5, 9]) == "3-5 9-9"


@pytest.fixture
def slices(tmp_path):
    """A table of slices as collections have it: two people, two sequences, two hospitals."""
    root = tmp_path / "glioma-slices"
    root.mkdir()
    mask = np.zeros((40, 50), np.uint8)
    mask[10:20, 20:30] = 255
    Image.fromarray(mask).save(root / "mask.png")
    lines = ["picture,mask,tumor,patient,site,slice,sequence,note"]
    for seed, (person, site) in enumerate([("A-1", "DU"), ("B-2", "HT")]):
        for number in (1, 2, 4):
            for sequence in ("t1", "FLAIR"):
                name = f"{person}-{number}-{sequence}.png"
                noise = np.random.default_rng([seed, number, len(sequence)])
                Image.fromarray(noise.integers(0, 255, (40, 50), np.uint8)).save(root / name)
                mask = "mask.png" if number == 2 else ""
                tumor = int(number == 2)
                lines.append(f'{name},{mask},{tumor},{person},{site},{number},{sequence},"x, y"')
    (root / "manifest.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    return root


def test_a_table_of_slices_becomes_stacks(slices, tmp_path):
    pictures, _ = prepare(slices, folds=2)
    write_manifest(pictures, tmp_path / "m.csv")
    manifest = read_manifest(tmp_path / "m.csv")
    stacks = {}
    for picture in manifest.pictures:
        stacks.setdefault(
            (picture.stack, picture.person, picture.site, picture.sequence), []
        ).append(picture)
    assert sorted(stacks) == [
        ("A-1/FLAIR", "A-1", "DU", "FLAIR"),
        ("A-1/T1", "A-1", "DU", "T1"),
        ("B-2/FLAIR", "B-2", "HT", "FLAIR"),
        ("B-2/T1", "B-2", "HT", "T1"),
    ]
    for members in stacks.values():
        assert [picture.position for picture in members] == [1, 2, 4]
        assert [picture.label for picture in members] == ["none", "unknown", "none"]
        assert [picture.mask is None for picture in members] == [True, False, True]
        assert {picture.source for picture in members} == {"glioma-slices"}
        assert {tuple(picture.extra.items()) for picture in members} == {(("note", "x, y"),)}
    assert {
        len({picture.group for picture in manifest.pictures if picture.person == p})
        for p in ("A-1", "B-2")
    } == {1}


def test_stacks_need_a_person_and_a_slice(slices):
    table = slices / "manifest.csv"
    text = table.read_text(encoding="utf-8-sig")
    table.write_text(text.replace("A-1,DU,1", ",DU,1").replace("A-1,DU,2,t1", "A-1,DU,,t1"))
    found = {picture.picture.name: picture for picture in prepare(slices, folds=2)[0]}
    assert (found["A-1-1-t1.png"].stack, found["A-1-1-t1.png"].position) == ("", 1)
    assert (found["A-1-2-t1.png"].stack, found["A-1-2-t1.png"].position) == ("", None)
    assert found["A-1-4-t1.png"].stack == "A-1/T1"
    # Words that name no sequence still tell two apart.
    table.write_text(text.replace(",t1,", ",dwi,").replace(",FLAIR,", ",swi,"))
    assert {picture.stack for picture in prepare(slices, folds=2)[0]} == {
        "A-1/dwi",
        "A-1/swi",
        "B-2/dwi",
        "B-2/swi",
    }
    table.write_text(text.replace("A-1,DU,4,t1", "A-1,DU,2,t1").replace("B-2,HT,4", "B-2,HT,4b"))
    with pytest.raises(DataError, match="stack A-1/T1: slice 2 is there 2 times") as caught:
        prepare(slices)
    assert "slice is '4b'" in str(caught.value)


def test_a_table_without_labels_is_labeled_by_its_folder(tmp_path):
    list(write_studies(make_studies(2, 0, coarse_grid), tmp_path / "made", "nifti"))
    root = tmp_path / "tumor-free"
    shutil.copytree(tmp_path / "made/studies", root)
    rows = [
        f'{path.name},P{number},T2,on,"old, no tumor",{"LAB/one"},'
        for number, path in enumerate(sorted(root.glob("*.nii.gz")))
    ]
    table = "volume,person,sequence,skull,state,source,licence\n" + "\n".join(rows) + "\n"
    (root / "manifest.csv").write_text(table)
    pictures, _ = prepare(root, folds=2)
    assert {
        (
            picture.label,
            picture.sequence,
            picture.site,
            picture.source,
            picture.stack,
            picture.position,
        )
        for picture in pictures
    } == {("none", "T2", "LAB/one", "LAB/one", "", None)}
    assert [picture.person for picture in pictures] == ["P0", "P1"]
    assert pictures[0].extra == {"skull": "on", "state": "old, no tumor", "licence": ""}
    assert pictures[0].is_volume
    moved = root.rename(tmp_path / "lot-7")
    with pytest.raises(DataError, match=r"folder's name, 'lot-7', says neither .* --label lot-7="):
        prepare(moved)
    assert {picture.label for picture in prepare(moved, labels={"LOT-7": "glioma"})[0]} == {
        "glioma"
    }
    # A column that is there is taken at its word, also where it is empty.
    (moved / "manifest.csv").write_text(table.replace("skull", "tumor").replace(",on,", ",,"))
    with pytest.raises(DataError, match="line 2: tumor is empty"):
        prepare(moved, labels={"lot-7": "none"})


def test_an_alias_beside_the_real_column(slices):
    table = slices / "manifest.csv"
    text = table.read_text(encoding="utf-8-sig")
    # The person is the real column's; the alias is kept as it is, and counts where that is empty.
    table.write_text(text.replace("site,", "person,").replace("B-2,HT", "B-2,"))
    pictures, _ = prepare(slices, folds=2)
    assert {(picture.person, picture.extra["patient"], picture.site) for picture in pictures} == {
        ("DU", "A-1", ""),
        ("B-2", "B-2", ""),
    }
    table.write_text("picture,tumor\n,0\n")
    with pytest.raises(DataError, match="line 2: picture is empty"):
        prepare(slices)
    table.write_text("picture,tumor\n")
    with pytest.raises(DataError, match="lists no picture"):
        prepare(slices)


def test_several_collections_become_one_manifest(folder, slices, tmp_path):
    other = tmp_path / "more/collection"
    shutil.copytree(folder / "Testing", other)
    collections = [folder, slices, other]
    pictures, found = prepare(collections, folds=3)
    first = folder.name
    by_id = {picture.id: picture for picture in pictures}
    assert len(by_id) == len(pictures) == 10 + 12 + 5
    assert by_id[f"{first}/Testing/no_tumor/same.png"].source == first
    assert by_id["glioma-slices/A-1-1-t1.png"].stack == "glioma-slices/A-1/T1"
    copies = [f"{first}/Testing/glioma_tumor/6.png", "collection/glioma_tumor/6.png"]
    assert len({(by_id[name].group, by_id[name].fold) for name in copies}) == 1
    assert any(
        {"near"} == {group.kind} and len(group.members) == 3 for group in found.duplicates.groups
    )
    write_manifest(pictures, tmp_path / "out.csv")
    again = read_manifest(tmp_path / "out.csv")
    assert [picture.id for picture in again.pictures] == list(by_id)
    assert all(picture.picture.samefile(by_id[picture.id].picture) for picture in again.pictures)


def test_collections_of_the_same_name_stay_apart(tmp_path):
    for place, seed in (("one", 1), ("two", 2)):
        (tmp_path / place / "data").mkdir(parents=True)
        lines = ["picture,tumor,person,slice,sequence,group"]
        for number in range(2):
            noise = np.random.default_rng([seed, number]).integers(0, 255, (40, 50), np.uint8)
            Image.fromarray(noise).save(tmp_path / place / f"data/{number}.png")
            lines.append(f"{number}.png,0,{place if number else ''},{number},t1,{number}")
        (tmp_path / place / "data/manifest.csv").write_text("\n".join(lines))
    both = [tmp_path / "one/data", tmp_path / "two/data/manifest.csv"]
    pictures, _ = prepare(both, folds=2)
    names = ["data/0.png", "data/1.png", "data#2/0.png", "data#2/1.png"]
    assert [picture.id for picture in pictures] == names
    assert len({picture.group for picture in pictures}) == 4
    (tmp_path / "two/data/manifest.csv").write_text(
        (tmp_path / "two/data/manifest.csv").read_text().replace("two", "one")
    )
    pictures, _ = prepare(both, folds=2)
    # A person of the same name counts as one, but the stacks are two.
    assert pictures[1].group == pictures[3].group
    assert pictures[1].stack != pictures[3].stack
    with pytest.raises(DataError, match="no data named"):
        prepare([])


def test_fold_rules_hold_a_site_apart_and_never_part_a_group(slices):
    rules = [parse_fold_rule(text) for text in ("source=glioma-*:5", "site=HT:6")]
    pictures, _ = prepare(slices, folds=2, rules=rules)
    assert {(picture.site, picture.fold) for picture in pictures} == {("DU", 5), ("HT", 6)}
    with pytest.raises(DataError, match="person A-1 lies in the folds 5 and 7") as caught:
        prepare(slices, folds=2, rules=[*rules, parse_fold_rule("sequence=T1:7")])
    assert "--allow-leaks" in str(caught.value)
    assert "--fold 'person=NAME:1'" in str(caught.value)
    allowed, _ = prepare(slices, rules=[parse_fold_rule("sequence=T1:7")], allow_leaks=True)
    assert {picture.sequence for picture in allowed if picture.fold == 7} == {"T1"}
    # In a fold that is named nothing else lies, where folds are dealt here.
    for folds in (2, 3, 5):
        alone, _ = prepare(slices, folds=folds, rules=[parse_fold_rule("site=HT:1")])
        assert {picture.site for picture in alone if picture.fold == 1} == {"HT"}
        assert {picture.fold for picture in alone if picture.site == "DU"} <= {*range(2, folds + 1)}
    with pytest.raises(OptionError, match="--fold site=XX:6: no picture matches"):
        prepare(slices, folds=2, rules=[parse_fold_rule("site=XX:6")])


def test_a_stack_of_pictures_is_one_scan_that_looks_like_them(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(1, 255, (4, 90, 80), np.uint8)
    images[0] = 0  # beyond the head
    rows = []
    for place, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
        mask = None
        if place == 2:
            mask = tmp_path / "mask.png"
            Image.fromarray(np.where(np.arange(80) < 20, 255, 0) * np.ones((90, 1))).convert(
                "L"
            ).save(mask)
        rows.append(
            Picture(
                f"{place}",
                tmp_path / f"{place}.png",
                mask,
                place == 2,
                None,
                "g",
                1,
                "s",
                person="a",
                sequence="FLAIR",
                stack="a FLAIR",
                position=10 * place,
            )
        )
    scan, tumor = read_stack(rows[::-1])
    assert (scan.name, scan.sequence, scan.view.plane) == ("a FLAIR", "FLAIR", "axial")
    for place in range(4):
        np.testing.assert_array_equal(scan.slice(place).image, images[place])
    cut = scan.view.cut(tumor, 2)
    assert cut.shape == (90, 80)
    assert cut[:, :20].all()
    assert not cut[:, 20:].any()
    assert tumor.sum() == 90 * 20
    ((row, members),) = units_of(rows)
    assert (row.id, row.tumor, row.mask, len(members)) == ("a FLAIR", True, None, 4)
    small = replace(rows[3], picture=tmp_path / "small.png")
    Image.fromarray(images[3][:50]).save(small.picture)
    with pytest.raises(DataError, match="a stack is one scan"):
        read_stack([*rows[:3], small])
    with pytest.raises(UnsupportedScan, match="blank"):
        read_stack(rows[:1])


def test_a_table_s_exams_of_known_collections_are_one_person(tmp_path):
    lines = ["picture,tumor,patient"]
    for number in range(6):
        picture_of(number).save(tmp_path / f"{number}.png")
        name = f"UPENN-GBM-{number // 2:05}_{11 + 10 * (number % 2)}"
        lines.append(f"{number}.png,{number % 2},{name}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    pictures, _ = prepare(tmp_path / "table.csv", folds=3)
    assert len({picture.person for picture in pictures}) == 3
    assert len({(picture.person, picture.fold) for picture in pictures}) == 3
