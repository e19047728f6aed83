"""Send the DICOM objects of studies to a PACS: asked for on the page, done by a worker, noted.

The database is the queue, as for scoring: a worker claims a delivery in one UPDATE until a time by
which it must be done.
"""

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from meninx._clinic.ledger import SENDING, SENT, WAITING, pause_after
from meninx._errors import MeninxError, OptionError, PeerError
from meninx._quiet import without_passwords
from meninx._web.auth.accounts import Reader
from meninx._web.store.audit import record
from meninx._web.store.database import DONE, Delivery, Study, now
from meninx._web.store.settings import Settings
from meninx._web.studies.marks import check_not_withdrawn
from meninx._web.studies.readers_objects import count_readers, readers_objects
from meninx._web.studies.study_files import READERS, RESULTS, SHOWN

FAILED = "failed"
ACCEPTED, THERE_ALREADY = "accepted", "was there already"
_GONE = "replaced by a later result; send the study again"
# Tries of a delivery before it is given up: the pauses between them take 75 s together.
_MAX_TRIES = 5
# Longest time that a worker takes for one try; afterwards another one takes the delivery.
_CLAIM = timedelta(minutes=15)

log = logging.getLogger(__name__)


def names_of_peers(settings: Settings) -> list[str]:
    """Return the addresses of the systems that results can be sent to, without passwords."""
    return [without_passwords(address).rstrip("/") for address in settings.peer_addresses]


def check_peers(settings: Settings) -> None:
    """Check the addresses of all peers.

    Args:
        settings: Settings of the server.

    Raises:
        OptionError: If an address is none, or what sends is not installed.
    """
    if not settings.peer_addresses:
        return
    if any(importlib.util.find_spec(name) is None for name in ("pynetdicom", "highdicom")):
        raise OptionError("MENINX_WEB_PEERS needs more packages: pip install 'meninx[hospital]'")
    for name in names_of_peers(settings):
        _peer_of(settings, name)


def _peer_of(settings: Settings, name: str) -> Any:
    """Return the peer of an address without its password."""
    from meninx._clinic.peers import peer_of

    addresses = dict(zip(names_of_peers(settings), settings.peer_addresses, strict=True))
    return peer_of(addresses[name], settings.title)


def request_delivery(
    session: Session, reader: Reader, study: Study, peer: str, settings: Settings
) -> Delivery:
    """Ask for the DICOM objects of a study to be sent, those of its readers too.

    Args:
        session: Database session.
        reader: Reader who asks.
        study: Study that was scored.
        peer: Address of the system, one of `names_of_peers`.
        settings: Settings of the server.

    Returns:
        The delivery, which waits for a worker.

    Raises:
        OptionError: If the study is withdrawn or not scored, has no objects, or there is no such
            peer.
    """
    check_not_withdrawn(study)
    known = names_of_peers(settings)
    if peer not in known:
        choices = ", ".join(known) or "none; the server's MENINX_WEB_PEERS names them"
        raise OptionError(f"no such system to send to; choose among {choices}")
    if study.state != DONE:
        raise OptionError("the study is not scored yet; send it once its finding is there")
    files = _results_of(study, settings)
    if not files:
        raise OptionError("there are no DICOM objects: the study's files are not DICOM")
    files += _write_readers_objects(session, study, settings)
    delivery = Delivery(
        study_id=study.id,
        user_name=reader.name,
        peer=peer,
        state=WAITING,
        objects=[
            {"file": str(path), "kind": _kind_of(path), "state": WAITING, "answer": ""}
            for path in files
        ],
    )
    session.add(delivery)
    session.flush()
    record(session, reader.name, "sending asked for", study.id, f"{len(files)} objects to {peer}")
    return delivery


def _results_of(study: Study, settings: Settings) -> list[Path]:
    """Return the files of the findings' objects, relative to the study's folder."""
    folder = settings.studies / study.id
    found = sorted((folder / SHOWN / RESULTS).glob("*.dcm"))
    return [path.relative_to(folder) for path in found]


def _write_readers_objects(session: Session, study: Study, settings: Settings) -> list[Path]:
    """Write the objects of readers' measurements, and return their paths in the study's folder."""
    written = []
    folder = settings.studies / study.id
    for name, data in readers_objects(session, study, settings).items():
        # Named by their UIDs, which are equal for equal measurements.
        path = folder / READERS / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        written.append(path.relative_to(folder))
    return written


def _kind_of(path: Path) -> str:
    """Return the kind of an object in words."""
    kind = path.name.partition("-")[0]
    return f"{kind} of a reader" if path.parent.name == READERS else kind


def retry(session: Session, reader: Reader, study: Study, number: int) -> Delivery:
    """Have a delivery tried again at once: what was accepted already is not sent twice.

    Args:
        session: Database session.
        reader: Reader who asks.
        study: Study that the delivery is of.
        number: Id of the delivery.

    Returns:
        The delivery, which waits for a worker.

    Raises:
        OptionError: If the study is withdrawn, has no such delivery, or it is sent already.
    """
    check_not_withdrawn(study)
    delivery = session.get(Delivery, number)
    if delivery is None or delivery.study_id != study.id:
        raise OptionError("no such delivery of this study; reload the page")
    if delivery.state not in (FAILED, WAITING):
        raise OptionError("this delivery was sent, or is being sent just now")
    # One try is kept: then the other system is asked first what it has.
    tries = min(delivery.tries, 1)
    delivery.state, delivery.tries, delivery.due, delivery.changed = WAITING, tries, now(), now()
    record(session, reader.name, "sending tried again", study.id, f"to {delivery.peer}")
    return delivery


