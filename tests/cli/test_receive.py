"""The options of `meninx receive` as one object, and what the node gets of it."""

from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from meninx._cli.receive import receive
from meninx._cli.receive_settings import ReceiveSettings
from meninx._cli.verb_settings import takes_settings
from meninx._clinic.node_settings import NodeSettings
from meninx._clinic.peers import peer_of
from meninx._errors import OptionError


def command(verb):
    app = typer.Typer(add_completion=False)
    app.command()(verb)
    return get_command(app)


def given(*arguments):
    """Return the settings that a verb gets for arguments, through Typer."""
    seen = []
    command(takes_settings(ReceiveSettings)(seen.append)).main(
        list(arguments), standalone_mode=False
    )
    (settings,) = seen
    return settings


def test_without_options_the_node_runs_as_by_its_own_defaults():
    settings = given()
    assert settings == ReceiveSettings()
    assert settings.for_node() == NodeSettings(Path("meninx-node"))
    with pytest.raises(FrozenInstanceError):
        settings.port = 1


def test_every_option_reaches_the_node(tmp_path):
    settings = given(
        "--host",
        "0.0.0.0",
        "--port",
        "0",
        "--title",
        "US",
        "--data",
        str(tmp_path),
        "--to",
        "PACS@127.0.0.1:104",
        "--to",
        "http://127.0.0.1:8042/dicom-web",
        "--caller",
        "MR1",
        "--caller",
        "MR2",
        "--caller-host",
        "127.0.0.1",
        "--quiet",
        "2.5",
        "--keep-hours",
        "1",
        "--disk-gib",
        "0.5",
        "--associations",
        "3",
        "--model",
        "one.onnx",
    )
    node_settings = settings.for_node()
    dimse, web = node_settings.peers
    assert (dimse, web.address) == (
        peer_of("PACS@127.0.0.1:104", "US"),
        "http://127.0.0.1:8042/dicom-web",
    )
    assert replace(node_settings, peers=()) == NodeSettings(
        tmp_path,
        host="0.0.0.0",
        port=0,
        title="US",
        callers=("MR1", "MR2"),
        hosts=("127.0.0.1",),
        quiet_seconds=2.5,
        keep_hours=1.0,
        max_bytes=2**29,
        max_associations=3,
        model=Path("one.onnx").resolve(),
    )


def test_the_command_has_an_option_for_every_field():
    options = {option.name: option for option in command(receive).params}
    assert set(options) == {field.name for field in fields(ReceiveSettings)}
    assert all(option.help for option in options.values())


@pytest.mark.parametrize(
    ("arguments", "is_open"),
    [
        ([], False),
        (["--host", "0.0.0.0"], True),
        (["--host", "0.0.0.0", "--caller", "MR1"], False),
        (["--host", "0.0.0.0", "--caller-host", "10.0.0.7"], False),
    ],
)
def test_a_port_that_anybody_may_use_is_known(arguments, is_open):
    assert given(*arguments).open_to_all is is_open


def test_a_certificate_that_is_none_is_refused(tmp_path):
    (tmp_path / "no.pem").write_text("nothing")
    settings = given("--tls-certificate", str(tmp_path / "no.pem"))
    with pytest.raises(OptionError, match="PEM"):
        settings.for_node()
    with pytest.raises(OptionError, match="PEM"):
        given("--tls-authority", str(tmp_path / "no.pem")).for_node()
