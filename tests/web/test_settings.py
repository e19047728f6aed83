"""Settings from the environment."""

from meninx._web.store.settings import Settings


def test_a_value_in_code_takes_precedence_over_the_environment(monkeypatch):
    monkeypatch.delenv("MENINX_WEB_DEIDENTIFY", raising=False)
    assert Settings().deidentify is False
    monkeypatch.setenv("MENINX_WEB_DEIDENTIFY", "1")
    assert Settings().deidentify is True
    assert Settings(deidentify=False).deidentify is False
