"""Nothing leaves the machine and nothing stays on it, whatever verb or service runs."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from meninx._cli import VERBS
from meninx._data.manifest import read_manifest, write_manifest
from meninx._detect.loading import shipped_detector
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.clinic.conftest import free_port, listening, wait_for
from tests.conftest import coarse_grid
from tests.watched import Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RECIPE = """
name = "short"
[preprocessing]
size = 64
[network]
architecture = "pooled"
[training]
epochs = 1
pictures_per_epoch = 8
batch_size = 4
precision = "32-true"
test_fold = 1
validation_fold = 2
[sampling]
unmasked = 0.5
tumor_free = 0.5
calibration_phantoms = 0
"""
# Importing PyTorch takes seconds: verbs that end by themselves share a process. So does a training,
# which is watched once: cross-validation takes its detector for each fold.
DRIVER = """
import json, os, shutil, sys
from pathlib import Path
from tests.commands import meninx

def trained_before(manifest, recipe, output, **_):
    shutil.copytree(output.parent / "fold-1", output)

for command in json.loads(Path(sys.argv[1]).read_text()):
    if command[0] == "crossvalidate":
        from meninx._learn.fit import crossvalidation
        crossvalidation.train = trained_before
    outcome = meninx(*command)
    left = [str(path) for top in (os.environ["HOME"], ".") for path in Path(top).rglob("*")]
    print(json.dumps([command[0], outcome.returncode, left, outcome.stderr[-500:]]), flush=True)
    print(command[0], sum(os.times()[:4]), file=sys.stderr)
"""
# Verbs that end by themselves: they write below {out}, and nowhere else.
COMMANDS = """
demo --output {out}/demo
phantom {out}/phantoms --count 1 --format nifti
predict {picture} --output {out}/findings
predict {series} --studies --dicom-out {out}/results
explain {picture} --output {out}/explained
audit {manifest} --output {out}/audit.html
prepare {manifest} --output {out}/prepared.csv
deidentify {series} --keep-faces --output {out}/released --key {out}/secret.key
fetch-study 1.2.826.0.1.3680043.8.498.1 --from {peer} --output {out}/fetched
score-archive {series} --workers 1 --out {out}/table
evaluate meninx {manifest} --pdf --output {out}/evaluation
train {manifest} --recipe {recipe} --output {out}/folds/fold-1
crossvalidate {manifest} --recipe {recipe} --output {out}/folds
export {detector} --data {manifest} --pictures 20 --tolerance 1 --output {out}/int8.onnx
bench --runs 3 --pictures 1 --slices 2 --output {out}/bench
config check --config {config}
"""
# These while services run, which are the verbs left.
BESIDE_SERVICES = """
send {series} --to MENINX@127.0.0.1:{port}
verify-opinions --data {out}/web
export-opinions {out}/opinions --data {out}/web
reset-password --data {out}/web
backup {out}/backup --web {out}/web --node {out}/node
restore {out}/backup --web {out}/web-again --node {out}/node-again
"""
SERVICES = {"serve", "worker", "receive"}


@pytest.fixture
def place(tmp_path_factory):
    return Place.made(tmp_path_factory.mktemp("watched"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    list(write_studies(make_studies(21, 900, coarse_grid), folder, "png"))
    # Three folds are the fewest to cross-validate with.
    rows = read_manifest(folder).pictures
    write_manifest(
        [replace(row, fold=1 + number % 3) for number, row in enumerate(rows)],
        folder / "manifest.csv",
    )
    return folder


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    list(write_studies(make_studies(1, 40, coarse_grid), folder, "dicom"))
    return folder / "studies"


def states(data):
    """Return the states of the studies in a web application's data folder."""
    address = f"file:{data / 'meninx.sqlite'}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            return [state for (state,) in database.execute("select state from studies")]
    except sqlite3.OperationalError:  # not made yet
        return []


@contextmanager
def peer() -> Iterator[tuple[str, list[str]]]:
    """A DICOMweb service that has nothing; yields its address and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def commands_of(text: str, **values: object) -> list[list[str]]:
    return [line.split() for line in text.format(**values).strip().splitlines()]


def check_done(place: Place, commands: list[list[str]]) -> None:
    done = [json.loads(line) for line in place.said().splitlines() if line.startswith('["')]
    assert [verb for verb, *_ in done] == [command[0] for command in commands], place.said()
    for verb, status, left, said in done:
        assert status == (verb == "fetch-study"), (verb, said)
        assert left == [], verb


def test_every_verb_is_watched():
    verbs = {line.split()[0] for line in (COMMANDS + BESIDE_SERVICES).split("\n") if line}
    assert verbs | SERVICES == set(VERBS)


def test_a_verb_asks_for_nothing_and_leaves_only_its_output(place, pictures, series, tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "meninx.toml").write_text(
        f'[web]\ndata = "{tmp_path}/web"\nport = {free_port()}\n'
        f'[receive]\ndata = "{tmp_path}/node"\nport = {free_port()}\n'
        f'[score-archive]\nsource = "{series}"\n'
    )
    with peer() as (address, asked_of_peer):
        commands = commands_of(
            COMMANDS,
            out=tmp_path,
            manifest=pictures / "manifest.csv",
            series=series,
            picture=pictures / "studies" / "phantom-0900.png",
            peer=address,
            recipe=tmp_path / "recipe.toml",
            config=tmp_path / "meninx.toml",
            detector=shipped_detector("fp32"),
        )
        (tmp_path / "commands.json").write_text(json.dumps(commands))
        with place.running("-c", DRIVER, tmp_path / "commands.json") as process:
            process.wait(500)
    assert asked_of_peer
    check_done(place, commands)
    assert place.asked() == []
    assert place.left() == []


def test_a_service_asks_for_nothing_and_leaves_only_its_data(place, series, tmp_path):
    web, node = free_port(), free_port()
    commands = commands_of(BESIDE_SERVICES, series=series, port=node, out=tmp_path)
    (tmp_path / "commands.json").write_text(json.dumps(commands))
    serve = ("-m", "meninx", "serve", "--port", web, "--data", tmp_path / "web", "--phantoms", 1)
    receive = ("-m", "meninx", "receive", "--port", node, "--data", tmp_path / "node", "--quiet", 1)
    with place.running(*serve), place.running(*receive):
        wait_for(lambda: listening(node))
        wait_for(lambda: states(tmp_path / "web") == ["done"])
        with place.running("-c", DRIVER, tmp_path / "commands.json") as process:
            process.wait(100)
        wait_for(lambda: "instances scored" in place.said())
    check_done(place, commands)
    assert place.asked() == []
    assert place.left() == []
