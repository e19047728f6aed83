"""What a node says of itself: metrics, readiness, its log, and one line for a full disk."""

import io
import json
import logging
import sqlite3
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pydicom.uid import MRImageStorage

from meninx import _logs
from meninx._clinic import inbox as inboxes
from meninx._clinic import node as nodes
from meninx._clinic.inbox import Inbox
from meninx._clinic.ledger import TABLES, UPGRADES
from meninx._clinic.node import Node
from meninx._clinic.node_settings import NodeSettings
from meninx._clinic.node_status import StatusServer
from meninx._errors import OptionError, PeerError
from meninx._logs import JsonLines, log_of_service
from meninx._synthesis.writing import dicom_slice
from meninx._system_errors import FULL
from tests.clinic.conftest import event_of, wait_for


class SilentPeer:
    """A peer that accepts nothing."""

    address = "AWAY@127.0.0.1:1"

    def send(self, paths):
        raise PeerError("away")


class OneResult:
    """A scorer that writes one file, or can't read anything."""

    def __init__(self, *_):
        pass

    def call(self, function, incoming, results, model):
        results.mkdir(exist_ok=True)
        (results / "SR-1.dcm").write_bytes(b"a result")
        return [{}] if len(list(incoming.iterdir())) > 1 else []

    def close(self):
        """Nothing to end."""


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "Worker", OneResult)
    node = Node(NodeSettings(tmp_path / "node", port=0, quiet_seconds=0, peers=(SilentPeer(),)))
    yield node
    node.stop()


@pytest.fixture
def status(node):
    server = StatusServer(node, "127.0.0.1:0")

    def ask(path):
        address = f"http://127.0.0.1:{server.port}{path}"
        try:
            with urllib.request.urlopen(address, timeout=10) as response:
                return response.status, response.read().decode(), response.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), error.headers

    yield ask
    server.close()


def store(node, dataset):
    """Let a node store a dataset, as over the network."""
    whole = io.BytesIO()
    dataset.save_as(whole, enforce_file_format=True)
    request = SimpleNamespace(
        AffectedSOPInstanceUID=dataset.SOPInstanceUID, AffectedSOPClassUID=MRImageStorage
    )
    event = event_of(request, whole.getvalue)
    status = node.provider._on_store(event)
    node.provider._on_released(event)
    return status


