"""One loop from files to what is written: each result goes to every writer and is dropped."""

import gc
import json
import tracemalloc
import weakref

import numpy as np
import pytest
from PIL import Image

from meninx._detect.loading import load_detector
from meninx._errors import UnreadableFile
from meninx._render.heatmap_check import HeatmapCheck
from meninx._render.result import Result
from meninx._scan.nifti import write_nifti
from meninx._scan.scan import Scan
from meninx._scan.unread import Unread
from meninx._scoring.loop import _scored, score_files, score_path, write_all
from meninx._scoring.study import score_study
from meninx._scoring.writers import JsonLines, Pictures, file_stem


@pytest.fixture(scope="module", autouse=True)
def earlier_objects():
    """Leave what earlier tests made out of the garbage collections here, after every result."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def folder(tmp_path, sick, healthy):
    """Two volumes and a text that calls itself a picture."""
    for name, study in (("a-flair", healthy), ("b-t1c", sick)):
        write_nifti(study.scan.voxels.astype(np.int16), study.scan, tmp_path / f"{name}.nii.gz")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    return tmp_path


class Held:
    """A writer that remembers results weakly, and how many of them still live."""

    def __init__(self):
        self.results, self.living = [], []

    def write(self, result):
        assert result.heat is None or result.heat.any()
        self.results.append(weakref.ref(result))
        gc.collect()
        self.living.append(sum(reference() is not None for reference in self.results))


def test_every_writer_gets_every_result_in_order(folder, tmp_path):
    lines, order = [], []
    (out := tmp_path / "out").mkdir()

    class Noted:
        def write(self, result):
            order.append((len(lines), result.findings.status))

    writers = [JsonLines(lines.append), Pictures(out), Noted()]
    kept = list(write_all(score_path(load_detector(), folder), writers))
    assert [json.loads(line)["scan"] for line in lines] == [found.scan for found in kept]
    assert order == [(1, "scored"), (2, "scored"), (3, "failed")]
    # All slices are in the JSON, one map is kept.
    assert [len(json.loads(line)["slices"]) > 1 for line in lines] == [True, True, False]
    assert [len(found.slices) for found in kept] == [1, 1, 0]
    assert {path.stem for path in out.iterdir()} == {
        file_stem(findings.scan) for findings in kept[:2]
    }


def test_a_result_is_dropped_before_the_next_is_scored(folder, monkeypatch):
    monkeypatch.setattr(
        "meninx._render.heatmap_check.check_heatmap",
        lambda *_: HeatmapCheck(contrast=0.9, drop=5.0),
    )
    held = Held()
    assert len(list(write_all(score_path(load_detector(), folder), [held]))) == 3
    assert held.living == [1, 1, 1]


def test_memory_stays_flat_over_dozens_of_scans(sick):
    """Voxels, maps and pictures go with their result: what stays of each is its hottest map."""
    detector = load_detector(threads=1)
    findings = detector.score(sick.scan)

    def scored():
        for number in range(48):
            scan = Scan("a", sick.scan.voxels + np.float32(number), sick.scan.affine, "T1c")
            yield Result(scan, findings, detector)
            del scan

    class Drawn:
        def write(self, result):
            result.check = HeatmapCheck(contrast=0.9, drop=5.0)
            assert result.picture.size
            assert result.heat.any()

    after = []
    tracemalloc.start()
    for _ in write_all(scored(), [Drawn()]):
        gc.collect()
        after.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(after[4:]) - after[3] < sick.scan.voxels.nbytes / 4


def test_files_are_scored_as_if_nothing_else_were_in_their_folder(folder):
    (result,) = score_files(load_detector(), [folder / "b-t1c.nii.gz"])
    assert result.findings.decision == "tumor"
    assert next(iter(result.findings.milliseconds)) == "read"


def test_a_study_is_named_without_its_files(folder):
    lines = []
    study = score_study(load_detector(), folder, [JsonLines(lines.append)])
    assert [found.scan for found in study.findings] == ["series 1", "series 2", "series 3"]
    assert study.answer.series
    assert set(study.answer.series) <= {"series 1", "series 2"}
    # The scores of all slices stay, no map does.
    assert [found.as_json()["slices"] for found in study.findings] == [
        json.loads(line)["slices"] for line in lines
    ]
    assert not any(slot.cells.size for found in study.findings for slot in found.slices)


def as_written(detector, path):
    """The public JSON of each result, without times."""
    found = [result.findings.as_json() for result in score_path(detector, path)]
    return [{**findings, "milliseconds": None} for findings in found]


def test_several_threads_give_the_results_of_one_in_the_same_order(folder, sick):
    for number, scan_slice in enumerate(list(sick.scan.slices())[2:6]):
        gray = np.clip(scan_slice.image / sick.scan.voxels.max() * 255, 0, 255)
        Image.fromarray(gray.astype(np.uint8)).save(folder / f"b-{number}.png")
    one, several = (as_written(load_detector(threads=threads), folder) for threads in (1, 3))
    assert one == several
    statuses = [found["status"] for found in one]
    assert statuses == ["scored"] * 6 + ["failed"]
    # Pictures lie between the volumes.
    assert [len(found["slices"]) > 1 for found in one] == [True, *[False] * 4, True, False]


def test_what_could_not_be_read_is_handed_on_before_the_next_is_read(sick):
    """Its files may be in an archive that closes after its last scan."""
    events = []
    picture = Scan("a", sick.scan.voxels[:, :, 4:5])

    def sources():
        yield picture
        yield Unread(UnreadableFile("no picture", place="b"))
        events.append("read on")
        yield picture

    for result in _scored(load_detector(threads=2), sources()):
        events.append(result.findings.status)
    assert events == ["scored", "failed", "read on", "scored"]


@pytest.mark.parametrize("threads", [1, 2])
def test_results_come_before_an_error_of_reading(sick, threads):
    picture = Scan("a", sick.scan.voxels[:, :, 4:5])
    found = []

    def sources():
        yield from (picture, picture, picture)
        raise RuntimeError

    def note_all():
        for result in _scored(load_detector(threads=threads), sources()):
            found.append(result.findings.status)

    with pytest.raises(RuntimeError):
        note_all()
    assert found == ["scored"] * 3
