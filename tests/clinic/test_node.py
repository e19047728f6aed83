"""The DICOM node over this machine's network: what it stores, rejects, scores and sends."""

import gc
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.presentation import build_context

from meninx._cli.options import tls_context
from meninx._clinic import ledger as ledgers
from meninx._clinic import node as nodes
from meninx._clinic.dimse_peer import COMMITMENT, COMMITMENT_INSTANCE, FIND
from meninx._clinic.inbox import Inbox
from meninx._clinic.instance_key import place_of
from meninx._clinic.ledger import SENT
from meninx._clinic.node import Node
from meninx._clinic.node_settings import NodeSettings
from meninx._clinic.peers import peer_of
from meninx._clinic.study_scoring import score_and_write
from meninx._errors import LimitExceeded, OptionError, PeerError
from meninx._scan.completeness import Incomplete
from meninx._scan.reading import read_scans
from meninx._synthesis.writing import dicom_slice
from tests.clinic.conftest import event_of, free_port, receiving, wait_for
from tests.hostile.corpus import all_cases
from tests.scan.dicom_making import save

# pynetdicom leaves the socket of an association that failed to be collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected():
    yield
    gc.collect()


@pytest.fixture
def node(tmp_path):
    """A node that only receives: its quiet time never passes in a test."""
    node = Node(NodeSettings(tmp_path / "node", port=0, quiet_seconds=3600, callers=("US",)))
    node.port = node.start()
    yield node
    node.stop()


def associated(port, kind=MRImageStorage, called="MENINX", calling="US"):
    entity = AE(ae_title=calling)
    contexts = [build_context(kind, ExplicitVRLittleEndian), build_context(COMMITMENT)]
    return entity.associate("127.0.0.1", port, contexts=contexts, ae_title=called)


def stored(association, dataset):
    return association.send_c_store(dataset).Status


def test_unknown_titles_and_sop_classes_are_rejected(node, sick):
    # Rejected, or aborted if our side is slow to read that.
    assert not associated(node.port, called="OTHER").is_established
    assert not associated(node.port, calling="STRANGER").is_established
    association = associated(node.port, kind=CTImageStorage)
    dataset = dicom_slice(sick.scan, 0, 7)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    with pytest.raises(ValueError, match="No presentation context"):
        association.send_c_store(dataset)
    association.release()
    assert node.inbox.instances == 0


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_names_come_from_hashes_and_uids_are_checked(node, sick):
    association = associated(node.port)
    dataset = dicom_slice(sick.scan, 0, 7)
    assert stored(association, dataset) == 0
    for name, value in (
        ("StudyInstanceUID", "../../etc"),
        ("StudyInstanceUID", ""),
        ("SeriesInstanceUID", "1.2/3"),
    ):
        other = dicom_slice(sick.scan, 1, 7)
        setattr(other, name, value)
        assert stored(association, other) in (0xA900, 0xC000)
    without = dicom_slice(sick.scan, 2, 7)
    del without.StudyInstanceUID
    assert stored(association, without) == 0xC000
    association.release()
    assert node.inbox.instances == 1
    (path,) = node.settings.folder.glob("studies/*/incoming/*")
    assert path.stem.replace("-", "").isalnum() and str(dataset.SOPInstanceUID) not in path.name
    assert pydicom.dcmread(path).PixelData == dataset.PixelData


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_hostile_bytes_over_the_network_leave_the_node_alive(node, sick):
    """Associations that break off, lie about lengths, or send datasets that are none."""
    for junk in (b"", b"\x01", b"\x01\x00\xff\xff\xff\xff" + b"A" * 400, os.urandom(4000)):
        with socket.create_connection(("127.0.0.1", node.port)) as raw:
            raw.sendall(junk)
    association = associated(node.port)
    deep = dicom_slice(sick.scan, 3, 7)
    inner = deep
    for _ in range(50):
        inner.ReferencedImageSequence = [Dataset()]
        inner = inner.ReferencedImageSequence[0]
    assert stored(association, deep) == 0
    assert stored(association, dicom_slice(sick.scan, 4, 7)) == 0
    association.abort()
    again = associated(node.port)
    assert again.is_established
    again.release()


