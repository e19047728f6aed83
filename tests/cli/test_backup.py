"""Back up and restore: from the first schemas on, while it runs, and never over anything."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from meninx._backups import new_backup
from meninx._clinic.inbox import Inbox
from meninx._clinic.ledger import TABLES, UPGRADES, WAITING
from meninx._web.store import backup as web_backup
from meninx._web.store.database import (
    Study,
    existing_sessions,
    latest_revision,
    migrate,
    revision_of,
)
from meninx._web.store.settings import Settings
from tests.commands import meninx
from tests.web.first_revision import STUDY, write_first_revision


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Data of the first version: a web application, and a node with a result that waits."""
    folder = tmp_path_factory.mktemp("old")
    settings = Settings(data=folder / "web")
    settings.data.mkdir()
    migrate(settings.address, "0001")
    write_first_revision(settings)
    incoming = folder / "node/studies/s/incoming"
    incoming.mkdir(parents=True)
    (incoming / "1-a.dcm").write_bytes(b"an instance")
    (incoming / "2-b.140").write_bytes(b"half of one")
    results = folder / "node/studies/s/results"
    results.mkdir()
    (results / "SR-1.dcm").write_bytes(b"a report")
    with closing(sqlite3.connect(folder / "node/ledger.sqlite")) as ledger:
        ledger.executescript(
            f"pragma journal_mode=wal; {TABLES}"
            "insert into studies values ('s', 'hash', 0, 1.5);"
            "insert into results values ('s', 'SR-1.dcm', 'P@h:1', 'waiting', 0, 0);"
        )
    return folder


@pytest.fixture(scope="module")
def saved(old):
    running = Inbox(old / "node", 10**6)  # a node that runs meanwhile, and has upgraded its ledger
    done = meninx("backup", old / "backup", "--web", old / "web", "--node", old / "node")
    running.close()
    assert done.returncode == 0, done.stderr
    assert "web: 1 file, node: 2 files" in done.stdout
    return old / "backup"


def test_a_backup_is_private_and_states_its_hashes(saved):
    modes = {path.stat().st_mode & 0o077 for path in (saved, *saved.rglob("*"))}
    assert modes == {0}
    listed = (saved / "SHA256SUMS").read_text(encoding="utf-8")
    assert "web/meninx.sqlite" in listed and "node/ledger.sqlite" in listed
    assert not list(saved.rglob("*.140"))


def test_what_the_first_version_wrote_is_restored_and_upgraded(saved, tmp_path):
    path = tmp_path / "meninx.toml"
    web, node = tmp_path / "web", tmp_path / "node"
    path.write_text(f'[web]\ndata = "{web}"\n[receive]\ndata = "{node}"\n', encoding="utf-8")
    done = meninx("restore", saved, "--config", path)
    assert done.returncode == 0, done.stderr
    settings = Settings(data=web)
    assert revision_of(settings.address) == latest_revision()
    with existing_sessions(settings.address) as sessions, sessions() as session:
        study = session.scalars(select(Study)).one()
        assert (study.id, study.title, study.decision) == (STUDY, "kept", "tumor")
    assert (settings.studies / STUDY / "files/1.dcm").read_bytes() == b"voxel"
    assert settings.existing_key() == b"k" * 32
    inbox = Inbox(node, 10**6)
    assert inbox.state().studies == {"waiting": 1, "scored": 1, "failed": 0}
    (delivery,) = inbox.ledger.due_deliveries()
    # It may have been sent since: its peer is asked before it is sent again.
    assert (delivery.tries, delivery.file.read_bytes()) == (1, b"a report")
    inbox.close()
    assert {file.stat().st_mode & 0o077 for file in tmp_path.rglob("*.sqlite")} == {0}


def test_a_ledger_without_upgrades_is_restored_too(old, tmp_path):
    """As a node of the first version left it, and nothing has opened it since."""
    (tmp_path / "node").mkdir()
    with closing(sqlite3.connect(tmp_path / "node/ledger.sqlite")) as ledger:
        ledger.executescript(TABLES)
        ledger.execute(f"insert into results values ('s', 'f', 'p', '{WAITING}', 0, 0)")
        ledger.commit()
    assert meninx("backup", tmp_path / "b", "--node", tmp_path / "node").returncode == 0
    assert meninx("restore", tmp_path / "b", "--node", tmp_path / "again").returncode == 0
    with closing(sqlite3.connect(tmp_path / "again/ledger.sqlite")) as ledger:
        assert ledger.execute("pragma user_version").fetchone() == (len(UPGRADES),)
        assert ledger.execute("select tries from results").fetchall() == [(1,)]


def test_a_changed_byte_is_found_and_nothing_is_restored(saved, tmp_path):
    copy = tmp_path / "copy"
    for path in saved.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(saved)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (copy / f"web/studies/{STUDY}/files/1.dcm").write_bytes(b"voxeL")
    done = meninx("restore", copy, "--web", tmp_path / "web")
    assert done.returncode == 2
    assert f"1 file missing, added or changed, such as web/studies/{STUDY}" in done.stderr
    assert not (tmp_path / "web").exists()


def test_studies_that_were_deleted_meanwhile_are_named(old, tmp_path):
    settings = Settings(data=tmp_path / "web")
    settings.data.mkdir()
    migrate(settings.address)
    write_first_revision(settings)
    for path in sorted(settings.studies.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert meninx("backup", tmp_path / "b", "--web", settings.data).returncode == 0
    done = meninx("restore", tmp_path / "b", "--web", tmp_path / "again")
    assert done.returncode == 0
    assert f"1 study deleted while the backup was made, without files: {STUDY}" in (done.stderr)


def refusals(saved: Path, there: Path) -> list[tuple[list[object], str]]:
    """Return commands that are refused, and what each says."""
    (there / "full").mkdir()
    (there / "full/file").write_bytes(b"")
    return [
        (["backup", there / "b"], "nothing is named"),
        (["backup", there / "full", "--node", there], "something already"),
        (["backup", there / "b", "--node", there], "no node's data"),
        (["backup", there / "b", "--web", there], "no key"),
        (["restore", there, "--node", there / "n"], "no backup"),
        (["restore", saved, "--node", there / "full"], "not empty"),
        (["restore", saved, "--web", there / "full"], "not empty"),
        (
            ["restore", saved, "--web", there / "w", "--database", "postgresql://x"],
            "SQLite",
        ),
    ]


def test_nothing_is_overwritten_and_nothing_is_guessed(saved, tmp_path):
    for command, expected in refusals(saved, tmp_path):
        done = meninx(*command)
        assert (done.returncode, expected in done.stderr) == (2, True), (command, done.stderr)
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "full/file").exists()


def test_a_password_goes_to_postgresql_in_the_environment_alone(monkeypatch):
    seen = {}

    def run(command, env, **more):
        seen.update(command=command, password=env["PGPASSWORD"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(web_backup.subprocess, "run", run)
    monkeypatch.setattr(web_backup.shutil, "which", lambda program: program)
    web_backup._run(make_url("postgresql+psycopg://ada:secret@db:5432/meninx"), "pg_dump")
    assert seen["password"] == "secret"
    assert seen["command"] == ["pg_dump", "--dbname=postgresql://ada@db:5432/meninx"]


def test_a_backup_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="full"), new_backup(tmp_path / "monday") as (part, _):
        (part / "study").write_text("a patient's")
        raise OSError("the disk is full")
    assert list(tmp_path.iterdir()) == []
