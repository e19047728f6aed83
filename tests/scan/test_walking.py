"""Links are followed; broken links are reported."""

import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from meninx._errors import InputError
from meninx._scan.nifti import write_nifti
from meninx._scan.reading import read_scans
from meninx._scan.walking import files_below
from meninx._synthesis.writing import write_dicom

ANNEX = b"/annex/objects/SHA256E-s5120--0f3d.nii.gz\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 4\n"


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (9, 7), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def test_linked_files_and_folders_are_read_where_the_links_lie(tiny_scan, tmp_path, read_all):
    picture(tmp_path / "elsewhere/deep/b.png")
    write_dicom(tiny_scan, tmp_path / "elsewhere/series", 1)
    data = tmp_path / "data"
    data.mkdir()
    (data / "pictures").symlink_to(tmp_path / "elsewhere/deep")
    (data / "series").symlink_to("../elsewhere/series")
    (data / "one.png").symlink_to(picture(tmp_path / "store/c.png", 1))
    names = [scan.name for scan in read_all(data)]
    assert names == [str(data / name) for name in ("one.png", "pictures/b.png", "series")]


def test_a_loop_is_followed_once(tmp_path, errors):
    picture(tmp_path / "data/in/a.png")
    (tmp_path / "data/in/again").symlink_to(tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/back").symlink_to(tmp_path / "data")
    (tmp_path / "data/out").symlink_to(tmp_path / "out")
    found = [
        path.relative_to(tmp_path / "data")
        for path in files_below(tmp_path / "data", errors.append)
    ]
    assert (list(map(str, found)), errors) == (["in/a.png"], [])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nothing/here", "a link to nothing/here, which does not exist"),
        ("../.git/annex/objects/1f/2b/K/K", "its content is not here: git annex get"),
    ],
)
def test_a_link_that_leads_nowhere_is_a_failed_scan(tmp_path, errors, target, words):
    picture(tmp_path / "ds/a.png")
    link = tmp_path / "ds/b.png"
    link.symlink_to(target)
    assert len(list(read_scans(tmp_path / "ds", errors.append))) == 1
    (error,) = errors
    assert (error.reason, error.place) == ("not_found", str(link))
    assert words in str(error)
    with pytest.raises(InputError, match=words):
        list(read_scans(link))


@pytest.mark.parametrize("whole", [True, False])
def test_content_of_git_annex_is_read_through_its_links(tiny_scan, tmp_path, read_all, whole):
    key = tmp_path / "ds/.git/annex/objects/7x/3K/MD5E--1.nii.gz/MD5E--1.nii.gz"
    write_nifti(tiny_scan.voxels.astype(np.int16), tiny_scan, key)
    folder = tmp_path / "ds/sub-7/anat"
    folder.mkdir(parents=True)
    (folder / "sub-7_T2w.nii.gz").symlink_to(os.path.relpath(key, folder))
    (scan,) = read_all(tmp_path / "ds" if whole else folder)
    assert scan.name.endswith("anat/sub-7_T2w.nii.gz")


@pytest.mark.parametrize("name", ["T1.nii.gz", "a.png", "b.dcm", "IM0001"])
@pytest.mark.parametrize(
    ("pointer", "command"), [(ANNEX, "git annex get"), (LFS, "git lfs pull --include")]
)
def test_pointers_name_the_command_that_fetches_them(tmp_path, errors, name, pointer, command):
    (tmp_path / name).write_bytes(pointer)
    list(read_scans(tmp_path, errors.append))
    list(read_scans(tmp_path / name, errors.append))
    with zipfile.ZipFile(tmp_path / "clone.zip", "w") as archive:
        archive.write(tmp_path / name, f"clone/{name}")
    list(read_scans(tmp_path / "clone.zip", errors.append))
    assert [error.reason for error in errors if command in str(error)] == ["not_found"] * 3


def test_a_linked_pair_of_header_and_voxels_is_read(tmp_path, read_all):
    header = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nspacings: 30 40 40\n"
    (tmp_path / "x").write_bytes(header + b"encoding: raw\ndata file: a.raw\n\n")
    (tmp_path / "y").mkdir()
    (tmp_path / "y/z").write_bytes(bytes(range(60)))
    folder = tmp_path / "ds"
    folder.mkdir()
    (folder / "a.nhdr").symlink_to(tmp_path / "x")
    (folder / "a.raw").symlink_to(tmp_path / "y/z")
    (scan,) = read_all(folder)
    assert scan.voxels.shape == (3, 4, 5)
    (tmp_path / "y/z").unlink()
    with pytest.raises(InputError, match=r"a\.raw: a link to"):
        list(read_scans(folder / "a.nhdr"))


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path, errors, monkeypatch):
    picture(tmp_path / "a.png")
    (tmp_path / "closed").mkdir()
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert len(list(read_scans(tmp_path, errors.append))) == 1
    assert [error.place for error in errors] == [str(tmp_path / "closed")]


def test_a_link_in_a_zip_leads_nowhere(tmp_path):
    info = zipfile.ZipInfo("a.png")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError) as caught:
        list(read_scans(tmp_path / "z.zip"))
    assert caught.value.reason == "unsafe_path"


def test_a_linked_folder_of_a_zip_is_the_zip(tmp_path, read_all):
    shutil.make_archive(str(tmp_path / "store"), "zip", picture(tmp_path / "x/a.png").parent)
    (tmp_path / "link.zip").symlink_to("store.zip")
    assert len(read_all(tmp_path / "link.zip")) == 1
