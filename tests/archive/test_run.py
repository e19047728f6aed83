"""Whole runs: uninterrupted, killed and resumed; on a cluster whose node is lost."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pandas as pd
import pytest
from ray.cluster_utils import Cluster

from meninx._archive import run as run_module
from meninx._archive.options import Options
from meninx._archive.table import Table
from meninx._detect.loading import load_detector
from tests.archive import sorters
from tests.archive.conftest import ROWS, SERIES, write_series

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TIMES = ["milliseconds", "detector"]
SMALL = {"object_store_memory": 100 * 2**20}
# Ray gives its workers a niceness of 15: beside other tests they would get no core.
HEAD = {"include_dashboard": False, "_system_config": {"worker_niceness": 0}, **SMALL}


def command(source, out, *options):
    return [
        sys.executable,
        "-m",
        "meninx",
        "score-archive",
        str(source),
        "--out",
        str(out),
        "--workers",
        "2",
        *options,
    ]


def run(source, out, *options):
    return subprocess.run(
        command(source, out, *options), capture_output=True, text=True, check=False, timeout=300
    )


def table(out):
    frame = pd.read_parquet(out).drop(columns=TIMES).sort_values("content_hash")
    return [{name: repr(value) for name, value in row.items()} for row in frame.to_dict("records")]


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    result = run(archive, out, "--maps")
    assert result.returncode == 1, result.stderr  # some are refused
    return out, result.stderr


def test_every_series_is_in_the_table_once(whole):
    out, stderr = whole
    found = pd.read_parquet(out)
    assert len(found) == ROWS
    assert found.content_hash.is_unique
    # The copy's name comes first, so it names the row of both.
    assert sorted(found[found.status == "scored"].scan) == sorted(
        ["a/copy", *(f"b/series-{n}" for n in range(1, SERIES)), "c/volume.nii.gz"]
    )
    assert f"{ROWS} scans in the table: {SERIES + 1} scored, 1 refused, 2 failed" in stderr
    assert {model["sha256"][:16] for model in found.model} == set(found.detector)
    maps = found[found.heatmap.notna()].heatmap
    assert all(png.startswith(b"\x89PNG") for png in maps)


def test_the_pages_summarize_the_run(whole):
    aside = whole[0] / "_meninx"
    summary = json.loads((aside / "summary.json").read_text())
    assert summary["rows"] == ROWS
    assert summary["copies"] == 1
    assert summary["reasons"]["failed: unreadable"] == 2
    assert "not for diagnosis" in (aside / "summary.html").read_text()
    assert "2025-03" in (aside / "drift.html").read_text()


def test_a_second_run_has_nothing_to_do(whole, archive):
    before = table(whole[0])
    result = run(archive, whole[0], "--maps")
    assert "this run: 0 new" in result.stderr
    assert table(whole[0]) == before


def test_replaced_and_removed_series_are_said_and_not_counted(heads, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(3):
        write_series(heads[number], source / f"head-{number}", number)
    assert run(source, out).returncode == 0
    shutil.rmtree(source / "head-0")
    write_series(heads[3], source / "head-0", 3)
    shutil.rmtree(source / "head-1")
    (source / "head-2/notes.txt").write_text("the folder changed, its series did not")
    result = run(source, out)
    assert result.returncode == 0, result.stderr
    assert "2 scans in the table: 2 scored" in result.stderr
    assert "gone: 2 scans no longer in the archive, or with other content now" in result.stderr
    assert "not counted: head-0, head-1" in result.stderr
    found = pd.read_parquet(out).sort_values(["scan", "gone"])
    assert list(zip(found.scan, found.gone, strict=True)) == [
        ("head-0", False),
        ("head-0", True),
        ("head-1", True),
        ("head-2", False),
    ]
    aside = out / "_meninx"
    summary = json.loads((aside / "summary.json").read_text())
    assert (summary["rows"], summary["decisions"].keys()) == (2, {*found.decision[~found.gone]})
    assert summary["gone"] == {"rows": 2, "scans": ["head-0", "head-1"], "looked_for": True}
    assert "2 scans no longer in the archive" in (aside / "summary.html").read_text()
    write_series(heads[1], source / "head-1", 1)
    (source / "lost.dcm").symlink_to(tmp_path / "nowhere")
    result = run(source, out)
    assert "gone: not looked for in this run" in result.stderr
    (source / "lost.dcm").unlink()
    assert "gone: 1 scan no longer" in run(source, out).stderr


def test_rows_that_a_list_no_longer_names_are_not_gone(heads, tmp_path):
    source, out = tmp_path / "list.csv", tmp_path / "out"
    for number in range(2):
        write_series(heads[number], tmp_path / f"head-{number}", number)
        source.write_text(f"path\nhead-{number}\n")
        result = run(source, out)
        assert result.returncode == 0, result.stderr
        assert "gone: not looked for: what a list does not name may still be there" in result.stderr
    assert "2 scans in the table: 2 scored" in result.stderr
    assert not pd.read_parquet(out).gone.any()
    summary = json.loads((out / "_meninx/summary.json").read_text())
    assert summary["gone"] == {"rows": 0, "scans": [], "looked_for": False}


def rows_entered(out):
    """Return how many rows the ledger knows; 0 where there is none yet."""
    ledger = out / "_meninx" / "ledger.sqlite"
    if not ledger.is_file():
        return 0
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db,
    ):
        return db.execute("select count(*) from findings").fetchone()[0]
    return 0


def wait_for_rows(out, count, driver):
    """Wait until work is under way: so many rows are entered, and the run has not ended."""
    until = time.monotonic() + 240
    while rows_entered(out) < count and time.monotonic() < until:
        assert driver.poll() is None, "the run ended before it was broken off"
        time.sleep(0.05)
    assert rows_entered(out) >= count


def test_killed_anywhere_and_run_again_it_gives_the_same_table(whole, archive, tmp_path):
    out = tmp_path / "out"
    for count in (1, 3, ROWS - 1):
        with subprocess.Popen(command(archive, out, "--maps"), stderr=subprocess.DEVNULL) as driver:
            wait_for_rows(out, count, driver)
            driver.send_signal(signal.SIGKILL)
    assert count <= rows_entered(out)
    assert run(archive, out, "--maps").returncode == 1
    assert table(out) == table(whole[0])


def test_a_killed_worker_process_loses_nothing(whole, archive, tmp_path):
    out = tmp_path / "out"
    with subprocess.Popen(command(archive, out, "--maps"), stderr=subprocess.DEVNULL) as driver:
        wait_for_rows(out, 1, driver)
        for pid in descendants(driver.pid, "spawn_main")[-2:]:
            os.kill(pid, signal.SIGKILL)
    assert driver.returncode == 1
    assert table(out) == table(whole[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_keeps_finished_work_and_leaves_nothing_behind(archive, tmp_path, number):
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        command(archive, out),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    ) as driver:
        wait_for_rows(out, 1, driver)
        workers = descendants(driver.pid, "spawn_main")
        driver.send_signal(number)
        _, stderr = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "run the same command again to go on" in stderr
    assert workers
    assert not [pid for pid in workers if "spawn_main" in command_line(pid)]
    assert list(temporary.glob("meninx-*")) == []
    assert len(pd.read_parquet(out)) >= 1


def test_a_truncated_list_ends_the_run_with_one_line(archive, tmp_path):
    """Its beginning is checked at once; a later fault ends the walk while workers score."""
    rows = b"path\nc/cut.png\n" + b"c/gone.png\n" * 2000
    rows = rows.replace(b"c/", bytes(archive) + b"/c/").decode()
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe" + rows.encode("utf-16-le") + b"\0\xd8a\0\n\0")
    result = run(tmp_path / "list.csv", tmp_path / "out")
    assert result.returncode == 2
    assert "not a readable list (UnicodeDecodeError)" in result.stderr
    assert "Traceback" not in result.stderr


def command_line(pid):
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "cmdline").read_text()
    return ""


def descendants(driver, word):
    """Return the processes below a driver whose command line has a word, the oldest first."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
    own = {driver}
    for _ in range(5):
        own |= {pid for pid, parent in parents.items() if parent in own}
    return sorted(pid for pid in own if word in command_line(pid))


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of one machine with two CPUs; Ray's workers end with it."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **HEAD})
    yield cluster
    cluster.shutdown()