def test_an_instance_that_is_not_what_the_command_says_is_refused(node, sick):
    """No honest sender does so, so the event is made by hand."""
    whole = io.BytesIO()
    dataset = dicom_slice(sick.scan, 0, 7)
    dataset.save_as(whole, enforce_file_format=True)

    def status(instance, kind):
        request = SimpleNamespace(AffectedSOPInstanceUID=instance, AffectedSOPClassUID=kind)
        event = event_of(request, whole.getvalue)
        return node.provider._on_store(event)

    assert status("1.2.3", MRImageStorage) == 0xA900
    assert status(dataset.SOPInstanceUID, CTImageStorage) == 0xA900
    assert node.inbox.instances == 0
    assert status(dataset.SOPInstanceUID, MRImageStorage) == 0


@pytest.mark.slow
def test_the_hostile_corpus_over_the_network_gets_typed_answers(tmp_path, monkeypatch, sick):
    """Each file's bytes as they are, as far as a command can be made for them."""
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    node = Node(NodeSettings(tmp_path / "node", port=0, quiet_seconds=0.2, study_seconds=60))
    port = node.start()
    statuses = []
    for number, (name, case) in enumerate(all_cases().items()):
        if not name.startswith("dcm "):
            continue
        folder = tmp_path / f"case-{number}"
        folder.mkdir()
        made = case.make(folder)
        for path in sorted(made.rglob("*")) if made.is_dir() else [made]:
            try:
                meta = pydicom.dcmread(path, specific_tags=[]).file_meta
                context = build_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
                association = AE(ae_title="US").associate(
                    "127.0.0.1", port, contexts=[context], ae_title="MENINX"
                )
                statuses.append(association.send_c_store(path).get("Status"))
                association.release()
            except Exception:  # noqa: BLE001 - what no sender can make a command for
                continue
    assert len(statuses) > 30
    assert set(statuses) <= {0x0000, 0xA700, 0xA900, 0xC000, None}
    assert statuses.count(0) > 10
    wait_for(lambda: not node.inbox.unscored(0), 200)
    written = (tmp_path / "node").glob("studies/*/results/findings.json")
    findings = [
        finding for path in written for finding in json.loads(path.read_text(encoding="utf-8"))
    ]
    assert findings
    assert all(finding["status"] in ("scored", "refused", "failed") for finding in findings)
    assert all(finding["reason"] for finding in findings if finding["status"] != "scored")
    # The node is alive, and stores a valid instance.
    association = associated(port)
    assert stored(association, dicom_slice(sick.scan, 0, 99)) == 0
    association.release()
    node.stop()


def study_of(node):
    """Return the name of the only study of a node."""
    (name,) = node.inbox.unscored(0)
    return name


@pytest.mark.parametrize("ending", ["abort", "cut"])
def test_an_association_that_breaks_off_leaves_its_study_incomplete(node, sick, ending, caplog):
    association = associated(node.port)
    for index in range(3):
        assert stored(association, dicom_slice(sick.scan, index, 7)) == 0
    name = study_of(node)
    assert node._is_being_sent(name)  # it may send more, so nothing is scored yet
    # As after a kill of the node, whose next run knows only what is on disk.
    inbox = Inbox(node.settings.folder, 10**9)
    assert inbox.note_unfinished(name) == 1
    inbox.close()
    if ending == "abort":
        association.abort()
    else:
        association.dul.socket.close()
    wait_for(lambda: not node._is_being_sent(name))
    assert node.inbox.note_unfinished(name) == 1
    incoming, *_ = node.inbox.folders(name)
    (scan,) = read_scans(incoming)
    assert scan.incomplete == (Incomplete("complete transfers of a series", 1, 0),)
    assert "an association broke off" in caplog.text
    before = node.inbox.folders(name)[2]
    # The same instances again, and a release: nothing is missing.
    again = associated(node.port)
    for index in range(3):
        assert stored(again, dicom_slice(sick.scan, index, 7)) == 0
    again.release()
    wait_for(lambda: node.inbox.note_unfinished(name) == 0)
    assert node.inbox.folders(name)[2] != before  # it is scored again
    (scan,) = read_scans(incoming)
    assert scan.incomplete == ()


def test_another_series_does_not_complete_one_that_broke_off(node, sick):
    association = associated(node.port)
    assert stored(association, dicom_slice(sick.scan, 0, 7)) == 0
    association.abort()
    name = study_of(node)
    wait_for(lambda: not node._is_being_sent(name))
    other = associated(node.port)
    for index in range(2):
        dataset = dicom_slice(sick.scan, index, 7)
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1.2.5", f"1.2.5.{index}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        assert stored(other, dataset) == 0
    other.release()
    wait_for(lambda: not node.provider._sent)
    assert node.inbox.note_unfinished(name) == 1


