"""Archives in folders, lists and an object store, grouped without reading pixels."""

import gzip
import os
import shutil
import urllib.request

import nibabel
import numpy as np
import pandas as pd
import pytest

from meninx._archive.store import open_store
from meninx._archive.table import Done
from meninx._archive.units import units_of
from meninx._errors import OptionError
from tests.archive.conftest import SERIES, SLICES
from tests.clinic.conftest import free_port

NOTHING = Done([])


def units(source, done=NOTHING):
    store = open_store(str(source))
    return store, [unit for folder in store.folders() for unit in units_of(store, folder, done)]


def places(found):
    return sorted(unit.place for unit in found)


EXPECTED = sorted(
    [
        "a/copy",
        *(f"b/series-{n}" for n in range(SERIES)),
        "c/volume.nii.gz",
        "c/broken.dcm",
        "c/cut.png",
        "c/noise.png",
    ]
)


def test_a_tree_is_grouped_into_series(archive):
    _, found = units(archive)
    assert places(found) == EXPECTED
    assert {len(unit.names) for unit in found} == {1, SLICES}


def test_series_of_a_folder_are_distinguished(archive, tmp_path):
    for number in range(2):
        for file in (archive / f"b/series-{number}").iterdir():
            shutil.copy(file, tmp_path / f"{number}-{file.name}")
    _, found = units(tmp_path)
    assert places(found) == ["0-0.dcm", "1-0.dcm"]
    assert [len(unit.names) for unit in found] == [SLICES, SLICES]


def test_a_header_and_its_voxels_are_one_unit(tmp_path):
    voxels = np.arange(504, dtype=np.int16).reshape(7, 8, 9)
    nibabel.save(nibabel.Nifti1Pair(voxels, np.eye(4)), tmp_path / "a.hdr")
    nibabel.save(nibabel.Nifti1Pair(voxels + 1, np.eye(4)), tmp_path / "b.hdr")
    _, found = units(tmp_path)
    assert [unit.names for unit in found] == [("a.hdr", "a.img"), ("b.hdr", "b.img")]


def test_packed_dicom_files_are_one_series(archive, tmp_path):
    for file in (archive / "b/series-0").iterdir():
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    _, (unit,) = units(tmp_path)
    assert len(unit.names) == SLICES


def test_finished_folders_are_skipped(archive):
    _, found = units(archive)
    folders = {unit.folder for unit in found if unit.place.startswith("b/")}
    _, left = units(archive, Done(folders))
    assert places(left) == [place for place in EXPECTED if not place.startswith("b/")]


