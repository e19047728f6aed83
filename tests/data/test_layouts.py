"""Folders as collections come: what they say is understood, and said."""

import csv
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from meninx._cli import labeled_data
from meninx._cli.labeled_data import load_manifest, split_chooser
from meninx._data.duplicates import Duplicates
from meninx._data.facts import PictureFacts
from meninx._data.folders import find_items
from meninx._data.items import Item, label_of
from meninx._data.prepare import load_data, prepare
from meninx._data.survey import Survey, survey
from meninx._data.understanding import label_conflicts, understood
from meninx._errors import DataError, OptionError
from tests.data.test_prepare import folder, picture_of  # noqa: F401 - a fixture
from tests.scan.dicom_making import save_all, slices_of

GRID = np.diag([1.1, 1.3, 2.7, 1])


def volume(path, seed=0, sick=False, mask=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(1, 900, (7, 8, 9)).astype(np.int16)
    if mask:
        voxels[:] = 0
        voxels[2:4, 3:5, 4:6] = sick
    nibabel.save(nibabel.Nifti1Image(voxels, GRID), path)


def facts(items):
    return sorted(
        (item.path.name, item.mask.name if item.mask else None, item.person, item.sequence)
        for item in items
    )


@pytest.mark.parametrize("channel", ["", "_0000"])
def test_a_decathlon_is_labeled_by_its_masks(tmp_path, channel):
    for number in range(2):
        volume(tmp_path / f"imagesTr/BRATS_{number:03}{channel}.nii.gz", number)
        volume(tmp_path / f"labelsTr/BRATS_{number:03}.nii.gz", sick=number == 1, mask=True)
    messages = []
    items = find_items(tmp_path, report=messages.append)
    assert facts(items) == [
        (f"BRATS_00{n}{channel}.nii.gz", f"BRATS_00{n}.nii.gz", f"brats_00{n}", "") for n in (0, 1)
    ]
    assert "read as a decathlon: 2 volumes" in messages[0]
    pictures, _ = prepare(tmp_path, folds=2)
    assert [(picture.tumor, picture.tumor_slices) for picture in pictures] == [
        (False, ""),
        (True, "4-5"),
    ]
    (tmp_path / "labelsTr/BRATS_001.nii.gz").unlink()
    with pytest.raises(DataError, match="no mask of its name in labelsTr"):
        find_items(tmp_path)


def bids(root, sessions=False):
    for number in (1, 2):
        subject = f"sub-{number:02}"
        place = f"{subject}/ses-1" if sessions else subject
        name = place.replace("/", "_")
        for contrast in ("T1w", "FLAIR"):
            volume(root / f"{place}/anat/{name}_{contrast}.nii.gz", number)
        volume(root / f"{place}/func/{name}_task-rest_bold.nii.gz", number)
        volume(
            root / f"derivatives/fsl/{place}/anat/{name}_desc-brain_mask.nii.gz", sick=1, mask=True
        )
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t40\nsub-02\t50\n")


@pytest.mark.parametrize("sessions", [False, True])
def test_bids_is_labeled_by_masks_in_derivatives(tmp_path, sessions):
    bids(tmp_path, sessions)
    with pytest.raises(DataError, match=r"2 subjects have a tumor \(the first is sub-01\)"):
        find_items(tmp_path)
    for number in (1, 2):
        place = f"sub-{number:02}/ses-1" if sessions else f"sub-{number:02}"
        mask = (
            f"derivatives/lesions/{place}/anat/{place.replace('/', '_')}_label-lesion_mask.nii.gz"
        )
        volume(tmp_path / mask, sick=number == 1, mask=True)
    messages = []
    items = find_items(tmp_path, report=messages.append)
    assert [(item.person, item.sequence, bool(item.mask)) for item in items] == [
        ("sub-01", "FLAIR", True),
        ("sub-01", "T1", True),
        ("sub-02", "FLAIR", True),
        ("sub-02", "T1", True),
    ]
    assert any("read as BIDS: 4 volumes" in line for line in messages)
    assert any("4 other volumes are left out" in line for line in messages)
    pictures, _ = prepare(tmp_path, folds=2)
    assert {picture.person for picture in pictures if picture.tumor} == {"sub-01"}


def test_bids_is_labeled_by_its_table(tmp_path):
    bids(tmp_path)
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tgroup\nsub-01\tglioma\nsub-02\tcontrol\n"
    )
    found = {(item.person, item.tumor, item.tumor_type) for item in find_items(tmp_path)}
    assert found == {("sub-01", True, "glioma"), ("sub-02", False, None)}