def test_a_whole_study_sent_again_stays_whole_if_the_copy_breaks_off(node, sick, caplog):
    first = associated(node.port)
    for index in range(3):
        assert stored(first, dicom_slice(sick.scan, index, 7)) == 0
    first.release()
    wait_for(lambda: not node.provider._sent)
    name = study_of(node)
    before = node.inbox.folders(name)[2]
    again = associated(node.port)
    assert stored(again, dicom_slice(sick.scan, 0, 7)) == 0
    again.abort()
    wait_for(lambda: not node.provider._sent)
    assert node.inbox.note_unfinished(name) == 0
    assert node.inbox.folders(name)[2] == before
    assert "an association broke off" not in caplog.text
    corrected = associated(node.port)
    dataset = dicom_slice(sick.scan, 0, 7)
    dataset.PatientName = "Corrected"
    assert stored(corrected, dataset) == 0
    corrected.abort()
    wait_for(lambda: not node.provider._sent)
    assert node.inbox.note_unfinished(name) == 1


def test_a_finished_study_is_not_deleted_while_it_is_sent_again(node, sick):
    association = associated(node.port)
    assert stored(association, dicom_slice(sick.scan, 0, 7)) == 0
    association.release()
    wait_for(lambda: not node.provider._sent)
    name = study_of(node)
    node.inbox.ledger.begin_attempt(name)
    node.inbox.ledger.record_results(name, node.inbox.folders(name)[2], [], [])
    again = associated(node.port)
    assert stored(again, dicom_slice(sick.scan, 0, 7)) == 0
    node.inbox.delete_expired(0, node.provider.has_open_association)
    assert node.inbox.studies == 1
    again.release()
    wait_for(lambda: not node.provider._sent)
    node.inbox.delete_expired(0, node.provider.has_open_association)
    assert node.inbox.studies == 0


@pytest.mark.parametrize("same", [False, True])
def test_a_series_with_refused_instances_is_unfinished_until_they_are_sent(node, sick, same):
    association = associated(node.port)
    limit = node.inbox._max_bytes
    for index in range(6):
        node.inbox._max_bytes = limit if index < 3 else node.inbox._bytes
        assert stored(association, dicom_slice(sick.scan, index, 7)) == (0, 0xA700)[index >= 3]
    node.inbox._max_bytes = limit
    if not same:
        association.release()
        wait_for(lambda: not node.provider._sent)
        assert node.inbox.note_unfinished(study_of(node)) == 1
        association = associated(node.port)
    for index in range(3, 6):
        assert stored(association, dicom_slice(sick.scan, index, 7)) == 0
    association.release()
    wait_for(lambda: not node.provider._sent)
    assert node.inbox.note_unfinished(study_of(node)) == 0


def refused(node, association, dataset, *, asked=None):
    """Let a node refuse an instance on an association; return the status."""
    whole = io.BytesIO()
    dataset.save_as(whole, enforce_file_format=True)
    request = SimpleNamespace(
        AffectedSOPInstanceUID=asked or dataset.SOPInstanceUID, AffectedSOPClassUID=MRImageStorage
    )
    event = event_of(request, whole.getvalue)
    event.assoc = association
    return node.provider._on_store(event)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("fault", ["of another UID", "of no series", "unreadable"])
def test_an_instance_that_is_no_valid_one_leaves_its_series_unfinished(node, sick, fault, caplog):
    association = associated(node.port)
    for index in range(5):
        assert stored(association, dicom_slice(sick.scan, index, 7)) == 0
    (on_server,) = node.provider._sent
    dataset = dicom_slice(sick.scan, 5, 7)
    if fault == "of another UID":
        assert refused(node, on_server, dataset, asked="1.2.3") == 0xA900
    elif fault == "of no series":
        dataset.SeriesInstanceUID = "no UID"
        assert refused(node, on_server, dataset) == 0xA900
    else:
        del dataset.SeriesInstanceUID
        assert refused(node, on_server, dataset) == 0xC000
    association.release()
    wait_for(lambda: not node.provider._sent)
    assert node.inbox.note_unfinished(study_of(node)) == 1
    assert ("without telling their series" in caplog.text) == (fault != "of another UID")
    association = associated(node.port)
    for index in range(6):
        assert stored(association, dicom_slice(sick.scan, index, 7)) == 0
    association.release()
    wait_for(lambda: not node.provider._sent)
    assert node.inbox.note_unfinished(study_of(node)) == 0


