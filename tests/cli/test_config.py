"""One configuration: what overrides what, which key is wrong, and what is tried."""

import os
import sqlite3
import tomllib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pynetdicom import AE

from meninx._cli import VERBS, Verbs
from meninx._cli.config_file import (
    Section,
    as_the_verb_gets,
    configured_options,
    variable_of,
)
from meninx._cli.sections import SECTION_OF_VERB, VERB_OF_SECTION
from meninx._cli.web_options import web_settings
from meninx._web.store.database import migrate
from tests.clinic.conftest import free_port
from tests.commands import meninx

EXAMPLE = Path(__file__).parents[2] / "deploy" / "meninx.toml"


@pytest.fixture
def written(tmp_path):
    """Return what writes a configuration and gives its path."""

    def write(text):
        path = tmp_path / "meninx.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """No variable of this machine counts; those that a test's command sets are put back."""
    for name in [
        name for name in os.environ if name.startswith("MENINX_") and name != "MENINX_DATA"
    ]:
        monkeypatch.delenv(name)
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def options_of(verb, *arguments):
    """Return the options that a verb gets."""
    parsed = Verbs().get_command(None, verb).make_context(verb, list(map(str, arguments))).params
    parsed.pop("config")
    return as_the_verb_gets(verb, parsed)


def test_an_option_overrides_the_environment_which_overrides_the_file(written, monkeypatch):
    path = written(
        '[receive]\nport = 1\nquiet = 2\ntitle = "FILE"\nto = ["MY PACS@h:1", "http://h/x"]\n'
    )
    monkeypatch.setenv("MENINX_CONFIG", str(path))
    monkeypatch.setenv("MENINX_RECEIVE_QUIET", "3")
    monkeypatch.setenv("MENINX_RECEIVE_PORT", "4")
    found = options_of("receive", "--port", 5)
    assert (found["port"], found["quiet"], found["title"]) == (5, 3.0, "FILE")
    assert found["to"] == ["MY PACS@h:1", "http://h/x"]
    assert found["keep_hours"] == 24.0
    assert options_of("receive", "--to", "A@b:1")["to"] == ["A@b:1"]


def test_verbs_of_one_section_share_it_and_settings_without_an_option_count(written, monkeypatch):
    path = written('[web]\ndata = "here"\nport = 9\nsession_hours = 2.5\ndeidentify = true\n')
    assert options_of("serve", "--config", path)["port"] == 9
    assert options_of("worker", "--config", path)["data"] == Path("here")
    settings = web_settings(Path("here"), "", None)
    assert (settings.session_hours, settings.deidentify) == (2.5, True)
    monkeypatch.setenv("MENINX_WEB_SESSION_HOURS", "7")
    options_of("worker", "--config", path)
    assert web_settings(Path("here"), "", None).session_hours == 7


def test_every_verb_of_the_web_application_reads_its_section():
    own = {
        verb
        for verb in VERBS
        if {"data", "database"}
        <= {option.name for option in Verbs().get_command(None, verb).params}
    }
    assert own == {verb for verb, section in SECTION_OF_VERB.items() if section == "web"}


def test_only_keys_have_variables():
    named = {
        option.envvar
        for verb in ("worker", "reset-password")
        for option in Verbs().get_command(None, verb).params
        if isinstance(option.envvar, str)
    }
    assert named == {
        "MENINX_CONFIG",
        *(f"MENINX_WEB_{key}" for key in ("DATA", "DATABASE", "MODEL", "LOG")),
    }


def test_an_archive_s_source_may_stand_in_the_file(written):
    path = written('[score-archive]\nsource = "s3://bucket"\nout = "table"\nmaps = true\n')
    found = options_of("score-archive", "--config", path)
    assert (found["source"], found["out"], found["maps"]) == ("s3://bucket", Path("table"), True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("qiet = 1", "[receive] qiet: no such key; did you mean quiet?"),
        ("port = 70000", "[receive] port = 70000: "),
        ('port = "eight"', "[receive] port = eight: "),
        ("associations = 2.5", "[receive] associations = 2.5: "),
        ("keep_hours = true", "expected no true or false"),
        ('to = "A@b:1"', "expected a list"),
        ('title = ["A"]', "expected one value"),
        ('to = ["http://me:secret@h/x"]\nx = 1', "[receive] x: no such key"),
    ],
)
def test_a_wrong_key_ends_the_service_before_it_begins(written, line, expected):
    done = meninx("receive", "--config", written(f"[receive]\n{line}\n"))
    assert done.returncode == 2
    assert expected in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[recieve]\n", "recieve: no such section"), ("a = 1", "a: no such section"), ("x", "TOML")],
)
def test_a_file_that_is_no_configuration_is_refused(written, text, expected):
    done = meninx("receive", "--config", written(text))
    assert (done.returncode, expected in done.stderr) == (2, True)