def sendable(session: Session, study: Study, settings: Settings) -> dict[str, Any]:
    """Return where a study can be sent to, how many objects, and its deliveries so far."""
    results = _results_of(study, settings)
    query = select(Delivery).where(Delivery.study_id == study.id).order_by(Delivery.id.desc())
    return {
        "peers": names_of_peers(settings),
        "objects": len(results) + count_readers(session, study, settings) if results else 0,
        "deliveries": [delivery_response(delivery) for delivery in session.scalars(query)],
    }


def delivery_response(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as the API and the page get it."""
    waits_again = delivery.state == WAITING and delivery.tries > 0
    return {
        "id": delivery.id,
        "peer": delivery.peer,
        "state": delivery.state,
        "tries": delivery.tries,
        "user": delivery.user_name,
        "made": delivery.made.isoformat(),
        "changed": delivery.changed.isoformat(),
        "next": delivery.due.isoformat() if waits_again else None,
        "objects": [item | {"file": Path(item["file"]).name} for item in delivery.objects],
        "words": _in_words(delivery),
    }


def _in_words(delivery: Delivery) -> str:
    """Return how far a delivery has come, as a sentence."""
    count = len(delivery.objects)
    objects = f"{count} object{'s' if count > 1 else ''}"
    if delivery.state == SENT:
        return f"{delivery.peer} has accepted {objects}"
    if delivery.state == SENDING:
        return f"{objects} on the way to {delivery.peer}"
    if not delivery.tries:
        return f"{objects} wait to be sent to {delivery.peer}"
    there = sum(item["state"] == SENT for item in delivery.objects)
    tried = f"{delivery.peer} has accepted {there} of {objects}"
    if delivery.state == FAILED:
        return f"{tried}; given up, look at its answers and try again"
    return f"{tried}; tried again at {delivery.due:%H:%M:%S} UTC"


class Sender:
    """What sends deliveries that are due; several may share a database.

    Args:
        settings: Settings of the server.
        sessions: Factory of database sessions.
    """

    def __init__(self, settings: Settings, sessions: "sessionmaker[Any]") -> None:
        self._settings, self._sessions = settings, sessions

    def send_next(self) -> bool:
        """Send what is due for longest; return whether there was anything."""
        with self._sessions() as session:
            number = session.scalar(
                select(Delivery.id).where(*_due()).order_by(Delivery.due).limit(1)
            )
        if number is None:
            return False
        until = now() + _CLAIM
        with self._sessions.begin() as session:
            # One statement, so that of two workers only one takes it.
            taken = session.execute(
                update(Delivery)
                .where(Delivery.id == number, *_due())
                .values(state=SENDING, due=until, tries=Delivery.tries + 1, changed=now())
            ).rowcount
            delivery = session.get(Delivery, number) if taken else None
        if delivery is not None:
            objects = self._send(delivery)
            with self._sessions.begin() as session:
                self._finish(session, number, objects)
        return True

    def _send(self, delivery: Delivery) -> list[dict[str, Any]]:
        """Send the objects that are not there yet; return all with what was answered."""
        folder = self._settings.studies / delivery.study_id
        try:
            peer = _peer_of(self._settings, delivery.peer)
        except (KeyError, MeninxError):
            answer = "no longer among the systems that this server sends to"
            return [item | {"state": FAILED, "answer": answer} for item in delivery.objects]
        done: list[dict[str, Any]] = []
        answers: list[str] = []
        for item in delivery.objects:
            # A system that does not answer, or is full, says the same of all: the rest waits.
            stuck = len(answers) > 1 and answers[-1] == answers[-2]
            if item["state"] == SENT or stuck:
                done.append(item)
                continue
            answer, accepted = _send_one(peer, folder / item["file"], again=delivery.tries > 1)
            answers = [] if accepted else [*answers, answer]
            done.append(item | {"state": SENT if accepted else FAILED, "answer": answer})
        return done

    def _finish(self, session: Session, number: int, objects: Sequence[Mapping[str, Any]]) -> None:
        """Note what was answered, and when to try again."""
        delivery = session.get(Delivery, number)
        if delivery is None:  # its study was deleted
            return
        missing = sum(item["state"] != SENT for item in objects)
        gone = all(item["answer"] == _GONE for item in objects if item["state"] != SENT)
        delivery.objects, delivery.changed, delivery.state = list(objects), now(), SENT
        if missing:
            delivery.state = FAILED if gone or delivery.tries >= _MAX_TRIES else WAITING
            delivery.due = now() + timedelta(seconds=pause_after(delivery.tries))
        if delivery.state != WAITING:
            detail = f"{len(objects) - missing} of {len(objects)} objects to {delivery.peer}"
            record(session, "worker", f"sending: {delivery.state}", delivery.study_id, detail)


def _due() -> tuple[Any, ...]:
    """Return the conditions for deliveries to send now, also those whose worker was killed."""
    return Delivery.state.in_((WAITING, SENDING)), Delivery.due <= now()


def _send_one(peer: Any, path: Path, *, again: bool) -> tuple[str, bool]:
    """Send one object; return what was answered, and whether the system has it."""
    import pydicom

    if not path.is_file():
        return _GONE, False
    try:
        # After a lost response the system may have it already: it is not sent twice.
        if again and peer.has(pydicom.dcmread(path, stop_before_pixels=True)):
            return THERE_ALREADY, True
        peer.send([path])
    except (PeerError, OSError) as error:
        log.warning("an object was not sent: %s", type(error).__name__)
        return str(error).replace(f"{path.name}: ", "").replace(f"{path.name} ", ""), False
    return ACCEPTED, True


def release_claims(session: Session) -> None:
    """End the claims of a worker that was killed, if it was the only one."""
    session.execute(update(Delivery).where(Delivery.state == SENDING).values(due=now()))