def test_images_that_share_a_uid_are_kept_and_corrections_replace(node, sick, caplog):
    association = associated(node.port)
    for index in range(3):
        dataset = dicom_slice(sick.scan, index, 7)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        assert stored(association, dataset) == 0
    dataset.PatientName = "Corrected"
    assert stored(association, dataset) == 0
    association.release()
    assert node.inbox.instances == 3
    assert node.inbox.find("1.2.3") is not None
    assert caplog.text.count("several images have one SOPInstanceUID; all are kept") == 1
    again = Inbox(node.settings.folder, 10**9)
    assert again.instances == 3
    again.close()


def test_a_full_inbox_says_so(tmp_path):
    inbox = Inbox(tmp_path, max_bytes=100)
    for _ in range(3):  # the same instance again needs no more space
        inbox.add("1.2", "1.2.3", b"x" * 40)
    with pytest.raises(LimitExceeded, match="full"):
        inbox.add("1.2", "1.2.4", b"x" * 61)
    inbox.close()
    again = Inbox(tmp_path, max_bytes=100)
    assert again.instances == 1
    assert again.find("1.2.3").read_bytes() == b"x" * 40
    assert again.find("1.2.4") is None
    assert len(again.unscored(0)) == 1
    again.close()


def test_finished_studies_are_deleted_and_unfinished_ones_are_not(tmp_path):
    inbox = Inbox(tmp_path, max_bytes=1000)
    for study, instance in (("1.2", "1.2.1"), ("1.3", "1.3.1"), ("1.4", "1.4.1")):
        inbox.add(study, instance, b"x" * 10)
    done, extended, waiting = (inbox.folder_of(uid).name for uid in ("1.2", "1.3", "1.4"))
    for name in (done, extended, waiting):
        inbox.ledger.begin_attempt(name)
    content = {name: inbox.folders(name)[2] for name in (done, extended, waiting)}
    inbox.ledger.record_results(done, content[done], [], [])
    inbox.ledger.record_results(extended, content[extended], [], [])
    inbox.ledger.record_results(waiting, content[waiting], [Path("SR-1.dcm")], ["PEER@host:104"])
    inbox.add("1.3", "1.3.2", b"y" * 10)
    inbox.delete_expired(0)
    assert sorted(path.name for path in tmp_path.glob("studies/*")) == sorted([extended, waiting])
    inbox.close()


def test_an_unreachable_peer_is_tried_again_later(tmp_path, folder):
    address = f"AWAY@127.0.0.1:{free_port()}"
    node = Node(NodeSettings(tmp_path, port=0, quiet_seconds=0.2, peers=(peer_of(address),)))
    port = node.start()
    peer_of(f"MENINX@127.0.0.1:{port}").send(sorted(folder.iterdir()))
    wait_for(lambda: node.inbox.ledger.deliveries()["waiting"] == 4)
    wait_for(lambda: not node.inbox.ledger.due_deliveries())  # the next try waits
    node.stop()
    assert Inbox(tmp_path, 10**9).ledger.deliveries()["sent"] == 0


def test_commitment_reports_what_is_stored_and_marks_the_study_complete(node, sick):
    reports = []

    def on_report(event):
        reports.append(event.event_information)
        return 0, None

    entity = AE(ae_title="US")
    contexts = [build_context(MRImageStorage, ExplicitVRLittleEndian), build_context(COMMITMENT)]
    association = entity.associate(
        "127.0.0.1",
        node.port,
        contexts=contexts,
        ae_title="MENINX",
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)],
    )
    dataset = dicom_slice(sick.scan, 0, 7)
    assert stored(association, dataset) == 0
    asked = Dataset()
    asked.TransactionUID = generate_uid()
    asked.ReferencedSOPSequence = []
    for uid in (dataset.SOPInstanceUID, generate_uid()):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MRImageStorage, uid
        asked.ReferencedSOPSequence.append(item)
    status, _ = association.send_n_action(asked, 1, COMMITMENT, COMMITMENT_INSTANCE)
    assert status.Status == 0
    (report,) = wait_for(lambda: reports)
    association.release()
    assert report.TransactionUID == asked.TransactionUID
    (reference,) = report.ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert len(report.FailedSOPSequence) == 1
    # The quiet time is an hour here, and yet the study is scored.
    wait_for(lambda: node.inbox.ledger.ended().get(False, (0,))[0] == 1)


