"""An engineer's way: from nothing to results in a PACS, and back up again after what goes wrong.

The disk is full, the database is an older one, the node is killed, and the folders are lost.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from meninx._clinic.inbox import RESERVED_BYTES
from meninx._clinic.ledger import TABLES
from meninx._synthesis.writing import write_dicom
from meninx._web.store.database import latest_revision, migrate, revision_of
from meninx._web.store.settings import Settings
from tests.clinic.conftest import free_port, wait_for
from tests.clinic.test_orthanc import Orthanc, plugin
from tests.commands import meninx
from tests.web.first_revision import write_first_revision

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MIB = 1024**2
# Room for two studies beside what the node keeps free.
DISK_BYTES = RESERVED_BYTES + 128 * MIB
# SR, SC, SEG and KO of a study of one series with a tumor.
RESULTS = 4


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own; a folder, where nothing may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-o", f"size={DISK_BYTES}"]
    mounted = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", folder], check=False)
    yield folder
    if not mounted.returncode:
        subprocess.run(["umount", "--lazy", folder], check=True)


def status_of(address):
    """Return status and text of a page."""
    try:
        with urllib.request.urlopen(address, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Site:
    """A hospital's machine with both services, as deploy/*.service start them.

    Args:
        disk: Its disk.
        folder: Where its configuration and log lie.
    """

    def __init__(self, disk, folder):
        self.web, self.node, self.log = disk / "web", disk / "node", folder / "log"
        self.ports = {name: free_port() for name in ("web", "dicom", "status", "orthanc", "pacs")}
        self.config = folder / "meninx.toml"
        self.config.write_text(
            f'[web]\ndata = "{self.web}"\nport = {self.ports["web"]}\nlog = "json"\n'
            f'[receive]\ndata = "{self.node}"\nport = {self.ports["dicom"]}\nlog = "json"\n'
            f'status = "127.0.0.1:{self.ports["status"]}"\nquiet = 1\n'
            f'caller = ["MODALITY"]\nto = ["ORTHANC@127.0.0.1:{self.ports["pacs"]}"]\n',
            encoding="utf-8",
        )

    def is_ready(self, service):
        """Return what a service says of itself."""
        pages = {
            "web": f"http://127.0.0.1:{self.ports['web']}/api/v1/ready",
            "node": f"http://127.0.0.1:{self.ports['status']}/ready",
        }
        return status_of(pages[service])

    def metrics(self):
        _, text = status_of(f"http://127.0.0.1:{self.ports['status']}/metrics")
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text or "# EOF\n")
            for sample in family.samples
        }

    @contextmanager
    def running(self, verb, service):
        """Run a service until the block ends; it may have been killed in it."""
        environment = {**os.environ, "MENINX_CONFIG": str(self.config)}
        command = [sys.executable, "-m", "meninx", verb]
        with (
            self.log.open("ab") as log,
            subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
        ):
            try:
                wait_for(lambda: self.is_ready(service)[0] == 200 or process.poll() is not None)
                yield process
                process.send_signal(signal.SIGTERM)
                assert process.wait(40) in (0, -signal.SIGKILL)
            finally:
                process.kill()

    def send(self, folder):
        """Send a study as a modality does; return whether all was accepted."""
        address = ["-aet", "MODALITY", "-aec", "MENINX", "127.0.0.1", str(self.ports["dicom"])]
        files = sorted(folder.iterdir())
        done = subprocess.run(["storescu", *address, *files], check=False, capture_output=True)
        return done.returncode == 0

    def messages(self):
        """Return what both services logged: JSON, but for what Python says of a killed process."""
        lines = self.log.read_text("utf-8").splitlines()
        others = [line for line in lines if not line.startswith("{")]
        assert all("resource_tracker" in line or "warnings.warn" in line for line in others), others
        return [json.loads(line)["message"] for line in lines if line not in others]


def write_data_of_the_first_version(site):
    """Leave what the first version of both services would have left."""
    settings = Settings(data=site.web)
    site.web.mkdir()
    migrate(settings.address, "0001")
    write_first_revision(settings)
    (site.node / "studies").mkdir(parents=True)
    script = f"import sqlite3; sqlite3.connect({str(site.node / 'ledger.sqlite')!r})"
    subprocess.run([sys.executable, "-c", f"{script}.executescript({TABLES!r})"], check=True)


@contextmanager
def pacs(site, folder):
    orthanc = Orthanc(folder, site.ports["orthanc"], dicom=site.ports["pacs"])
    try:
        yield orthanc
    finally:
        orthanc.stop()


def test_from_nothing_to_results_in_a_pacs_and_back_up_again(disk, tmp_path, sick):
    if not shutil.which("Orthanc") or not plugin() or not shutil.which("storescu"):
        pytest.skip("orthanc, orthanc-dicomweb or dcmtk is not installed (Debian)")
    studies = [tmp_path / "first", tmp_path / "second"]
    for number, study in enumerate(studies):
        write_dicom(sick.scan, study, 7 + number)
    site = Site(disk, tmp_path)
    write_data_of_the_first_version(site)
    checked = meninx("config", "check", "--config", site.config)
    assert (checked.returncode, checked.stdout.count("FAULT")) == (1, 1)  # there is no PACS yet
    (tmp_path / "orthanc").mkdir()
    with pacs(site, tmp_path / "orthanc") as orthanc:

        def results():
            return len(orthanc.ask("/instances"))

        checked = meninx("config", "check", "--config", site.config)
        assert checked.returncode == 0, checked.stdout
        with site.running("serve", "web"):
            with site.running("receive", "node") as node:
                assert site.is_ready("web")[0] == 200
                assert site.send(studies[0])
                wait_for(lambda: results() == RESULTS)
                if disk.is_mount():
                    fill_and_free_the_disk(site, disk, studies[1])
                else:
                    logging.getLogger(__name__).warning("no right to mount: no disk was full")
                assert site.send(studies[1])
                wait_for(lambda: site.metrics()["meninx_node_studies", "waiting"])
                node.kill()
                node.wait()
            with site.running("receive", "node"):
                wait_for(lambda: results() == 2 * RESULTS)
                wait_for(lambda: site.metrics()["meninx_node_deliveries", "sent"] == 2 * RESULTS)
                saved = meninx("backup", tmp_path / "backup", "--config", site.config)
                assert saved.returncode == 0, saved.stderr
        # Both folders are lost.
        shutil.rmtree(site.web)
        shutil.rmtree(site.node)
        restored = meninx("restore", tmp_path / "backup", "--config", site.config)
        assert restored.returncode == 0, restored.stderr
        assert revision_of(Settings(data=site.web).address) == latest_revision()
        assert meninx("verify-opinions", "--data", site.web).returncode == 0
        with site.running("serve", "web"), site.running("receive", "node"):
            assert site.is_ready("web")[0] == site.is_ready("node")[0] == 200
            found = site.metrics()
            assert found["meninx_node_studies", "scored"] == 2
            assert found["meninx_node_studies", "failed"] == 0
            assert site.send(studies[0])  # the same again is no new study, and sends nothing
            assert site.metrics()["meninx_node_deliveries", "waiting"] == 0
        assert results() == 2 * RESULTS
    said = site.messages()
    assert sum("disk full" in message for message in said) == disk.is_mount()
    assert not [message for message in said if "PHANTOM" in message]


def fill_and_free_the_disk(site, disk, study):
    """Let a modality send onto a full disk, then free it again."""
    with (disk / "other").open("wb") as other:
        os.posix_fallocate(other.fileno(), 0, shutil.disk_usage(disk).free - RESERVED_BYTES + MIB)
    assert not site.send(study)
    status, text = site.is_ready("node")
    assert (status, "disk full" in text) == (503, True)
    (disk / "other").unlink()
    assert site.is_ready("node")[0] == 200
