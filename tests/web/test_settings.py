"""Settings from the environment, and the earlier name of one of them."""

import logging

import pytest

from meninx._web.store.settings import Settings

NAME, EARLIER = "MENINX_WEB_DEIDENTIFY", "MENINX_WEB_ANONYMISE"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in (NAME, EARLIER):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("values", "expected", "warned"),
    [
        ({}, False, False),
        ({NAME: "1"}, True, False),
        ({EARLIER: "1"}, True, True),
        ({EARLIER: "0"}, False, True),
        ({EARLIER.lower(): "1"}, True, True),
        ({NAME: "0", EARLIER: "1"}, False, True),
        ({"DEIDENTIFY": "1"}, False, False),
    ],
)
def test_the_earlier_name_of_a_setting_works_with_a_warning(
    values, expected, warned, environment, caplog
):
    for name, value in values.items():
        environment.setenv(name, value)
    with caplog.at_level(logging.WARNING):
        assert Settings().deidentify is expected
    message = (
        f"{EARLIER} is now called {NAME}; rename it, the next version ignores the earlier name"
    )
    assert caplog.messages == [message] * warned


def test_a_value_given_in_code_goes_before_the_environment(environment):
    environment.setenv(NAME, "1")
    environment.setenv(EARLIER, "1")
    assert Settings(deidentify=False).deidentify is False
    assert Settings().deidentify is True