def test_twenty_studies_by_eight_associations_are_not_mixed(tmp_path, sick):
    node = Node(NodeSettings(tmp_path / "node", port=0, quiet_seconds=3600))
    port = node.start()
    studies = [[dicom_slice(sick.scan, index, 100 + n) for index in range(3)] for n in range(20)]
    waiting = [dataset for group in zip(*studies, strict=True) for dataset in group]  # interleaved
    lock = threading.Lock()

    def sender():
        association = associated(port)
        while True:
            with lock:
                if not waiting:
                    break
                dataset = waiting.pop()
            assert stored(association, dataset) == 0
        association.release()

    threads = [threading.Thread(target=sender) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert node.inbox.instances == 60
    for folder in node.settings.folder.glob("studies/*/incoming"):
        read = [pydicom.dcmread(path) for path in folder.iterdir()]
        assert len(read) == 3
        assert len({dataset.StudyInstanceUID for dataset in read}) == 1
    node.stop()


class Archive:
    """A peer that counts how often it receives each instance, and answers queries."""

    def __init__(self):
        self.counts = {}
        self.mute = 0
        entity = AE(ae_title="ARCHIVE")
        entity.supported_contexts = AllStoragePresentationContexts
        entity.add_supported_context(FIND)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find)]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.address = f"ARCHIVE@127.0.0.1:{self.server.server_address[1]}"

    def _store(self, event):
        uid = str(event.request.AffectedSOPInstanceUID)
        self.counts[uid] = self.counts.get(uid, 0) + 1
        if self.mute:
            # The instance is stored, and the response is lost.
            self.mute -= 1
            event.assoc.abort()
        return 0

    def _find(self, event):
        if str(event.identifier.SOPInstanceUID) in self.counts:
            yield 0xFF00, event.identifier


@pytest.fixture
def archive():
    archive = Archive()
    yield archive
    archive.server.shutdown()


def test_a_result_whose_response_was_lost_is_not_sent_again(tmp_path, folder, archive, monkeypatch):
    monkeypatch.setattr(ledgers, "FIRST_PAUSE", 0.1)
    archive.mute = 2
    peers = (peer_of(archive.address),)
    node = Node(NodeSettings(tmp_path, port=0, quiet_seconds=0.2, peers=peers))
    peer_of(f"MENINX@127.0.0.1:{node.start()}").send(sorted(folder.iterdir()))
    wait_for(lambda: node.inbox.ledger.deliveries()["sent"] == 4)
    node.stop()
    assert archive.mute == 0
    assert list(archive.counts.values()) == [1] * 4


def test_a_delivery_is_one_line_and_so_are_all_its_failures(tmp_path, folder, archive, caplog):
    gone = peer_of(f"AWAY@127.0.0.1:{free_port()}")
    node = Node(NodeSettings(tmp_path, port=0, peers=(peer_of(archive.address), gone)))
    results = tmp_path / "studies" / "abcdefghij" / "results"
    results.mkdir(parents=True)
    files = [shutil.copy(path, results / path.name) for path in sorted(folder.iterdir())[:3]]
    ledger = node.inbox.ledger
    ledger.begin_attempt("abcdefghij")
    ledger.record_results("abcdefghij", "hash", files, [archive.address, gone.address])
    with caplog.at_level("INFO", "meninx"):
        for _ in files:
            node._deliver_due()
    node.stop()
    assert ledger_counts(tmp_path) == {"sent": 3, "waiting": 3}
    said = [record.getMessage() for record in caplog.records if record.name.startswith("meninx")]
    assert f"study abcdefgh: 3 results delivered to {archive.address}" in said
    (failed,) = [line for line in said if gone.address in line]
    assert failed.startswith("study abcdefgh: ") and failed.endswith("; it is tried again")


def ledger_counts(folder):
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger:
        return dict(ledger.execute("select state, count(*) from results group by state"))