def test_a_changed_file_is_no_longer_done_and_its_folder_is_read_again(archive, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(archive / "c", copied)
    _, found = units(copied)
    os.utime(copied / "noise.png", (1, 1))
    done = Done([unit.stamp for unit in found] + [found[0].folder])
    _, left = units(copied, done)
    assert places(left) == places(found)
    assert places(unit for unit in left if unit.stamp not in done) == ["noise.png"]


def test_another_archive_of_the_same_names_and_times_is_not_done(archive, tmp_path):
    shutil.copytree(archive, tmp_path / "in", copy_function=shutil.copy2)
    _, found = units(archive)
    done = Done([unit.stamp for unit in found] + [unit.folder for unit in found])
    _, left = units(tmp_path / "in", done)
    assert places(left) == EXPECTED


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_list_names_files_and_folders(archive, tmp_path, suffix):
    source = tmp_path / "in"
    shutil.copytree(archive, source)
    table = pd.DataFrame(
        {"path": ["b/series-1", "c/volume.nii.gz", str(source / "c/noise.png"), "c/missing.nii"]}
    )
    path = source / f"list.{suffix}"
    table.to_csv(path) if suffix == "csv" else table.to_parquet(path)
    _, found = units(path)
    missing = {"csv": "line 5", "parquet": "row 4"}[suffix] + ": c/missing.nii"
    assert places(found) == ["b/series-1", "c/noise.png", "c/volume.nii.gz", missing]
    assert [(unit.place, unit.error) for unit in found if unit.error] == [
        (missing, "no such file or folder")
    ]


def test_a_list_without_paths_is_reported(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("name\nx\n")
    with pytest.raises(OptionError, match="no column 'path'"):
        units(path)


def test_a_single_file_is_an_archive(archive):
    _, found = units(archive / "c/volume.nii.gz")
    assert places(found) == ["volume.nii.gz"]


def test_links_are_read_as_their_targets(archive, tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "out.png").symlink_to(archive / "c/noise.png")
    (folder / "series").symlink_to(archive / "b/series-0")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "sub/up").symlink_to("..")
    (folder / "gone.nii").symlink_to("nowhere.nii")
    (folder / "lost").symlink_to(".git/annex/objects/q/K/K")
    _, found = units(folder)
    errors = {unit.place: unit.error for unit in found}
    assert sorted(errors) == ["gone.nii", "lost", "out.png", "series"]
    assert (errors["out.png"], errors["series"]) == ("", "")
    assert errors["gone.nii"].startswith("a link to nowhere.nii, which ")
    assert errors["lost"] == f"its content is not here: git annex get {folder}/lost"
    assert next(len(unit.names) for unit in found if unit.place == "series") == SLICES


def test_a_broken_link_beside_slices_is_missing_in_their_series(archive, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(archive / "b/series-0", folder)
    (folder / "3.dcm").symlink_to("/nowhere")
    (folder / "README").symlink_to("/nowhere")
    _, found = units(tmp_path)
    assert {unit.place: bool(unit.error) for unit in found} == {"in": True, "in/README": True}


@pytest.mark.parametrize("content", [b"", bytes(900), b"\0" * 128 + b"DICM" + bytes(70)])
@pytest.mark.parametrize("name", ["3.dcm", "3"])
def test_an_unreadable_file_belongs_to_the_series_beside_it(archive, tmp_path, content, name):
    folder = tmp_path / "in"
    shutil.copytree(archive / "b/series-0", folder)
    if name == "3":
        for file in folder.iterdir():
            file.rename(file.with_suffix(""))
    (folder / name).write_bytes(content)
    (folder / "LICENSE").write_bytes(b"")
    _, (unit,) = units(tmp_path)
    assert (len(unit.names), unit.error) == (SLICES + 1, "")


def test_a_pointer_is_out_of_reach_until_its_content_is_here(tmp_path):
    (tmp_path / "T1.nii").write_bytes(b"/annex/objects/MD5E-s1--2.nii\n")
    _, (unit,) = units(tmp_path)
    assert (unit.place, unit.names) == ("T1.nii", ("T1.nii",))
    assert "git annex get T1.nii" in unit.error


@pytest.mark.parametrize("source", ["/nothing/here", "nosuch://bucket/x"])
def test_an_address_without_an_archive_is_reported(source):
    with pytest.raises(OptionError):
        open_store(source)


@pytest.fixture
def bucket(archive, monkeypatch):
    """An S3 service on this machine with the archive in it."""
    from moto.server import ThreadedMotoServer

    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    address = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    put(address, "scans", None)
    for file in archive.rglob("*"):
        if file.is_file():
            put(address, f"scans/in/{file.relative_to(archive)}", file.read_bytes())
    yield "s3://scans/in"
    server.stop()


def put(address, name, data):
    request = urllib.request.Request(f"{address}/{name}", data=data or b"", method="PUT")
    request.add_header("Content-Type", "application/octet-stream")
    request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/x")
    urllib.request.urlopen(request).close()


def test_an_object_store_is_grouped_and_fetched(bucket, archive, tmp_path):
    store, found = units(bucket)
    assert places(found) == EXPECTED
    series = next(unit for unit in found if unit.place == "b/series-2")
    files = store.fetch(series.names, tmp_path)
    wanted = sorted((archive / "b/series-2").iterdir())
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in wanted]
    with pytest.raises(OSError, match="gone"):
        store.fetch(["gone.dcm"], tmp_path)