def test_several_grouping_processes_of_a_cluster_share_the_folders(
    whole, archive, cluster, tmp_path, monkeypatch
):
    monkeypatch.setattr(run_module, "_score_units", sorters.score_units)
    named = load_detector(threads=1).model
    options = Options(str(archive), named, workers=2, maps=True, address=cluster.address)
    result_table = Table(tmp_path / "out", named["sha256"])
    progress = run_module.score_archive(options, result_table, lambda _: None, threading.Event())
    result_table.finish()
    result_table.close()
    assert progress.rows == ROWS
    assert table(tmp_path / "out") == table(whole[0])


def test_a_series_in_several_folders_is_joined_on_a_cluster(archive, cluster, tmp_path):
    for file in (archive / "b/series-0").iterdir():
        folder = tmp_path / "in" / file.stem
        folder.mkdir(parents=True)
        (folder / file.name).write_bytes(file.read_bytes())
    result = run(tmp_path / "in", tmp_path / "out", "--address", cluster.address)
    assert result.returncode == 0, result.stderr
    assert list(pd.read_parquet(tmp_path / "out").scan) == ["0/0.dcm + 1/1.dcm + 2/2.dcm"]


def test_a_killed_worker_of_a_cluster_loses_nothing(whole, archive, cluster, tmp_path):
    out = tmp_path / "out"
    arguments = command(archive, out, "--maps", "--address", cluster.address)
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as driver:
        killed = 0
        while driver.poll() is None and killed < 2:
            for pid in descendants(os.getpid(), "MapWorker")[:1]:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            time.sleep(0.5)
        _, stderr = driver.communicate(timeout=240)
    assert killed == 2, stderr
    assert table(out) == table(whole[0])


def test_a_lost_node_loses_nothing(whole, archive, cluster, tmp_path):
    second = cluster.add_node(num_cpus=1, **SMALL)
    out = tmp_path / "out"
    arguments = command(archive, out, "--maps", "--address", cluster.address)
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as driver:
        wait_for_rows(out, 2, driver)
        cluster.remove_node(second, allow_graceful=False)
        _, stderr = driver.communicate(timeout=240)
    assert driver.returncode == 1, stderr
    assert table(out) == table(whole[0])


def test_a_cluster_of_one_cpu_is_reported(archive, tmp_path):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **HEAD})
    try:
        result = run(archive, tmp_path / "out", "--address", cluster.address)
    finally:
        cluster.shutdown()
    assert result.returncode == 2
    assert "1 CPU in the whole cluster" in result.stderr


def test_a_missing_cluster_is_reported(archive, tmp_path):
    result = run(archive, tmp_path / "out", "--address", "127.0.0.1:1")
    assert result.returncode == 2
    assert "no Ray cluster responds there" in result.stderr
    assert "Traceback" not in result.stderr
