"""Readers' opinions on findings, each signed, and the check of all signatures."""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from meninx._errors import OptionError, counted
from meninx._web.auth.accounts import Reader
from meninx._web.store.audit import record
from meninx._web.store.database import AuditEntry, Opinion, Study, now
from meninx._web.store.stored_results import claimed_regions, stored_series
from meninx._web.studies.marks import check_box, check_markable

Verdict = Literal["tumor", "no_tumor", "cannot_tell"]
About = Literal["study", "series", "region"]
VERDICTS: Mapping[str, str] = {
    "tumor": "tumor",
    "no_tumor": "no tumor",
    "cannot_tell": "can't tell",
}
_DECIDED = ("tumor", "no_tumor")
_LONGEST_NOTE = 4000


@dataclass(frozen=True)
class Said:
    """What a reader says of a study, a series or a region of its heat map.

    Args:
        verdict: The reader's own answer.
        about: What it is about.
        scan: Index of the series, from 0; of an opinion on the study the one that `box` lies in.
        region: Number of the region in its series, from 1; None unless it is about a region.
        box: Corners `from` and `to` of a marked box, voxel indices [i, j, k] of that series, both
            inside the box; None without a mark.
        note: Note in words, cut off after 4000 characters.
    """

    verdict: Verdict
    about: About = "series"
    scan: int = 0
    region: int | None = None
    box: dict[str, Any] | None = None
    note: str = ""


def add_opinion(session: Session, reader: Reader, study: Study, said: Said, key: bytes) -> Opinion:
    """Store an opinion, signed with time and name; earlier opinions stay.

    Args:
        session: Database session.
        reader: Reader whose opinion it is.
        study: Study that the opinion is on.
        said: What the reader says.
        key: Secret of this server that signs.

    Returns:
        The stored opinion.

    Raises:
        OptionError: If the study is withdrawn or scored again just now, there is no such series or
            region, or a mark is outside the image or has `from` above `to`.
    """
    check_markable(study)
    _check(study, said)
    opinion = Opinion(
        study_id=study.id,
        about=said.about,
        scan=said.scan,
        region_number=said.region,
        user_name=reader.name,
        verdict=said.verdict,
        answer=_answer_to(study, said),
        note=said.note[:_LONGEST_NOTE],
        box=said.box,
        made=now(),
    )
    opinion.signature = signature_of(opinion, key)
    session.add(opinion)
    session.flush()
    record(session, reader.name, f"opinion: {said.verdict}", study.id, f"on the {said.about}")
    return opinion


def _check(study: Study, said: Said) -> None:
    """Check that series, region and box of an opinion exist."""
    if said.scan >= max(1, len(study.findings)):
        raise OptionError(f"the study has no scan {said.scan}")
    if (said.region is not None) != (said.about == "region"):
        raise OptionError("`region` is the number of a region, of an opinion about a region alone")
    series = stored_series(study)
    known = claimed_regions(series[said.scan]) if series else {}
    if said.region is not None and said.region not in known:
        raise OptionError(f"the series has no region {said.region}; reload the page")
    if said.box is not None:
        check_box(series[said.scan].shown if series else None, said.box)


def _answer_to(study: Study, said: Said) -> str:
    """Return the detector's answer, or status, that an opinion is about; empty before one."""
    if said.about == "study" or not study.findings:
        return study.decision or ""
    finding = study.findings[said.scan]
    return str(finding["decision"] or finding["status"])


def agrees(opinion: Opinion) -> bool | None:
    """Return whether a reader's answer is the detector's; None where one of the two is open."""
    if opinion.answer not in _DECIDED or opinion.verdict not in _DECIDED:
        return None
    return opinion.answer == opinion.verdict


def verdict_in_words(verdict: str) -> str:
    """Return a verdict as readers say it."""
    return VERDICTS.get(verdict, verdict)


def codes_in_words(text: str) -> str:
    """Return a text, such as a line of the audit log, with its verdicts as readers say them."""
    for verdict, words in VERDICTS.items():
        text = re.sub(rf"\b{verdict}\b", words, text)
    return text


def opinion_response(opinion: Opinion) -> dict[str, Any]:
    """Return an opinion as the API and the exports give it."""
    return {
        "id": opinion.id,
        "about": opinion.about,
        "scan": opinion.scan,
        "region": opinion.region_number,
        "user": opinion.user_name,
        "verdict": opinion.verdict,
        "words": verdict_in_words(opinion.verdict),
        "answer": opinion.answer,
        "agrees": agrees(opinion),
        "note": opinion.note,
        "box": opinion.box,
        "made": opinion.made.isoformat(),
        "signature": opinion.signature,
    }


def signature_of(opinion: Opinion, key: bytes) -> str:
    """Return the signature of an opinion, which a later change would break (HMAC-SHA-256)."""
    content: tuple[Any, ...] = (
        opinion.study_id,
        opinion.scan,
        opinion.user_name,
        opinion.verdict,
        opinion.note,
        opinion.box,
        opinion.made.isoformat(),
    )
    first_schema = opinion.answer is None and opinion.about == "series"
    if not first_schema or opinion.region_number is not None:  # these are no part of it
        content += (opinion.about, opinion.region_number, opinion.answer)
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
            lost = counted(missing, "opinion")
            faults.append(f"study {study_id}: {lost} of the audit log missing")
    return Verification(right, tuple(faults))
