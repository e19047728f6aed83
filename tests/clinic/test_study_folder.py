"""Fetched studies: received instances are compared with the expected number, and never mixed."""

import io
import json

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from meninx._clinic.dimse_peer import FIND, MOVE
from meninx._clinic.peers import peer_of
from meninx._clinic.study_folder import StudyFolder
from meninx._errors import OptionError, PeerError
from meninx._scan.incomplete_note import NOTE
from meninx._scan.reading import read_scans
from meninx._synthesis.writing import dicom_slice
from tests.clinic.conftest import free_port
from tests.clinic.dicomweb import MULTIPART, found, multipart, serving, uids
from tests.commands import meninx
from tests.scan.dicom_making import save

STUDY, OTHER = "1.2.826.0.1.7", "1.2.826.0.1.8"
CANNOT_BE_SENT = "1.2.840.10008.5.1.4.1.1.999.7"


@pytest.fixture(scope="module")
def slices(sick):
    made = [dicom_slice(sick.scan, index, 31) for index in range(len(sick.scan))]
    for dataset in made:
        dataset.StudyInstanceUID = STUDY
    return made


def as_bytes(dataset):
    whole = io.BytesIO()
    dataset.save_as(whole, enforce_file_format=True)
    return whole.getvalue()


class Pacs:
    """A PACS that sends given instances, and their number if asked to."""

    def __init__(self, datasets, *, says=None, breaks_after=None):
        self.datasets, self.says, self.breaks_after = datasets, says, breaks_after
        self.own = free_port()
        self.asked = 0
        entity = AE(ae_title="PACS")
        entity.add_supported_context(MOVE)
        entity.requested_contexts = [build_context(MRImageStorage, ExplicitVRLittleEndian)]
        if says is not None:
            entity.add_supported_context(FIND)
        handlers = [(evt.EVT_C_MOVE, self._move), (evt.EVT_C_FIND, self._find)]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.address = f"PACS@127.0.0.1:{self.server.server_address[1]}"

    def _find(self, event):
        answer = Dataset()
        answer.StudyInstanceUID = event.identifier.StudyInstanceUID
        answer.NumberOfStudyRelatedInstances = self.says
        yield 0xFF00, answer

    def _move(self, event):
        self.asked += 1
        yield ("127.0.0.1", self.own)
        yield len(self.datasets)
        for number, dataset in enumerate(self.datasets):
            if number == self.breaks_after:
                event.assoc.abort()
                return
            yield 0xFF00, dataset

    def fetch(self, folder):
        return peer_of(self.address, port=self.own).fetch(STUDY, folder)


@pytest.fixture
def pacs():
    running = []

    def start(datasets, **options):
        running.append(Pacs(datasets, **options))
        return running[-1]

    yield start
    for pacs in running:
        pacs.server.shutdown()


def cannot_be_sent(dataset):
    dataset = pydicom.dcmread(io.BytesIO(as_bytes(dataset)))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CANNOT_BE_SENT
    return dataset


def noted(folder):
    return json.loads((folder / NOTE).read_text(encoding="utf-8"))["incomplete"]


def lacking(expected, received):
    return [{"what": "instances of the study", "expected": expected, "received": received}]


def test_a_move_with_failed_suboperations_is_incomplete(pacs, slices, tmp_path):
    partial = pacs([*slices[:5], *map(cannot_be_sent, slices[5:])])
    with pytest.raises(PeerError, match=r"5 of 9 instances .* received .*0xb000, 4 failed"):
        partial.fetch(tmp_path)
    assert noted(tmp_path) == lacking(9, 5)
    (scan,) = read_scans(tmp_path)
    assert [count.as_json() for count in scan.incomplete] == lacking(9, 5)
    # The same command completes it.
    assert pacs(slices).fetch(tmp_path) == 9
    assert not (tmp_path / NOTE).exists()
    (scan,) = read_scans(tmp_path)
    assert not scan.incomplete and len(scan) == 9


def test_a_successful_move_of_fewer_instances_than_found_is_incomplete(pacs, slices, tmp_path):
    with pytest.raises(PeerError, match="6 of 9 instances of the study received"):
        pacs(slices[:6], says=9).fetch(tmp_path)
    assert noted(tmp_path) == lacking(9, 6)


