"""Readers' opinions on findings, each signed, and the check of all signatures."""

import hashlib
import hmac
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from meninx._errors import OptionError
from meninx._web.auth.accounts import Reader
from meninx._web.store.audit import record
from meninx._web.store.database import AuditEntry, Opinion, Study, now
from meninx._web.store.stored import stored_series
from meninx._web.studies.marks import check_box

Verdict = Literal["agree", "disagree", "region"]


def add_opinion(
    session: Session,
    reader: Reader,
    study: Study,
    scan: int,
    verdict: Verdict,
    note: str,
    region: dict[str, Any] | None,
    key: bytes,
) -> Opinion:
    """Store an opinion, signed with time and name; earlier opinions stay.

    Args:
        session: Database session.
        reader: Reader whose opinion it is.
        study: Study that the opinion is on.
        scan: Index of the scan in the study, from 0.
        verdict: `agree`, `disagree` or `region`.
        note: Note in words, cut off after 4000 characters.
        region: Corners `from` and `to` of a marked box, voxel indices [i, j, k], both inside the
            box; None without a mark.
        key: Secret of this server that signs.

    Returns:
        The stored opinion.

    Raises:
        OptionError: If there is no such scan, or a mark is missing, outside the image, or has
            `from` above `to`.
    """
    if scan >= max(1, len(study.findings)):
        raise OptionError(f"the study has no scan {scan}")
    if verdict == "region" and region is None:
        raise OptionError("mark two corners in the image first")
    if region is not None:
        check_box(stored_series(study)[scan].shown if study.findings else None, region)
    opinion = Opinion(
        study_id=study.id,
        scan=scan,
        user_name=reader.name,
        verdict=verdict,
        note=note[:4000],
        region=region,
        made=now(),
    )
    opinion.signature = signature_of(opinion, key)
    session.add(opinion)
    record(session, reader.name, f"opinion: {verdict}", study.id)
    return opinion


def signature_of(opinion: Opinion, key: bytes) -> str:
    """Return the signature of an opinion, which a later change would break (HMAC-SHA-256)."""
    content = (
        opinion.study_id,
        opinion.scan,
        opinion.user_name,
        opinion.verdict,
        opinion.note,
        opinion.region,
        opinion.made.isoformat(),
    )
    return hmac.new(key, repr(content).encode(), hashlib.sha256).hexdigest()


def opinions_of(session: Session, study: Study) -> list[Opinion]:
    """Return the opinions on a study, the newest first."""
    query = select(Opinion).where(Opinion.study_id == study.id).order_by(Opinion.id.desc())
    return list(session.scalars(query))


@dataclass(frozen=True)
class Verification:
    """Result of a check of all opinions.

    Args:
        right: Number of opinions with a valid signature.
        faults: Message for each opinion without one, and for each study with missing opinions.
    """

    right: int
    faults: tuple[str, ...]


def verify_opinions(session: Session, key: bytes) -> Verification:
    """Check every opinion against its signature, and their number against the audit log.

    Args:
        session: Database session.
        key: Secret of this server that signed them.

    Returns:
        Number of valid opinions, and the faults.
    """
    faults, counts = [], Counter[str]()
    for opinion in session.scalars(select(Opinion).order_by(Opinion.id)):
        counts[opinion.study_id] += 1
        if not hmac.compare_digest(opinion.signature.encode(), signature_of(opinion, key).encode()):
            faults.append(
                f"opinion {opinion.id} on study {opinion.study_id}: changed since it was signed"
            )
    right = counts.total() - len(faults)
    recorded = (
        select(AuditEntry.study_id, func.count())
        .where(AuditEntry.action.like("opinion: %"))
        .group_by(AuditEntry.study_id)
    )
    for study_id, count in session.execute(recorded):
        missing = count - counts[study_id or ""]
        if missing > 0:
            faults.append(f"study {study_id}: {missing} opinions of the audit log are missing")
    return Verification(right, tuple(faults))