def test_folders_of_subjects_with_other_names_are_no_bids(tmp_path):
    volume(tmp_path / "sub-01/t1.nii.gz")
    volume(tmp_path / "sub-01/seg.nii.gz", sick=1, mask=True)
    (item,) = find_items(tmp_path)
    assert (item.path.name, item.mask.name) == ("t1.nii.gz", "seg.nii.gz")


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("word", ["_mask", "-seg"])
def test_pictures_are_labeled_by_masks_beside_them(tmp_path, suffix, word):
    for person in ("TCGA_1", "TCGA_2"):
        place = tmp_path / "set" / person
        place.mkdir(parents=True)
        for number in range(3):
            mask = np.zeros((96, 80), np.uint8)
            mask[40:50, 30:40] = 255 * (number == 1)
            picture_of(number).resize((80, 96)).save(place / f"{person}_{number}.{suffix}")
            Image.fromarray(mask).save(place / f"{person}_{number}{word}.{suffix}")
    items = find_items(tmp_path)
    assert [(item.tumor, item.position, item.person) for item in items] == [
        (number == 1, number, person) for person in ("TCGA_1", "TCGA_2") for number in range(3)
    ]
    assert {item.stack for item in items} == {"set/TCGA_1", "set/TCGA_2"}
    assert [bool(item.mask) for item in items] == [False, True, False] * 2


def tumor_mask(size):
    """The mask of a tumor in the middle of a picture."""
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 3, size[1] // 3, size[0] // 2, size[1] // 2))
    return mask


def numbered(place, count=3):
    """Slices with a mask beside each, called by numbers alone."""
    place.mkdir(parents=True)
    for number in range(count):
        picture_of(number).resize((80, 96)).save(place / f"slice_{number:03}.png")
        tumor_mask((80, 96)).save(place / f"slice_{number:03}_mask.png")


def test_folders_of_numbered_slices_are_people(tmp_path):
    for person in ("patient_7", "Łukasz 10"):
        numbered(tmp_path / person)
    for sequence in ("t1", "flair"):
        numbered(tmp_path / "P-3" / sequence)
    items = find_items(tmp_path)
    assert {(item.person, item.stack) for item in items} == {
        ("patient_7", "patient_7"),
        ("Łukasz 10", "Łukasz 10"),
        ("P-3", "P-3/t1"),
        ("P-3", "P-3/flair"),
    }
    pictures, found = prepare(tmp_path, folds=2)
    folds = {(picture.person, picture.fold) for picture in pictures}
    assert len(folds) == 3
    assert not any("no person is known" in line for line in understood(found))


def test_parts_of_a_collection_are_no_people_and_the_lack_of_persons_is_reported(tmp_path):
    for part in ("train1", "train2", "images", "Batch 3"):
        numbered(tmp_path / part)
    assert {item.person for item in find_items(tmp_path)} == {""}
    assert any("no person is known" in line for line in understood(survey(tmp_path)))


def test_masks_in_class_folders_make_no_persons(tmp_path):
    place = tmp_path / "glioma"
    place.mkdir()
    for number in range(2):
        picture_of(number).save(place / f"glioma_{number}.png")
        tumor_mask((150, 170)).save(place / f"glioma_{number}_mask.png")
    found = {
        (item.tumor_type, item.person, item.stack, bool(item.mask)) for item in find_items(tmp_path)
    }
    assert found == {("glioma", "", "", True)}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Kein Tumor", "none"),
        ("gesund", "none"),
        ("sans_tumeur", "none"),
        ("sin tumor", "none"),
        ("tumor_free", "none"),
        ("glioma-negative", "none"),
        ("non-tumor", "none"),
        ("tumeur", "unknown"),
        ("tumore", "unknown"),
        ("mit Tumor", "unknown"),
        ("tumors", "unknown"),
        ("tumor_images", None),
        ("normalized", None),
        ("scan_1", None),
    ],
)
def test_names_of_other_languages(name, label):
    assert label_of(name) == label


