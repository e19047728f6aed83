"""A DICOM node: receives studies, scores each once it is complete, and sends its results."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pydicom

from meninx._clinic.inbox import Inbox
from meninx._clinic.ledger import DROPPED, SENDING, SENT, WAITING, Delivery
from meninx._clinic.node_settings import NodeSettings
from meninx._clinic.storage_provider import SUCCESS, StorageProvider
from meninx._clinic.study_scoring import score_and_write
from meninx._errors import InputError, PeerError, counted
from meninx._scoring.worker import MAX_ATTEMPTS, Worker
from meninx._system_errors import system_error_in_words

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
# Pause between two reports of the node's health.
_REPORT_SECONDS = 60.0


class Node:
    """A DICOM node.

    Args:
        settings: Settings of the node.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.inbox = Inbox(settings.folder, settings.max_bytes)
        self.provider = StorageProvider(settings, self.inbox)
        self._peers = {peer.address: peer for peer in settings.peers}
        self._scorer = Worker(settings.worker_bytes, settings.study_seconds)
        self._started = datetime.now(UTC)
        # Since the start: instances that were refused, and studies that could not be scored.
        self._failed = 0
        self._next_report, self._reported = 0.0, True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)
        # Since the start: deliveries that no peer accepted.
        self.failed_deliveries = 0
        # Studies and peers of which it was said that a delivery failed.
        self._failing: set[tuple[str, str]] = set()

    @property
    def is_running(self) -> bool:
        """Whether it listens and works."""
        return self.provider.is_listening and self._thread.is_alive()

    def start(self) -> int:
        """Listen, and score and send in a thread.

        Returns:
            The port of the node.
        """
        self._thread.start()
        return self.provider.start()

    def stop(self) -> None:
        """Close associations, and wait for the work in progress."""
        self._stop.set()
        self.provider.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        self._scorer.close()
        self.inbox.close()

    def _run(self) -> None:
        """Score and send until stopped; in a single thread, so that nothing happens twice."""
        while not self._stop.is_set():
            try:
                self.inbox.ledger.requeue_interrupted()  # nothing is being sent at this point
                for name in self.inbox.unscored(self.settings.quiet_seconds):
                    if not self._is_being_sent(name):
                        self._score(name)
                self._deliver_due()
                self.inbox.delete_expired(
                    self.settings.keep_hours * 3600, self.provider.has_open_association
                )
                self._report_health()
            except Exception as error:
                words = system_error_in_words(error)
                if words is None:
                    log.exception("the node's work failed; it continues")
                else:  # such as a full disk, which says all
                    log.error("the node's work failed; it continues: %s", words)  # noqa: TRY400
                self._stop.wait(5)
            self._stop.wait(POLL_SECONDS)

    def _is_being_sent(self, name: str) -> bool:
        """Return whether an open association has sent instances of a study, and may send more."""
        return self.inbox.is_waited_for(name) and self.provider.has_open_association(name)

    def _report_health(self) -> None:
        """Tell the worklist each minute what came, what waits and what failed."""
        worklist = self.settings.worklist
        if worklist is None or time.monotonic() < self._next_report:
            return
        self._next_report = time.monotonic() + _REPORT_SECONDS
        try:
            worklist.report(self.health())
        except PeerError as error:
            if self._reported:  # said once, and not each minute
                log.warning("%s", error)
            self._reported = False
            return
        self._reported = True

    def health(self) -> dict[str, Any]:
        """Return the health of the node as numbers, for the web application."""
        state, responses = self.inbox.state(), self.provider.responses
        return {
            "title": self.settings.title,
            "started": self._started.isoformat(),
            "instances": state.instances,
            "studies": self.inbox.studies,
            "waiting": state.studies["waiting"],
            "scored": state.studies["scored"] + state.studies["failed"],
            "failed": self._failed,
            "refused": responses.total() - responses[SUCCESS],
            "results_sent": state.deliveries[SENT],
            "results_waiting": state.deliveries[WAITING] + state.deliveries[SENDING],
            "failing": self.inbox.ledger.failing(),
        }

    def _score(self, name: str) -> None:
        """Score a study, and queue its results."""
        incoming, results, content_hash = self.inbox.folders(name)
        if unfinished := self.inbox.note_unfinished(name):
            log.warning("study %s: %d of its series came incomplete", name[:8], unfinished)
        count = len(list(incoming.glob("*.dcm")))
        began = time.perf_counter()
        findings: list[dict[str, Any]] = []
        if self.inbox.ledger.begin_attempt(name) <= MAX_ATTEMPTS:
            try:
                findings = self._scorer.call(
                    score_and_write, incoming, results, self.settings.model
                )
            except InputError as error:  # until more of the study is received
                log.warning("study %s: %s", name[:8], error)
        self._failed += not findings
        files = sorted(results.glob("*.dcm")) if findings else []
        # The worklist shows studies that could not be scored, too.
        worklist = self.settings.worklist
        self.inbox.ledger.record_results(
            name,
            content_hash,
            files,
            list(self._peers),
            failed=not findings,
            worklist=worklist.address if worklist else None,
        )
        self._next_report = 0.0
        log.info(
            "study %s: %s scored in %.1f s, %s",
            name[:8],
            counted(count, "instance"),
            time.perf_counter() - began,
            counted(len(files), "result"),
        )

    def _deliver_due(self) -> None:
        unreachable = set()
        for delivery in self.inbox.ledger.due_deliveries():
            if self._stop.is_set():
                return
            # Wait only once for a peer that does not respond: other peers have results, too.
            if delivery.peer not in unreachable and not self._deliver(delivery):
                unreachable.add(delivery.peer)

    def _deliver(self, delivery: Delivery) -> bool:
        """Send a result, or hand a study over; return False if the peer did not accept it."""
        send = self._sender_of(delivery)
        if send is None:
            self.inbox.ledger.set_state(delivery, DROPPED)
            return True
        # After a kill or a lost response the peer may have it already: it is not sent twice.
        if delivery.tries and not delivery.is_study and self._peer_has(delivery):
            self._delivered(delivery)
            return True
        self.inbox.ledger.set_state(delivery, SENDING)
        try:
            send()
        except (PeerError, OSError) as error:
            self.failed_deliveries += 1
            self.inbox.ledger.set_state(delivery, WAITING, failed=True)
            if (delivery.study, delivery.peer) not in self._failing:  # said once for all tries
                self._failing.add((delivery.study, delivery.peer))
                log.warning("study %s: %s; it is tried again", delivery.study[:8], error)
            return False
        self._delivered(delivery)
        return True

    def _delivered(self, delivery: Delivery) -> None:
        """Record a delivery, and log the last one of a study to a peer."""
        self.inbox.ledger.set_state(delivery, SENT)
        sent, waiting = self.inbox.ledger.progress(delivery.study, delivery.peer)
        if waiting:
            return
        self._failing.discard((delivery.study, delivery.peer))
        what = "handed over" if delivery.is_study else f"{counted(sent, 'result')} delivered"
        log.info("study %s: %s to %s", delivery.study[:8], what, delivery.peer)

    def _sender_of(self, delivery: Delivery) -> Callable[[], None] | None:
        """Return a function that sends; None if the peer or the file no longer exists."""
        worklist, peer = self.settings.worklist, self._peers.get(delivery.peer)
        if delivery.is_study:
            if worklist is None or delivery.peer != worklist.address:
                return None
            return partial(worklist.hand_over, delivery.file)
        if peer is None or not delivery.file.is_file():
            return None
        return partial(peer.send, [delivery.file])

    def _peer_has(self, delivery: Delivery) -> bool:
        header = pydicom.dcmread(delivery.file, stop_before_pixels=True)
        return self._peers[delivery.peer].has(header)
