"""What the web application says of itself: metrics, readiness, and a full disk."""

import errno
import os
import shutil
from types import SimpleNamespace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from meninx._system_errors import FULL
from meninx._web.api import server_api, upload_api
from meninx._web.store.database import now


def test_metrics_are_openmetrics_of_the_studies_that_the_caller_sees(server, stored):
    stored(finished=now())
    text = server.browser().client.get("/api/v1/metrics").text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["meninx_studies", "done"] == found["meninx_findings", "tumor"] == 1
    assert found["meninx_last_study_seconds",] == pytest.approx(now().timestamp(), abs=60)
    assert found["meninx_disk_free_bytes",] > 0


def test_it_is_not_ready_once_the_disk_is_nearly_full(server, monkeypatch):
    client = server.client()
    assert client.get("/api/v1/ready").json() == {"status": "ready"}
    full = SimpleNamespace(free=server_api.MIN_FREE_BYTES - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    refused = client.get("/api/v1/ready")
    assert (refused.status_code, refused.json()) == (503, {"detail": FULL})


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere"),
        OperationalError("INSERT", {}, Exception("database or disk is full")),
    ],
)
def test_an_upload_onto_a_full_disk_is_answered_in_words(server, monkeypatch, caplog, error):
    browser = server.browser()

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(upload_api, "start_upload", refuse)
    answer = browser.client.post("/api/v1/uploads", json={}, headers=browser.headers)
    assert (answer.status_code, answer.json()) == (507, {"detail": FULL})
    assert f"a request was refused: {FULL}" in caplog.text


def test_another_error_of_the_system_stays_one(server, monkeypatch):
    browser = server.browser()

    def refuse(*_, **__):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(upload_api, "start_upload", refuse)
    with pytest.raises(OSError, match="broken"):
        browser.client.post("/api/v1/uploads", json={}, headers=browser.headers)