def test_what_was_understood_is_said(folder, tmp_path):  # noqa: F811
    shutil.copytree(folder, tmp_path / "data")
    wrong = tmp_path / "data/Training/glioma_tumor/again.png"
    shutil.copy(tmp_path / "data/Training/no_tumor/3.png", wrong)
    (tmp_path / "data/Testing/notes.docx").write_text("x")
    (tmp_path / "data/Testing/no_tumor/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = survey(tmp_path / "data")
    lines = "\n".join(understood(found))
    assert "other files, which are skipped: 1 .docx" in lines
    assert "glioma: 6 from glioma_tumor/; no tumor: 6 from no_tumor/" in lines
    assert "the folders' own split: 6 test, 6 train" in lines
    assert "broken.png" in lines
    ((first, second),) = label_conflicts(found)
    assert {found.items[first].tumor, found.items[second].tumor} == {True, False}
    assert "LABELS: 1 slice has two labels" in lines
    assert "Training/glioma_tumor/again.png (glioma) = Training/no_tumor/3.png (no tumor)" in lines


@pytest.mark.parametrize(("option", "fold_1"), [("keep", 5), ("mend", None), ("redo", None)])
def test_a_split_of_its_own_is_used_as_said(folder, tmp_path, capsys, option, fold_1):  # noqa: F811
    manifest = load_manifest(folder, tmp_path, None, option, allow_leaks=option == "keep")
    tested = {picture.split for picture in manifest.fold(1)}
    if option == "keep":
        assert (tested, len(manifest.fold(1))) == ({"test"}, fold_1)
    else:
        assert not manifest.leaks
    assert len(manifest.pictures) == 10
    assert "the folders' own split: 5 test, 5 train" in capsys.readouterr().err


def test_without_an_option_it_is_said_that_the_split_goes(folder, tmp_path, capsys):  # noqa: F811
    load_manifest(folder, tmp_path, None, allow_leaks=False)
    assert "that split is not kept" in capsys.readouterr().err
    with pytest.raises(OptionError, match="expected keep, mend, redo"):
        split_chooser("fair")


def test_at_a_terminal_it_asks(folder, tmp_path, monkeypatch):  # noqa: F811
    shutil.copytree(folder, tmp_path / "data")
    shutil.copytree(folder / "Training/no_tumor", tmp_path / "data/Training/lot_7")
    answers = iter(["what?", "none", "mend"])
    asked = []

    def answer(question, **options):
        asked.append(question)
        return next(answers)

    monkeypatch.setattr(labeled_data, "is_dialog", lambda: True)
    monkeypatch.setattr(labeled_data.typer, "prompt", answer)
    manifest = load_manifest(tmp_path / "data", tmp_path / "out", None, allow_leaks=False)
    assert ["lot_7" in question for question in asked] == [True, True, False]
    assert "mend" in asked[2]
    assert all(not picture.tumor for picture in manifest.pictures if "lot_7" in picture.id)


def write(path, rows, encoding="utf-8"):
    path.write_bytes("\n".join([*rows, ""]).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("rows", "encoding"),
    [
        (["picture,tumor", "sub\\größe.png,1", "sub\\b.png,0"], "cp1252"),
        (["Picture;Tumor", ".\\sub\\größe.png;wahr", "sub/b.png;falsch"], "utf-16"),
        (["Image,Class", "größe,1", "b,0"], "utf-8"),
        (["filename,label", "sub/größe.png,tumeur", "sub/b.png,gesund"], "utf-8"),
        (["image_path\tlabel", "sub/größe.png\tYES", "sub/b.png\tNo"], "utf-8"),
        ([",file,target", "0,sub/größe.png,1.0", "1,sub/b.png,0.0"], "cp1252"),
    ],
)
def test_tables_as_people_have_them(tmp_path, rows, encoding):
    (tmp_path / "sub").mkdir()
    for number, name in enumerate(("größe", "b")):
        picture_of(number).save(tmp_path / f"sub/{name}.png")
    pictures, _ = prepare(write(tmp_path / "table.csv", rows, encoding), folds=2)
    assert {picture.id: picture.tumor for picture in pictures} == {
        "sub/größe.png": True,
        "sub/b.png": False,
    }


def test_a_table_s_types_may_stand_in_its_class(tmp_path):
    for number, name in enumerate(("a", "b", "c")):
        picture_of(number).save(tmp_path / f"{name}.png")
    rows = ["image,label", "a.png,glioma_tumor", "b.png,No Tumor", "c.png,pituitary"]
    pictures, _ = prepare(write(tmp_path / "t.csv", rows), folds=2)
    assert [picture.label for picture in pictures] == ["glioma", "none", "pituitary"]
    with pytest.raises(DataError, match="tumor is '3', expected 0 or 1"):
        prepare(write(tmp_path / "t.csv", ["image,label", "a.png,3"]), folds=2)


@pytest.mark.parametrize(
    ("name", "data", "messages"),
    [
        ("set.zip", b"PK\x03\x04" + bytes(200), "unzip .*set.zip -d .*set"),
        ("set.tar.gz", b"\x1f\x8b\x08" + bytes(range(256)), "tar xf"),
        ("set.xlsx", b"PK\x03\x04" + bytes(200), "save its sheet as CSV"),
        ("set.bin", b"\xff\xfe\x00\xd8" + bytes(range(7)), "save the table as CSV"),
    ],
)
def test_what_is_no_table_says_what_to_do(tmp_path, name, data, messages):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=messages):
        load_data(tmp_path / name, tmp_path / "out")