@pytest.mark.parametrize("says", [None, 9])
def test_a_move_without_final_response_is_incomplete(pacs, slices, tmp_path, says):
    with pytest.raises(PeerError, match="no final response"):
        pacs(slices, says=says, breaks_after=4).fetch(tmp_path)
    assert noted(tmp_path) == lacking(9, 4)


def test_the_command_reports_missing_instances_and_predict_refers_the_study(pacs, slices, tmp_path):
    running = pacs(slices[:7], says=9)
    done = meninx(
        "fetch-study",
        STUDY,
        "--from",
        running.address,
        "--output",
        tmp_path / "in",
        "--port",
        running.own,
    )
    assert done.returncode == 1
    assert "7 of 9 instances of the study received" in done.stderr
    seen = meninx("predict", tmp_path / "in", "--json", "--studies")
    assert seen.returncode == 1
    for answer in map(json.loads, seen.stdout.splitlines()):
        assert (answer["decision"], answer["reason"]) == ("refer", "incomplete")
        assert answer["incomplete"] == lacking(9, 7)
    # A single file of that folder is incomplete, too.
    file = next((tmp_path / "in").glob("*.dcm"))
    (alone,) = map(json.loads, meninx("predict", file, "--json").stdout.splitlines())
    assert alone["incomplete"] == lacking(9, 7)


def test_a_folder_of_another_study_is_refused_before_any_transfer(pacs, slices, tmp_path):
    other = pydicom.dcmread(io.BytesIO(as_bytes(slices[0])))
    other.StudyInstanceUID = OTHER
    kept = save(other, tmp_path / "deep" / "000001.dcm").read_bytes()
    running = pacs(slices)
    for peer in (peer_of(running.address), peer_of("http://127.0.0.1:9/dicom-web")):
        with pytest.raises(OptionError, match="another study"):
            peer.fetch(STUDY, tmp_path)
    assert running.asked == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["deep", "000001.dcm"]
    assert (tmp_path / "deep" / "000001.dcm").read_bytes() == kept


def test_instances_of_another_study_are_not_stored(pacs, slices, tmp_path):
    stranger = pydicom.dcmread(io.BytesIO(as_bytes(slices[8])))
    stranger.StudyInstanceUID = OTHER
    with pytest.raises(PeerError, match="8 of 9"):
        pacs([*slices[:8], stranger]).fetch(tmp_path)
    assert {pydicom.dcmread(path).StudyInstanceUID for path in tmp_path.glob("*.dcm")} == {STUDY}


def test_a_killed_fetch_leaves_an_incomplete_study(slices, tmp_path):
    """The folder after the third instance."""
    for promised, count in (
        (9, lacking(9, 3)),
        (None, [{"what": "complete transfers", "expected": 1, "received": 0}]),
    ):
        folder = tmp_path / str(promised)
        target = StudyFolder(folder, STUDY)
        target.start(promised)
        for dataset in slices[:3]:
            target.write(dataset, as_bytes(dataset))
        (scan,) = read_scans(folder)
        assert [incomplete.as_json() for incomplete in scan.incomplete] == count


def test_missing_files_may_be_copied_by_hand(slices, tmp_path):
    """The study is complete once the missing files are copied into the folder."""
    target = StudyFolder(tmp_path, STUDY)
    target.start(9)
    for number, dataset in enumerate(slices):
        save(dataset, tmp_path / "copied" / f"{number}.dcm")
        (scan,) = read_scans(tmp_path)
        assert bool(scan.incomplete) == (number < 8)


@pytest.fixture
def service(slices):
    with serving() as running:
        running.answers["GET", "/studies"] = found(uids([("0020000D", STUDY)], **{"00201208": 9}))
        running.whole = [as_bytes(dataset) for dataset in slices]
        yield running


@pytest.mark.parametrize(("count", "closed", "kept"), [(6, True, 6), (9, False, 8), (5, False, 4)])
def test_a_partial_response_of_a_web_service_is_incomplete(service, tmp_path, count, closed, kept):
    body = multipart(service.whole[:count], closed=closed)
    service.answers["GET", f"/studies/{STUDY}"] = (200, MULTIPART, body if closed else body[:-700])
    with pytest.raises(PeerError, match=rf"{kept} of 9 instances of the study received"):
        peer_of(service.address).fetch(STUDY, tmp_path)
    assert noted(tmp_path) == lacking(9, kept)
    service.answers["GET", f"/studies/{STUDY}"] = (200, MULTIPART, multipart(service.whole))
    assert peer_of(service.address).fetch(STUDY, tmp_path) == 9
    assert not (tmp_path / NOTE).exists()


