"""The API against its own description: whatever is sent, no fault of the server, no open route."""

import pytest
from hypothesis import HealthCheck, given, settings

from meninx._web.store.settings import Settings
from tests.web.conftest import Server

OPEN = {"/api/v1/health", "/api/v1/ready"}
LIMITS = settings(
    max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@pytest.fixture(scope="module")
def key():
    return {}


@pytest.fixture(scope="module")
def contract(tmp_path_factory, key):
    # Here, and not loaded as a plugin: every worker would import it for 2 seconds.
    import schemathesis

    server = Server(Settings(data=tmp_path_factory.mktemp("contract")))
    browser = server.browser()
    key["authorization"] = f"Bearer {browser.key()}"
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", server.app, headers=dict(key))


def for_each_operation(contract, check):
    """Draw cases of every operation that the description names; return their names."""
    names = []
    for found in contract.get_all_operations():
        operation = found.ok()
        LIMITS(given(operation.as_strategy())(check))()
        names.append(operation.label)
    return names


def test_requests_with_a_key_follow_the_description(contract, key):
    def check(case):
        answer = case.call(headers=key)
        assert answer.status_code < 500, (case.method, case.path, answer.text[:200])

    assert len(for_each_operation(contract, check)) >= 13


def test_requests_without_a_key_are_refused(contract):
    def check(case):
        case.headers.pop("authorization", None)
        answer = case.call()
        allowed = (200,) if case.path in OPEN else (401, 404, 405)
        assert answer.status_code in allowed, (case.method, case.path, answer.status_code)

    for_each_operation(contract, check)