def test_a_split_table_keeps_its_folds(folder, tmp_path):  # noqa: F811
    files = sorted((folder / "Training").rglob("*.png"))
    rows = ["picture,tumor,fold"] + [
        f"{file},{int('glioma' in str(file))},{n % 2 + 1}" for n, file in enumerate(files)
    ]
    table = write(tmp_path / "table.csv", rows)
    manifest = load_manifest(table, tmp_path / "out", None, allow_leaks=False)
    with (tmp_path / "out/manifest.csv").open() as file:
        assert [row["fold"] for row in csv.DictReader(file)] == [
            str(n % 2 + 1) for n in range(len(files))
        ]
    assert len(manifest.pictures) == 5


def test_exams_of_a_person_lie_in_one_fold(tmp_path):
    for person in range(4):
        for exam in ("000", "001", "004"):
            name = f"BraTS-SSA-{person + 61:05}-{exam}"
            volume(tmp_path / name / f"{name}-t2f.nii.gz", person * 10 + int(exam))
            volume(tmp_path / name / f"{name}-seg.nii.gz", sick=True, mask=True)
    pictures, found = prepare(tmp_path, folds=4)
    assert len({picture.person for picture in pictures}) == 4
    assert len({(picture.person, picture.fold) for picture in pictures}) == 4
    assert any(
        "persons: 4, from names such as BraTS-SSA-00061 (-000, -001, -004 are taken as" in line
        for line in understood(found)
    )


def test_folders_of_dates_below_a_person_are_one_person(tmp_path):
    for person in ("Patient-007", "Patient-008"):
        for number, exam in enumerate(("week-000-1", "week-044", "2019-03-05")):
            volume(tmp_path / person / exam / "CT1.nii.gz", number)
            volume(tmp_path / person / exam / "seg_mask.nii.gz", sick=True, mask=True)
    items = find_items(tmp_path)
    assert {item.person for item in items} == {"Patient-007", "Patient-008"}


def test_the_tumor_s_mask_is_taken_and_maps_are_left_out(tmp_path):
    for person in ("X-0101", "X-0102"):
        for name in ("T1", "FLAIR", "eADC", "DTI_MD", "biasfield", "DWI", "asl"):
            volume(tmp_path / person / f"{person}_{name}.nii.gz")
        for name in ("tumor", "brain", "brain_parenchyma"):
            volume(tmp_path / person / f"{person}_{name}_mask.nii.gz", sick=True, mask=True)
    messages = []
    items = find_items(tmp_path, report=messages.append)
    assert facts(items) == sorted(
        (f"{person}_{name}.nii.gz", f"{person}_tumor_mask.nii.gz", person, name)
        for person in ("X-0101", "X-0102")
        for name in ("T1", "FLAIR")
    )
    assert any("2 asl, 2 biasfield, 2 dwi, 2 eadc, 2 md" in line for line in messages)


def test_a_mask_of_something_else_alone_is_taken_for_none(tmp_path):
    volume(tmp_path / "P1/t1.nii.gz")
    volume(tmp_path / "P1/brain_mask.nii.gz", sick=True, mask=True)
    with pytest.raises(DataError, match="no label; expected a mask beside it"):
        find_items(tmp_path)


def test_people_of_one_folder_are_distinguished_by_the_names_of_their_masks(tmp_path):
    for person in ("P1", "P10"):
        for name in ("t1", "t2"):
            volume(tmp_path / f"{person}_{name}.nii.gz")
        volume(tmp_path / f"{person}_seg.nii.gz", sick=True, mask=True)
    assert facts(find_items(tmp_path)) == [
        ("P10_t1.nii.gz", "P10_seg.nii.gz", "P10", "T1"),
        ("P10_t2.nii.gz", "P10_seg.nii.gz", "P10", "T2"),
        ("P1_t1.nii.gz", "P1_seg.nii.gz", "P1", "T1"),
        ("P1_t2.nii.gz", "P1_seg.nii.gz", "P1", "T2"),
    ]
    volume(tmp_path / "other_t1.nii.gz")
    with pytest.raises(DataError, match=r"2 masks .*\bP10_seg.*do not say which"):
        find_items(tmp_path)