def test_every_wrong_key_is_named_at_once(written, tmp_path):
    path = written(
        f'[web]\nsesion_hours = 1\nworker = "no"\ndata = "{tmp_path}"\noidc_secret = ["hidden"]\n'
        "[receive]\nport = -1\ncaler = []\n"
    )
    done = meninx("config", "check", "--config", path)
    assert done.returncode == 2
    named = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    assert [line.split()[2].rstrip(":") for line in named] == [
        "sesion_hours",
        "worker",
        "oidc_secret",
        "port",
        "caler",
    ]
    assert "hidden" not in done.stdout
    assert "5 wrong keys" in done.stderr


def test_a_variable_of_the_environment_is_checked_as_well(written, monkeypatch):
    monkeypatch.setenv("MENINX_RECEIVE_DISK_GIB", "much")
    ((_, faults, _),) = configured_options(written("[receive]\n"))
    assert [fault.partition(":")[0] for fault in faults] == ["MENINX_RECEIVE_DISK_GIB"]


@contextmanager
def answering_peer():
    entity = AE(ae_title="PACS")
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        yield f"PACS@127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def certificate(path, days):
    """Write a self-signed certificate with its key, which ends in some days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meninx")])
    ends = datetime.now(UTC) + timedelta(days=days, minutes=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=400))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_folders_certificates_peers_and_the_database_are_tried(written, tmp_path):
    (tmp_path / "web").mkdir()
    migrate(f"sqlite:///{tmp_path / 'web' / 'meninx.sqlite'}")
    with answering_peer() as address:
        done = meninx(
            "config",
            "check",
            "--config",
            written(
                f'[web]\ndata = "{tmp_path / "web"}"\nport = {free_port()}\n'
                f'[receive]\ndata = "{tmp_path / "node"}"\nport = {free_port()}\n'
                f'caller = ["MR1"]\nto = ["{address}"]\n'
                f'tls_certificate = "{certificate(tmp_path / "soon.pem", 3)}"\n'
            ),
        )
    # Without TLS on the other side the peer can't be reached by TLS: a fault, not an exception.
    lines = {tuple(line.split()[:3]) for line in done.stdout.splitlines()}
    assert lines >= {
        ("ok", "[web]", "data:"),
        ("ok", "[web]", "database:"),
        ("ok", "[web]", "model:"),
        ("ok", "[receive]", "data:"),
        ("NOTE", "[receive]", "tls_certificate:"),
        ("FAULT", "[receive]", "to:"),
    }
    assert "ends in 3 days" in done.stdout
    assert done.returncode == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_peer_is_asked_by_c_echo_and_a_worklist_for_its_right(written, tmp_path, monkeypatch):
    with answering_peer() as address:
        path = written(
            f'[receive]\ndata = "{tmp_path}"\nto = ["{address}"]\nhost = "0.0.0.0"\n'
            'worklist = "http://127.0.0.1:1"\n'
        )
        monkeypatch.setenv("MENINX_WORKLIST_KEY", "mnx_secret")
        done = meninx("config", "check", "--config", path)
    assert f"ok    [receive] to: {address} answers" in done.stdout
    assert "FAULT [receive] worklist: " in done.stdout
    assert "mnx_secret" not in done.stdout
    assert "NOTE  [receive] caller: any machine" in done.stdout


def test_a_database_of_a_newer_version_is_a_fault_and_not_touched(written, tmp_path):
    database = tmp_path / "meninx.sqlite"
    migrate(f"sqlite:///{database}")
    with sqlite3.connect(database) as opened:
        opened.execute("update alembic_version set version_num = '9999'")
    done = meninx("verify-opinions", "--data", tmp_path)
    assert done.returncode == 2
    assert "revision 9999, which this meninx does not know" in done.stderr


def test_a_certificate_that_ended_is_a_fault(written, tmp_path):
    path = certificate(tmp_path / "old.pem", -1)
    done = meninx(
        "config",
        "check",
        "--config",
        written(f'[receive]\ndata = "{tmp_path}"\ntls_certificate = "{path}"\n'),
    )
    assert "FAULT [receive] tls_certificate: ends in -1 days" in done.stdout


def test_the_example_has_every_key_with_its_default(tmp_path):
    """All keys stand behind `# `, so that the file changes nothing until one is wanted."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert not [line for line in text.splitlines() if line and line[0] not in "#["]
    every = "\n".join(
        line.removeprefix("#:") if line.startswith("#:") else line for line in text.splitlines()
    )
    (tmp_path / "all.toml").write_text(every, encoding="utf-8")
    found = {
        name: (faults, keys) for name, faults, keys in configured_options(tmp_path / "all.toml")
    }
    assert [faults for faults, _ in found.values()] == [[], [], []]
    tables = tomllib.loads(every)
    for name, verb in VERB_OF_SECTION.items():
        section = Section.of(name, Verbs().get_command(None, verb))
        assert set(tables[name]) == section.options.keys() | section.more, name
    assert variable_of("score-archive", "memory_gib") == "MENINX_SCORE_ARCHIVE_MEMORY_GIB"
