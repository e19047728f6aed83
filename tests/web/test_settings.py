"""Settings of the server from the environment."""

import pytest

from meninx._web.store.settings import Settings

NAME = "MENINX_WEB_DEIDENTIFY"


@pytest.mark.parametrize(
    ("values", "expected"),
    [({}, False), ({NAME: "1"}, True), ({NAME: "0"}, False), ({"DEIDENTIFY": "1"}, False)],
)
def test_a_setting_is_read_from_the_environment_by_its_whole_name(values, expected, monkeypatch):
    monkeypatch.delenv(NAME, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert Settings().deidentify is expected


def test_a_value_given_in_code_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv(NAME, "1")
    assert Settings(deidentify=False).deidentify is False
    assert Settings().deidentify is True