def samples(text):
    """Return the samples of a text in OpenMetrics' format, read by Prometheus' own parser."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_metrics_follow_studies_from_the_scanner_to_the_pacs(node, status, sick):
    study = [dicom_slice(sick.scan, index, 7) for index in range(3)]
    other = dicom_slice(sick.scan, 0, 7)
    other.StudyInstanceUID, other.SOPInstanceUID = "1.2.3", "1.2.4"
    other.file_meta.MediaStorageSOPInstanceUID = "1.2.4"
    assert [store(node, dataset) for dataset in [*study, other]] == [0] * 4
    other.StudyInstanceUID = "a name"
    assert store(node, other) == 0xA900
    code, text, headers = status("/metrics")
    assert code == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    before = samples(text)
    assert before["meninx_node_studies", "waiting"] == node.health()["waiting"] == 2
    assert node.health()["refused"] == 1
    assert before["meninx_node_last_study_seconds",] == 0
    node.start()
    wait_for(lambda: node.failed_deliveries)
    wait_for(lambda: node.inbox.state().studies["waiting"] == 0)
    after = samples(status("/metrics")[1])
    assert after["meninx_node_responses_total", "0x0000"] == 4
    assert after["meninx_node_responses_total", "0xa900"] == 1
    assert after["meninx_node_studies", "scored"] == after["meninx_node_studies", "failed"] == 1
    assert after["meninx_node_deliveries", "waiting"] == 1
    assert after["meninx_node_failed_deliveries_total",] >= 1
    assert after["meninx_node_instances",] == 4
    assert 0 < after["meninx_node_inbox_bytes", "used"] < after["meninx_node_inbox_bytes", "limit"]
    assert after["meninx_disk_free_bytes",] > 0
    assert after["meninx_node_last_study_seconds",] >= after["meninx_node_last_instance_seconds",]
    patient = str(study[0].PatientName)
    assert patient not in text and str(study[0].StudyInstanceUID) not in text


def test_it_is_ready_while_it_runs_and_has_space(node, status, sick, monkeypatch, caplog):
    assert status("/health")[0] == 200
    assert status("/nothing")[0] == 404
    assert (status("/ready")[0], "does not run" in status("/ready")[1]) == (503, True)
    node.start()
    assert status("/ready")[:2] == (200, '{"status": "ready"}')
    full = SimpleNamespace(free=inboxes.RESERVED_BYTES - 1)
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO, "meninx"):
        patch.setattr(inboxes.shutil, "disk_usage", lambda _: full)
        assert status("/ready")[:2] == (503, json.dumps({"status": FULL}))
        refused = [store(node, dicom_slice(sick.scan, index, 7)) for index in range(5)]
        assert refused == [0xA700] * 5
    with caplog.at_level(logging.INFO, "meninx"):
        assert store(node, dicom_slice(sick.scan, 0, 7)) == 0
    lines = [record.getMessage() for record in caplog.records if "instances are" in record.msg]
    assert lines == [f"instances are refused (0xa700): {FULL}", "instances are stored again"]
    assert status("/ready")[0] == 200


@pytest.mark.parametrize("address", ["9112", "127.0.0.1:", "127.0.0.1:70000", "no.such.host.:1"])
def test_an_address_that_is_none_is_refused(node, address):
    with pytest.raises(OptionError, match="--status"):
        StatusServer(node, address)


def test_a_ledger_of_the_first_version_is_upgraded_and_a_newer_one_refused(tmp_path):
    with sqlite3.connect(tmp_path / "ledger.sqlite") as ledger:
        ledger.executescript(TABLES)
        ledger.execute("insert into studies values ('a', 'hash', 0, 1.5)")
        ledger.execute("insert into results values ('a', 'SR-1.dcm', 'P@h:1', 'sent', 1, 0)")
    inbox = Inbox(tmp_path, 1000)
    state = inbox.state()
    assert state.studies == {"waiting": 0, "scored": 1, "failed": 0}
    assert (state.deliveries["sent"], state.last_scored) == (1, 1.5)
    inbox.close()
    Inbox(tmp_path, 1000).close()  # once more changes nothing
    with sqlite3.connect(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.execute("pragma user_version").fetchone() == (len(UPGRADES),)
        ledger.execute("pragma user_version = 99")
    with pytest.raises(OptionError, match="version 99"):
        Inbox(tmp_path, 1000)


@pytest.fixture
def _no_log_of_a_service(monkeypatch):
    """Put back what a service's log changes in this process."""
    root = logging.getLogger()
    handlers, level, factory = root.handlers[:], root.level, logging.getLogRecordFactory()
    for module, name in ((_logs.sys, "excepthook"), (threading, "excepthook"), (_logs, "_STYLE")):
        monkeypatch.setattr(module, name, getattr(module, name))
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.setLogRecordFactory(factory)


@pytest.mark.usefixtures("_no_log_of_a_service")
def test_a_log_in_json_is_an_object_a_line_and_quotes_no_exception(capsys):
    log_of_service("json")
    log = logging.getLogger("meninx.test")
    log.info("two\nlines of %s", "ä")
    name = "".join(("Doe", "^Jane"))
    try:
        raise ValueError(name)
    except ValueError:
        log.exception("it failed")
    thread = threading.Thread(target=int, args=(name,))
    thread.start()
    thread.join()
    said = capsys.readouterr().err
    first, second, third = map(json.loads, said.splitlines())
    assert (first["message"], first["level"]) == ("two\nlines of ä", "info")
    assert first.keys() == {"time", "level", "logger", "message"}
    assert "ValueError" in second["traceback"]
    assert (third["level"], "ValueError" in third["traceback"]) == ("critical", True)
    assert "Doe" not in said
    assert isinstance(logging.getLogger().handlers[0].formatter, JsonLines)