STEPS = """
import os, signal, sys
from pathlib import Path
from meninx._clinic import node as nodes, inbox as inboxes, ledger as ledgers, peers, dimse_peer
from meninx._clinic.node_settings import NodeSettings
dies_at, data, address, port = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
passed = 0
def counted(function):
    def step(*arguments, **named):
        global passed
        passed += 1
        if passed == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return step
for owner, names in (
    (inboxes.Inbox, ("add",)),
    (ledgers.Ledger, ("begin_attempt", "record_results", "set_state")),
    (inboxes, ("_sync_folder",)), (dimse_peer.DimsePeer, ("send",)),
):
    for name in names:
        setattr(owner, name, counted(getattr(owner, name)))
def copy_results(files, out, model):
    "Return a copy of each instance as its result: scoring does not matter here."
    import pydicom, shutil
    from pydicom.uid import generate_uid
    shutil.rmtree(out, ignore_errors=True); out.mkdir()
    for path in sorted(files.glob('*.dcm')):
        made = pydicom.dcmread(path)
        made.SOPInstanceUID = generate_uid(entropy_srcs=["result", str(made.SOPInstanceUID)])
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.save_as(out / f"{made.SOPInstanceUID}.dcm", enforce_file_format=True)
    return [{}]
class Here:
    def __init__(self, *_): pass
    def call(self, function, *arguments): return copy_results(*arguments)
    def close(self): pass
nodes.Worker = Here
settings = NodeSettings(
    data, port=port, quiet_seconds=0.3, peers=(peers.peer_of(address, "MENINX"),))
running = nodes.Node(settings)
running.start()
stop = __import__("threading").Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
stop.wait()
running.stop()
"""


