"""What `meninx config check` tries of each section: folders, database, certificates, peers."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from meninx._cli.extras import needs_extra
from meninx._cli.writable import bound_socket, check_folder
from meninx._errors import MeninxError, OptionError
from meninx._quiet import without_passwords
from meninx._system_errors import system_error_in_words

GIB = 1024**3
# Days before its end from which a certificate is named.
_SOON_DAYS = 30


@dataclass(frozen=True)
class Probe:
    """What came of one trial.

    Args:
        key: Key of the section.
        text: What was found.
        outcome: Whether it works; NOTE for what a person should know.
    """

    key: str
    text: str
    outcome: Literal["ok", "NOTE", "FAULT"] = "ok"


@dataclass
class Trials:
    """The trials of a section; an error in one does not end the others."""

    done: list[Probe] = field(default_factory=list)

    @contextmanager
    def of(self, key: str) -> Iterator[Callable[..., None]]:
        """Try something; an error becomes a fault of the key.

        Args:
            key: Key of the section.

        Yields:
            A function that records what was found.
        """

        def say(text: str, outcome: Literal["ok", "NOTE", "FAULT"] = "ok") -> None:
            self.done.append(Probe(key, without_passwords(text), outcome))

        try:
            yield say
        except MeninxError as error:
            say(str(error), "FAULT")
        except Exception as error:  # noqa: BLE001 - drivers of databases raise their own
            words = system_error_in_words(error) or str(error).partition("\n")[0]
            say(f"{type(error).__name__}: {words}", "FAULT")


def _try_folder(trials: Trials, key: str, folder: Path) -> None:
    with trials.of(key) as say:
        check_folder(folder, "")
        existing = next(
            parent for parent in (folder, *folder.absolute().parents) if parent.exists()
        )
        free = shutil.disk_usage(existing).free / GIB
        made = "" if folder.is_dir() else ", will be made"
        say(f"{folder}{made}: can be written, {free:.1f} GiB left")


def _try_port(trials: Trials, host: str, port: int) -> None:
    with trials.of("port") as say:
        try:
            bound_socket(host, port).close()
        except OptionError as error:
            say(f"{error}; well if the service itself runs", "NOTE")
        else:
            say(f"{host}:{port} is free")


def _try_model(trials: Trials, model: Path | None) -> None:
    from meninx._detect.loading import load_detector

    with trials.of("model") as say:
        detector = load_detector(model)
        say(f"{detector.model['name']}, SHA-256 {detector.model['sha256'][:16]}")


def _try_certificates(trials: Trials, options: Mapping[str, Any]) -> None:
    from meninx._cli.options import tls_context

    files = {key: options[key] for key in ("tls_certificate", "tls_key", "tls_authority")}
    if not any(files.values()):
        return
    with trials.of("tls_certificate") as say:
        tls_context(*files.values(), server=True)
        say("certificate and key fit")
    for key in ("tls_certificate", "tls_authority"):
        if files[key]:
            with trials.of(key) as say:
                days = _days_left(files[key])
                outcome: Literal["ok", "NOTE", "FAULT"] = "ok" if days > _SOON_DAYS else "NOTE"
                say(f"ends in {days:.0f} days", "FAULT" if days <= 0 else outcome)


def _days_left(certificates: Path) -> float:
    """Return the days until the first of a file's certificates ends."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(certificates.read_bytes())
    except ValueError as error:
        raise OptionError(f"{certificates}: no certificate; expected PEM") from error
    ends = min(certificate.not_valid_after_utc for certificate in found)
    return (ends - datetime.now(UTC)).total_seconds() / 86400


def _probe_web(options: Mapping[str, Any]) -> list[Probe]:
    """Try what `meninx serve` needs."""
    from meninx._cli.web_options import LOCAL, web_settings

    trials = Trials()
    with trials.of("settings") as say:
        settings = web_settings(options["data"], options["database"], options["model"])
        if options["host"] not in LOCAL and not settings.secure_cookies:
            say("listens beyond this machine, but secure_cookies is not set", "NOTE")
        _try_folder(trials, "data", settings.data)
        _try_port(trials, options["host"], options["port"])
        _try_model(trials, settings.model)
        with trials.of("database") as say_of_database:
            say_of_database(_database_state(settings.address))
        if settings.oidc_issuer:
            with trials.of("oidc_issuer") as say_of_issuer:
                say_of_issuer(_issuer_state(settings.oidc_issuer))
    return trials.done


def _database_state(address: str) -> str:
    """Return what there is at a database's address; nothing is changed or made."""
    from sqlalchemy import make_url

    from meninx._web.store.database import latest_revision, revision_of

    url = make_url(address)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return f"{shown}: will be made at the first start"
    revision, latest = revision_of(address), latest_revision()
    if revision is None:
        return f"{shown}: answers, is empty; tables will be made at the first start"
    if revision != latest:
        return f"{shown}: revision {revision}, the next start upgrades it to {latest}; back it up"
    return f"{shown}: answers, revision {revision}"


def _issuer_state(issuer: str) -> str:
    import json
    import urllib.request

    address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    with urllib.request.urlopen(address, timeout=10) as response:
        stated = json.load(response).get("issuer")
    if stated != issuer:
        raise OptionError(f"{issuer}: calls itself {stated}; take that as oidc_issuer")
    return f"{issuer} answers"


def _probe_receive(options: Mapping[str, Any]) -> list[Probe]:
    """Try what `meninx receive` needs."""
    from meninx._cli.receive_settings import ReceiveSettings, worklist_of

    with needs_extra("hospital"):
        from meninx._clinic.peers import peer_of
    settings = ReceiveSettings(**options)
    trials = Trials()
    _try_folder(trials, "data", settings.data)
    _try_port(trials, settings.host, settings.port)
    _try_model(trials, settings.model)
    _try_certificates(trials, options)
    if settings.open_to_all:
        with trials.of("caller") as say:
            say("any machine that reaches the port may send", "NOTE")
    for address in settings.to or ():
        with trials.of("to") as say:
            peer = peer_of(address, settings.title, settings.tls(server=False))
            peer.echo()
            say(f"{peer.address} answers")
    if not settings.to and not settings.worklist:
        with trials.of("to") as say:
            say("no peer: results stay in the data folder until they are deleted", "NOTE")
    if settings.worklist:
        with trials.of("worklist") as say:
            worklist = worklist_of(settings.worklist)
            worklist.echo()
            say(f"{worklist.address} accepts the key")
    return trials.done


def _probe_archive(options: Mapping[str, Any]) -> list[Probe]:
    """Try what `meninx score-archive` needs."""
    with needs_extra("archive"):
        from meninx._archive.store import open_store
    trials = Trials()
    _try_model(trials, options["model"])
    if options["source"]:
        with trials.of("source") as say:
            open_store(options["source"])
            say(f"{options['source']} can be opened")
    if options["out"]:
        _try_folder(trials, "out", options["out"])
    return trials.done


PROBES: Mapping[str, Callable[[Mapping[str, Any]], list[Probe]]] = MappingProxyType(
    {"web": _probe_web, "receive": _probe_receive, "score-archive": _probe_archive}
)