@pytest.mark.parametrize(
    ("status", "warning"),
    [
        (206, ""),
        (200, '299 pacs "4 of 9 instances"'),
        (206, "299 - x"),
        (200, '110 cache "old", 299 pacs "4 of 9"'),
    ],
)
def test_a_service_that_says_it_sent_a_part_is_believed(service, tmp_path, status, warning):
    counted = service.answers.pop(("GET", "/studies"))
    service.headers = {"Warning": warning} if warning else {}
    body = multipart(service.whole[:4])
    service.answers["GET", f"/studies/{STUDY}"] = (status, MULTIPART, body)
    with pytest.raises(PeerError, match="4 instances of the study, not the end") as caught:
        peer_of(service.address).fetch(STUDY, tmp_path)
    assert f"status {status}" in str(caught.value) and warning in str(caught.value)
    assert noted(tmp_path) == [{"what": "complete transfers", "expected": 1, "received": 0}]
    # Its own number of instances shows that all came, whatever the warning is about.
    service.answers["GET", "/studies"] = counted
    service.answers["GET", f"/studies/{STUDY}"] = (status, MULTIPART, multipart(service.whole))
    assert peer_of(service.address).fetch(STUDY, tmp_path) == 9
    assert not (tmp_path / NOTE).exists()


@pytest.mark.parametrize(
    "warning", ['110 proxy "Response is Stale"', '214 proxy "Transformed, 299 times"', ""]
)
def test_a_warning_of_a_proxy_makes_no_fetch_incomplete(service, tmp_path, warning):
    service.answers.pop(("GET", "/studies"))
    service.headers = {"Warning": warning} if warning else {}
    service.answers["GET", f"/studies/{STUDY}"] = (200, MULTIPART, multipart(service.whole))
    assert peer_of(service.address).fetch(STUDY, tmp_path) == 9
    assert not (tmp_path / NOTE).exists()


def test_images_that_share_a_uid_are_all_kept(tmp_path, sick):
    made = [dicom_slice(sick.scan, index, 31) for index in range(3)]
    for dataset in made:
        dataset.StudyInstanceUID, dataset.SOPInstanceUID = STUDY, "1.2.3"
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    target = StudyFolder(tmp_path, STUDY)
    target.start(3)
    for dataset in [*made, made[0]]:
        target.write(dataset, as_bytes(dataset))
    assert target.finish(3, "") == len(list(tmp_path.glob("*.dcm"))) == 3
    again = StudyFolder(tmp_path, STUDY)
    again.write(made[1], as_bytes(made[1]))
    assert len(list(tmp_path.glob("*.dcm"))) == 3


def test_a_message_cut_between_two_parts_is_incomplete_without_a_count(service, tmp_path):
    service.answers.pop(("GET", "/studies"))
    body = multipart(service.whole[:4]).removesuffix(b"--\r\n")
    service.answers["GET", f"/studies/{STUDY}"] = (200, MULTIPART, body)
    with pytest.raises(PeerError, match="breaks off"):
        peer_of(service.address).fetch(STUDY, tmp_path)
    assert noted(tmp_path) == [{"what": "complete transfers", "expected": 1, "received": 0}]
    service.answers["GET", f"/studies/{STUDY}"] = (200, MULTIPART, multipart(service.whole))
    assert peer_of(service.address).fetch(STUDY, tmp_path) == 9


def test_instances_are_counted_if_a_service_gives_no_number(service, tmp_path):
    service.answers["GET", "/studies"] = found(uids([("0020000D", STUDY)]))
    listed = uids([("00080018", f"1.2.{number}") for number in range(9)])
    service.answers["GET", f"/studies/{STUDY}/instances"] = found(listed, most=4)
    service.answers["GET", f"/studies/{STUDY}"] = (200, MULTIPART, multipart(service.whole[:8]))
    with pytest.raises(PeerError, match="8 of 9"):
        peer_of(service.address).fetch(STUDY, tmp_path)


def test_an_unknown_study_leaves_the_folder_for_another(pacs, slices, tmp_path):
    with pytest.raises(PeerError, match=f"no study {STUDY}"):
        pacs([]).fetch(tmp_path)
    assert not list(tmp_path.iterdir())
    assert pacs(slices, says=9).fetch(tmp_path) == 9