def test_killed_between_every_two_steps_the_ledger_balances(tmp_path, sick, archive):
    """Nothing acknowledged is lost, and no result comes twice, wherever it is killed."""
    port, data = free_port(), tmp_path / "node"
    acknowledged, dies_at, number, killed = set(), 0, 0, 0
    whole = 0
    while not whole:
        dies_at += 1
        command = [sys.executable, "-c", STEPS, str(dies_at), str(data), archive.address, str(port)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            wait_for(lambda p=process: p.poll() is not None or associated_now(port))
            # A study of its own for each run: two slices.
            number += 1
            for index in range(2):
                dataset = dicom_slice(sick.scan, index, 1000 + number)
                if sent(port, dataset):
                    acknowledged.add(str(dataset.SOPInstanceUID))
            done = lambda: all_sent(data, archive)  # noqa: E731
            wait_for(lambda p=process, d=done: p.poll() is not None or d(), 30)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
                whole = dies_at
            else:
                killed += 1
    assert killed > 8
    # Everything is finished after the last run, which was not killed.
    assert sum(archive.counts.values()) == len(archive.counts)
    kept = {
        str(pydicom.dcmread(path).SOPInstanceUID) for path in data.glob("studies/*/incoming/*.dcm")
    }
    assert acknowledged <= kept
    assert len(archive.counts) == len(kept)


def associated_now(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def sent(port, dataset):
    try:
        association = associated(port)
        if not association.is_established:
            return False
        status = association.send_c_store(dataset)
        association.release()
    except (OSError, RuntimeError, ValueError):
        return False
    return bool(status) and status.Status == 0


def all_sent(data, archive):
    kept = len(list(data.glob("studies/*/incoming/*.dcm")))
    with sqlite3.connect(data / "ledger.sqlite") as ledger:
        query = "select count(*) from results where state != ?"
        (left,) = ledger.execute(query, (SENT,)).fetchone()
    return not left and len(archive.counts) >= kept


def test_the_command_scores_and_sends_once(tmp_path, folder, archive):
    with receiving(tmp_path / "node", "--quiet", "0.5", "--to", archive.address) as port:
        peer_of(f"MENINX@127.0.0.1:{port}").send(sorted(folder.iterdir()))
        wait_for(lambda: len(archive.counts) == 4)
        # The same study is neither scored nor sent again.
        peer_of(f"MENINX@127.0.0.1:{port}").send(sorted(folder.iterdir()))
    assert set(archive.counts.values()) == {1}


def test_both_sides_authenticate_over_tls(tmp_path, sick):
    certificate, key = self_signed(tmp_path)
    server = tls_context(certificate, key, certificate, server=True)
    node = Node(NodeSettings(tmp_path / "node", port=0, quiet_seconds=3600, tls=server))
    address = f"MENINX@127.0.0.1:{node.start()}"
    path = save(dicom_slice(sick.scan, 0, 7), tmp_path / "slice.dcm")
    peer_of(address, tls=tls_context(certificate, key, certificate, server=False)).send([path])
    assert node.inbox.instances == 1
    for tls in (None, tls_context(None, None, certificate, server=False)):
        with pytest.raises(PeerError):
            peer_of(address, tls=tls).send([path])
    assert node.inbox.instances == 1
    node.stop()
    with pytest.raises(OptionError, match="PEM"):
        tls_context(path, None, None, server=True)


def self_signed(folder):
    """Write a key and a certificate of 127.0.0.1 that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "meninx test")])
    today = datetime.now(UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today)
        .not_valid_after(today + timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "own.pem").write_bytes(made.public_bytes(pem))
    (folder / "own.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "own.pem", folder / "own.key"


def test_wrong_addresses_and_absent_peers_are_reported(tmp_path, folder):
    for wrong in ("ORTHANC", "ORTHANC@host", "A@h:0", "A@h:99999", "ftp://x"):
        with pytest.raises(OptionError, match="expected TITLE@host:port"):
            peer_of(wrong)
    port = free_port()
    with pytest.raises(PeerError, match="no association"):
        peer_of(f"X@127.0.0.1:{port}").send(sorted(folder.iterdir()))
    with pytest.raises(PeerError, match="not fetched: study"):
        peer_of(f"http://127.0.0.1:{port}/dicom-web").fetch("1.2.3", Path(tmp_path))


class CountingScorer:
    """Scores in this process in place of a worker process, and counts the calls."""

    def __init__(self, *_):
        self.count = 0

    def call(self, _, files, out, model):
        self.count += 1
        return score_and_write(files, out, model)

    def close(self):
        pass


@pytest.fixture
def node_of(monkeypatch, archive):
    """Return a function that starts a node that scores in this process and sends to an archive."""
    running = []

    def start(folder, **settings):
        monkeypatch.setattr(nodes, "Worker", CountingScorer)
        peers = (peer_of(archive.address),)
        node = Node(NodeSettings(folder, port=0, quiet_seconds=0.1, peers=peers, **settings))
        running.append(node)
        node.port = node.start()
        return node

    yield start
    for node in running:
        node.stop()


def reports_in(node, count):
    """Wait until a study was scored so often; return its last reports."""
    wait_for(lambda: node._scorer.count >= count and not node.inbox.unscored(0), 30)
    ledger = node.inbox.ledger
    wait_for(lambda: not ledger.deliveries()["waiting"] + ledger.deliveries()["sending"])
    (out,) = node.settings.folder.glob("studies/*/results")
    return [pydicom.dcmread(path) for path in out.glob("SR-*.dcm")]


def objects_in(node):
    """Return all results of the node's study but the note of its rejected ones, by UID."""
    paths = node.settings.folder.glob("studies/*/results/*.dcm")
    found = [pydicom.dcmread(path) for path in paths if not path.name.startswith("REJECTED")]
    return {dataset.SOPInstanceUID: dataset for dataset in found}


def rejected_in(node):
    """Return the UIDs of the results that the last note rejects."""
    (path,) = node.settings.folder.glob("studies/*/results/REJECTED-*.dcm")
    note = pydicom.dcmread(path)
    (title,) = note.ConceptNameCodeSequence
    assert (title.CodeValue, note.Modality) == ("113001", "KO")
    return {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in note.ContentSequence
        if item.ValueType in ("IMAGE", "COMPOSITE")
    }


def replaced_by(report):
    return {
        str(reference.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", ())
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }


@pytest.mark.dicom3tools
def test_an_extended_or_corrected_study_is_scored_again_and_names_replaced_reports(
    tmp_path, sick, node_of, archive, dciodvfy
):
    node = node_of(tmp_path / "node")
    send = peer_of(f"MENINX@127.0.0.1:{node.port}").send
    datasets = [dicom_slice(sick.scan, index, 7) for index in range(len(sick.scan))]

    def paths(name):
        return [save(data, tmp_path / name / f"{n}.dcm") for n, data in enumerate(datasets)]

    first = paths("first")
    send(first[:5])
    (part,) = reports_in(node, 1)
    assert not replaced_by(part)
    stale = objects_in(node)
    send(first[5:])
    (whole,) = reports_in(node, 2)
    assert replaced_by(whole) == {part.SOPInstanceUID}
    rejected = rejected_in(node)
    assert rejected == stale.keys() and part.SOPInstanceUID in rejected
    send(first)  # the same again is no change
    for dataset in datasets:
        dataset.PatientID, dataset.PatientName = "CORRECTED-3", "Right^Person"
    send(paths("identity"))
    (corrected,) = reports_in(node, 3)
    assert corrected.PatientID == "CORRECTED-3"
    assert {data.PatientID for data in objects_in(node).values()} == {"CORRECTED-3"}
    assert len(rejected_in(node)) == 4 and whole.SOPInstanceUID in rejected_in(node)
    assert replaced_by(corrected) == {part.SOPInstanceUID, whole.SOPInstanceUID}
    darker = datasets[4].pixel_array.copy()
    darker[20:60, 20:60] //= 2
    datasets[4].PixelData = darker.tobytes()
    send(paths("pixels")[4:5])
    (repaired,) = reports_in(node, 4)
    assert len(replaced_by(repaired)) == 3
    assert node._scorer.count == 4
    uids = {report.SOPInstanceUID for report in (part, whole, corrected, repaired)}
    assert len(uids) == 4 and uids <= set(archive.counts)
    assert set(archive.counts.values()) == {1}
    for path in node.settings.folder.glob("studies/*/results/*.dcm"):
        checked = subprocess.run([dciodvfy, path], capture_output=True, text=True)
        assert "Error" not in checked.stdout + checked.stderr, path.name
    assert len(list(node.settings.folder.glob("studies/*/incoming/*.dcm"))) == len(datasets)


def test_corrections_survive_a_restart_and_older_versions_are_deleted(tmp_path):
    inbox = Inbox(tmp_path, 1000)
    inbox.add("1.2", "1.2.1", b"before")
    (old,) = tmp_path.glob("studies/*/incoming/*.dcm")
    name = inbox.folder_of("1.2").name
    inbox.ledger.begin_attempt(name)
    inbox.ledger.record_results(name, inbox.folders(name)[2], [], [])
    assert not inbox.unscored(0)
    inbox.add("1.2", "1.2.1", b"before")
    assert not inbox.unscored(0)
    inbox.add("1.2", "1.2.1", b"after it")
    assert inbox.unscored(0) == [name] and inbox.instances == 1
    assert inbox.find("1.2.1").read_bytes() == b"after it"
    inbox.close()
    # As after a kill before the older version was deleted.
    old.write_bytes(b"before")
    os.utime(old, (1, 1))
    again = Inbox(tmp_path, 1000)
    assert not old.exists() and again.unscored(0) == [name]
    assert again.find("1.2.1").read_bytes() == b"after it"
    again.close()


def test_a_correction_replaces_a_file_that_was_named_without_its_place(tmp_path, sick):
    inbox = Inbox(tmp_path, 10**9)
    slices = [dicom_slice(sick.scan, index, 7) for index in range(2)]
    uid = slices[0].SOPInstanceUID

    def add(dataset, place):
        whole = io.BytesIO()
        dataset.save_as(whole, enforce_file_format=True)
        return inbox.add("1.2", uid, whole.getvalue(), place)

    add(slices[0], "")
    assert add(slices[1], place_of(slices[1]))  # another image with this UID
    slices[0].PatientName = "Corrected"
    assert add(slices[0], place_of(slices[0]))
    names = {str(pydicom.dcmread(path).PatientName) for path in tmp_path.rglob("*.dcm")}
    assert names == {"Corrected", str(slices[1].PatientName)}
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.dcm"))
    assert (inbox.instances, inbox._bytes) == (2, size)
    inbox.close()


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    "uid", ["1.2.826.05.007.3", "1.2." + "4" * 64, "1.2.826.5.AbC", "1.2.826.7.1 "]
)
def test_the_node_accepts_the_uids_that_predict_reads(
    tmp_path, sick, node_of, archive, uid, monkeypatch
):
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    node = node_of(tmp_path / "node")
    for index in range(3):
        dataset = dicom_slice(sick.scan, index, 7)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid, f"{uid.strip()[:60]}.1"
        whole = io.BytesIO()
        dataset.save_as(whole, enforce_file_format=True)
        request = SimpleNamespace(
            AffectedSOPInstanceUID=dataset.SOPInstanceUID, AffectedSOPClassUID=MRImageStorage
        )
        event = event_of(request, whole.getvalue)
        assert node.provider._on_store(event) == 0
    (report,) = reports_in(node, 1)
    assert str(report.StudyInstanceUID).strip() == uid.strip()


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_refused_instance_is_logged_without_values(node, sick, caplog):
    dataset = dicom_slice(sick.scan, 0, 7)
    dataset.StudyInstanceUID = "SECRET/NAME"
    whole = io.BytesIO()
    dataset.save_as(whole, enforce_file_format=True)
    request = SimpleNamespace(
        AffectedSOPInstanceUID=dataset.SOPInstanceUID, AffectedSOPClassUID=MRImageStorage
    )
    event = event_of(request, whole.getvalue)
    with caplog.at_level("WARNING"):
        assert node.provider._on_store(event) == 0xA900
    (line,) = (record.getMessage() for record in caplog.records if record.name.startswith("meninx"))
    assert line == "an instance was refused (0xa900): its StudyInstanceUID is no UID"