def test_class_folders_of_volumes_know_exams_by_their_names(tmp_path):
    for label in ("tumor", "healthy"):
        for exam in ("t0", "t1"):
            volume(tmp_path / label / f"P7_{exam}_flair.nii.gz")
        for sequence in ("t1", "t2"):
            volume(tmp_path / label / "Q" / f"{sequence}.nii.gz")
    persons = {(item.path.parent.name, item.person) for item in find_items(tmp_path)}
    assert persons == {
        ("tumor", "tumor/P7"),
        ("healthy", "healthy/P7"),
        ("Q", "tumor/Q"),
        ("Q", "healthy/Q"),
    }


def series(scan, place, patient, seed):
    files = slices_of(scan, seed)
    for dataset in files:
        dataset.PatientID = patient
    return save_all(files, place)


def test_class_folders_of_dicom_are_read_a_folder_each(tiny_scan, tmp_path):
    series(tiny_scan, tmp_path / "glioma/A/T1", "A", 1)
    series(tiny_scan, tmp_path / "glioma/A/T2", "A", 2)
    series(tiny_scan, tmp_path / "no_tumor/B", "B", 3)
    for file in (tmp_path / "no_tumor/B").iterdir():
        file.rename(file.with_suffix(""))
    pictures, _ = prepare(tmp_path, folds=2)
    assert [(picture.id, picture.tumor, picture.tumor_type) for picture in pictures] == [
        ("glioma/A/T1", True, "glioma"),
        ("glioma/A/T2", True, "glioma"),
        ("no_tumor/B", False, None),
    ]
    assert len({picture.person for picture in pictures[:2]}) == 1
    assert len({picture.fold for picture in pictures}) == 2
    assert "A" not in {picture.person for picture in pictures}


def test_headers_that_all_name_one_patient_name_no_person(tiny_scan, tmp_path):
    for number, place in enumerate(("tumor/1", "tumor/2", "healthy/3")):
        series(tiny_scan, tmp_path / place, "ANON", number)
    items = find_items(tmp_path)
    assert {item.person for item in items} == {"tumor/1", "tumor/2", "healthy/3"}


def test_dicom_that_cannot_be_separated_or_labeled_is_reported(tiny_scan, tmp_path):
    series(tiny_scan, tmp_path / "tumor/A", "A", 1)
    for file in series(tiny_scan, tmp_path / "more", "A", 2).iterdir():
        file.rename(tmp_path / "tumor/A" / f"again-{file.name}")
    (tmp_path / "more").rmdir()
    with pytest.raises(DataError, match="several DICOM series, expected one"):
        find_items(tmp_path)
    (tmp_path / "tumor").rename(tmp_path / "cases")
    with pytest.raises(DataError, match="DICOM in folders whose names say neither"):
        find_items(tmp_path)


def test_dicom_without_a_label_beside_other_data_is_left_out(tiny_scan, tmp_path):
    series(tiny_scan, tmp_path / "sourcedata/A", "A", 1)
    volume(tmp_path / "tumor/x.nii.gz")
    messages = []
    assert [item.path.name for item in find_items(tmp_path, report=messages.append)] == ["x.nii.gz"]
    assert any("left out" in line and "sourcedata" in line for line in messages)


def test_dicom_that_cannot_be_used_is_said(tiny_scan, tmp_path):
    files = slices_of(tiny_scan)
    for dataset in files:
        dataset.BodyPartExamined = "KNEE"
    save_all(files, tmp_path / "tumor/A")
    with pytest.raises(DataError, match=r"no DICOM series can be used; the first.*KNEE"):
        find_items(tmp_path)


def test_pictures_of_a_known_collection_lie_with_their_person(tmp_path):
    for number in range(6):
        place = tmp_path / ("yes" if number % 2 else "no")
        place.mkdir(exist_ok=True)
        picture_of(number).save(place / f"BraTS-GLI-{number // 2:05}-10{number % 2}_s{number}.png")
    pictures, _ = prepare(tmp_path, folds=3)
    assert len({(picture.person, picture.fold) for picture in pictures}) == 3


def test_many_folders_are_counted_and_few_are_named():
    def lines(folders):
        items = tuple(
            Item(Path("data") / name / f"{tumor}.png", tumor=tumor, tumor_type=None)
            for name in folders
            for tumor in (True, False)
        )
        measured = tuple(PictureFacts(item.path, str(item.path)) for item in items)
        copies = Duplicates((), np.arange(len(items)))
        return understood(Survey((), items, measured, copies))[0]

    assert "tumor: 2 from data/ann/, data/bob/" in lines(["ann", "bob"])
    many = lines([f"case-{letter}" for letter in "abcdefgh"])
    assert many.count("from 8 folders, such as data/case-a/") == 2
    assert "case-b" not in many
