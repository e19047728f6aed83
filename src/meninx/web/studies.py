"""Receive studies, keep their pixels under random names, delete them."""

import hashlib
import hmac
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, event, func, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from meninx.errors import InputError, LimitExceeded, OptionError
from meninx.scan.heading import Heading
from meninx.scan.limits import DEFAULT_LIMITS
from meninx.web.accounts import ADMINISTRATOR, Reader, projects_of
from meninx.web.arrival import (
    Arrival,
    arrived_files,
    base_name,
    merged_series,
    note_name,
    sorted_into_studies,
    stored_name,
    unpack,
)
from meninx.web.audit import record
from meninx.web.database import (
    DONE,
    FIRST_PROJECT,
    RECEIVED,
    AuditEntry,
    Measurement,
    Member,
    Opinion,
    Project,
    Study,
    Upload,
    new_id,
    now,
)
from meninx.web.marks import check_box
from meninx.web.settings import Settings

# An upload that nothing came to for so long was broken off. Files of neither an upload nor a study
# were left by whatever was killed: no transaction lasts as long.
UPLOAD_HOURS, ORPHAN_HOURS = 24, 1
# The referred and the positive first, then what no answer was given to, then the rest.
PRIORITIES = {"refer": 0, "tumor": 1, "failed": 2, "refused": 3, "no_tumor": 4}
WAITING = 9
ANONYMOUS, UNTITLED, ERASED = "anonymous study", "untitled", "erased"
# What a study has from its headings, by the same names.
IDENTITY = (
    "patient_name", "patient_id", "birth_date", "accession", "study_date", "study_time",
    "description", "study_uid",
)  # fmt: skip
Verdict = Literal["agree", "disagree", "region"]
# Of a study's folder: what was uploaded, what the viewer shows, and in there the DICOM objects.
FILES, SHOWN, RESULTS = "files", "shown", "results"
# Of the series of that number, where it is DICOM: what reports on it refer to.
SOURCE = "{}-source.json"
# Behind the name by which a volume is asked for: it is packed once, by the worker. Packing 192
# slices for a request would take 0.7 s of a core, each time.
PACKED = ".gz"
# Of a stored finding, what is no part of the public JSON.
OWN_KEYS = ("viewer", "preview", "why", "objects", "series")


def visible(reader: Reader) -> ColumnElement[bool]:
    """Return which studies a reader may see: those of their projects; an administrator all."""
    if reader.administers:
        return true()
    return Study.project_id.in_(select(Member.project_id).where(Member.user_id == reader.id))


def in_project(name: str) -> ColumnElement[bool]:
    """Return which studies are of a project, by its name; all where it is empty."""
    return Study.project == name if name else true()


def public_findings(study: Study) -> list[dict[str, Any]]:
    """Return a study's findings, as `meninx predict --json` has them."""
    return [
        {key: value for key, value in one.items() if key not in OWN_KEYS} for one in study.findings
    ]


def known_series(study: Study) -> list[dict[str, Any]]:
    """Return what is known of each series: of its findings once it is done, else of its headers."""
    found = [one["series"] for one in study.findings if "series" in one]
    return found or list(study.series)


def answer_study(study: Study, result: Mapping[str, Any], *, anonymous: bool) -> None:
    """Write down what the detector says of a study: of each series, and of all at once.

    Args:
        study: That was scored.
        result: As `scoring.score_study` returns it.
        anonymous: Whether what headers and names of files tell is left out.
    """
    found = []
    for one in result["findings"]:
        more: dict[str, Any] = {"why": result["why"]}
        if "series" in one:
            more["series"] = _named(study, one["series"])
        if anonymous:
            more["identity"] = {}
            more["series"] = one.get("series", {}) | {"uid": "", "file": ""}
        found.append(one | more)
    shown = found[result["chosen"]] if found else {}
    whole = result["answer"]
    study.findings, study.chosen = found, result["chosen"]
    study.answer = whole and {**whole, "study": study.id}
    answer = whole or shown
    study.decision = answer.get("decision") or answer.get("status") or "failed"
    study.probability = answer.get("probability")
    study.priority = PRIORITIES[study.decision]


def _named(study: Study, series: Mapping[str, Any]) -> dict[str, Any]:
    """Return a series with number and description of its headers, and its file's own name."""
    told = [one for one in study.series if one["uid"] and one["uid"] == series["uid"]]
    # Careless exports give several series one UID: then a description would be a guess.
    more = {key: told[0][key] for key in ("number", "description")} if len(told) == 1 else {}
    file = study.file_names.get(series["file"], "")
    return {**series, **more, "file": file}


def start_upload(
    session: Session, reader: Reader, title: str, settings: Settings, project: str = ""
) -> Upload:
    """Begin an upload, of one or of many files.

    Args:
        session: Of the database.
        reader: Who uploads.
        title: For the worklist.
        settings: Say where files gather.
        project: Whose members will see it; empty for the reader's first one.

    Returns:
        What it is known by.

    Raises:
        OptionError: If the reader takes no part in that project, or in none at all.
    """
    projects = projects_of(session, reader)
    wanted = [one for one in projects if one.name == project or not project]
    if not wanted:
        told = ", ".join(one.name for one in projects) or "none; ask an administrator"
        raise OptionError(f"project {project!r}: not one of yours ({told})")
    shown = ANONYMOUS if settings.anonymise else title.strip()[:300] or UNTITLED
    upload = Upload(
        id=new_id(), user_id=reader.id, title=shown, bytes=0, project_id=wanted[0].id
    )  # fmt: skip
    session.add(upload)
    folder_of(settings, upload.id).mkdir(parents=True)
    return upload


def folder_of(settings: Settings, upload_id: str) -> Path:
    """Return where an upload's files gather."""
    return settings.uploads / upload_id


def own_upload(session: Session, reader: Reader, upload_id: str) -> Upload:
    """Return an upload of the reader's own.

    Args:
        session: Of the database.
        reader: Who asks.
        upload_id: As `start_upload` named it.

    Returns:
        The upload.

    Raises:
        OptionError: If there is none of that name.
    """
    upload = session.get(Upload, upload_id)
    if upload is None or upload.user_id != reader.id:
        raise OptionError("no such upload; begin again")
    return upload


def drop_upload(session: Session, upload: Upload, settings: Settings) -> None:
    """Delete an upload with its files."""
    session.delete(upload)
    shutil.rmtree(folder_of(settings, upload.id), ignore_errors=True)


def drop_old_uploads(session: Session, settings: Settings) -> int:
    """Delete uploads that were broken off, and files that belong to nothing.

    Args:
        session: Of the database.
        settings: Say where files are kept.

    Returns:
        How many folders went.
    """
    limit, orphan_limit = (now() - timedelta(hours=one) for one in (UPLOAD_HOURS, ORPHAN_HOURS))
    begun = dict(session.execute(select(Upload.id, Upload.created)).all())
    kept = {name for name, created in begun.items() if created >= limit}
    kept.update(session.scalars(select(Study.id)))
    broken_off = [
        folder for folder in (*settings.uploads.iterdir(), *settings.studies.iterdir())
        if folder.name not in kept
        and _last_change(folder) < (limit if folder.name in begun else orphan_limit)
    ]  # fmt: skip
    for folder in broken_off:
        shutil.rmtree(folder, ignore_errors=True)
    session.execute(delete(Upload).where(Upload.id.in_([folder.name for folder in broken_off])))
    return len(broken_off)


def _last_change(folder: Path) -> datetime:
    times = [path.stat().st_mtime for path in (folder, *folder.iterdir())]
    return datetime.fromtimestamp(max(times), UTC)


def file_of(settings: Settings, upload_id: str, name: str) -> Path:
    """Return where a file of an upload lies, whatever its name tries.

    Args:
        settings: Say where.
        upload_id: Of the upload.
        name: As the browser has it, folders and all.

    Returns:
        A path inside the upload's folder.
    """
    return folder_of(settings, upload_id) / stored_name(name)


def add_chunk(upload: Upload, name: str, offset: int, data: bytes, settings: Settings) -> int:
    """Write a part of a file; what came before is passed over.

    Args:
        upload: To which it belongs.
        name: Of the file.
        offset: Where the part begins.
        data: The part.
        settings: Say how much is allowed.

    Returns:
        How many bytes of the file there are now: where the next part begins.

    Raises:
        OptionError: If a part before this one is missing.
        LimitExceeded: If the upload becomes too large.
    """
    path = file_of(settings, upload.id, name)
    known = path.exists()
    there = path.stat().st_size if known else 0
    if offset > there:
        raise OptionError(f"part at {offset}, but only {there} bytes came before")
    new = data[there - offset :]
    total = upload.bytes + len(new)
    if total > settings.upload_bytes:
        raise LimitExceeded(f"upload of {total:,} bytes, the limit is {settings.upload_bytes:,}")
    if not known:
        note_name(path.parent, path.name, name)
    with path.open("ab") as file:
        file.write(new)
    upload.bytes = total
    return there + len(new)


def finish_upload(
    session: Session, reader: Reader, upload: Upload, settings: Settings, *, together: bool = False
) -> list[tuple[Study, bool]]:
    """Turn an upload into studies that wait for the detector, each of one patient.

    Args:
        session: Of the database.
        reader: Who uploads.
        upload: All of whose files are there.
        settings: Say where studies are kept.
        together: Whether its pictures and volumes are of one person, from one visit.

    Returns:
        At least one study, and whether it is new: the same content is kept and scored once.

    Raises:
        OptionError: If it holds no file.
        InputError: If a zip is damaged, leads out of itself, or unpacks to too much.
    """
    folder = folder_of(settings, upload.id)
    limits = replace(DEFAULT_LIMITS, zip_bytes=settings.upload_bytes)
    try:
        unpack(folder, limits, anonymous=settings.anonymise)
    except InputError:
        # Nothing could make it good: it goes at once.
        drop_upload(session, upload, settings)
        session.commit()
        raise
    files = arrived_files(folder, anonymous=settings.anonymise)
    if not files:
        raise OptionError("the upload holds no file")
    arrivals = sorted_into_studies(files, together=together)
    # What takes long, hashes of all files, comes before others have to wait.
    described = [
        _described(upload, arrival, settings, alone=len(arrivals) == 1) for arrival in arrivals
    ]
    _wait_for_others(session, upload.project_id)
    kept = [
        _keep(session, reader, study, arrival, settings)
        for study, arrival in zip(described, arrivals, strict=True)
    ]
    session.delete(upload)
    session.flush()
    # What is killed before the commit leaves the upload as it was.
    event.listen(session, "after_commit", lambda _: shutil.rmtree(folder, ignore_errors=True),
                 once=True)  # fmt: skip
    return kept


def _wait_for_others(session: Session, project_id: int) -> None:
    """Let uploads into a project end one after the other, from here to the commit.

    Two that hold halves of one exam would both look for a study to join, and find none. A row that
    is written is held by whoever wrote it, in every database; a constraint would not do, for an
    exam that a reader has judged gets a second study.
    """
    session.execute(
        update(Project).where(Project.id == project_id).values(name=Project.name)
        .execution_options(synchronize_session=False)
    )  # fmt: skip


def _described(upload: Upload, arrival: Arrival, settings: Settings, *, alone: bool) -> Study:
    """Return the study that an arrival becomes, with its identity."""
    study = Study(
        id=new_id(), title=upload.title, uploader_id=upload.user_id, state=RECEIVED, findings=[],
        received=now(), priority=WAITING, series=[], file_names={},
        content_hash=_hash_in(upload.project_id, arrival.content_hash),
        project_id=upload.project_id,
        bytes=sum(one.path.stat().st_size for one in arrival.files),
    )  # fmt: skip
    if settings.anonymise:
        return study
    told = arrival.heading
    if not alone:
        own = base_name(arrival.files[0].name)
        study.title = (told.description or upload.title if told.study_uid else own)[:300]
    elif upload.title == UNTITLED:
        study.title = told.description or told.patient_name or UNTITLED
    for name in IDENTITY:
        setattr(study, name, getattr(told, name))
    study.patient_key = person_key(told)
    study.series = merged_series([], arrival.files)
    return study


def _hash_in(project_id: int, content_hash: str) -> str:
    """Return the hash of some content in a project: members of another know nothing of it."""
    if project_id == FIRST_PROJECT:
        return content_hash
    return hashlib.sha256(f"{project_id}\n{content_hash}".encode()).hexdigest()


def person_key(heading: Heading) -> str:
    """Return what is equal for studies of one person alone; empty where in doubt.

    Careless exports give many people one PatientID, so name and birth date have to agree as well.
    """
    name = "".join(sign for sign in heading.patient_name.casefold() if sign.isalnum())
    if not heading.patient_id and not (name and heading.birth_date):
        return ""
    told = "\0".join((heading.patient, name, heading.birth_date))
    return hashlib.sha256(told.encode()).hexdigest()


def _keep(
    session: Session, reader: Reader, study: Study, arrival: Arrival, settings: Settings
) -> tuple[Study, bool]:
    """Store a study and its files, unless its content is here already.

    Args:
        session: Of the database.
        reader: Who uploads.
        study: As `_described` made it.
        arrival: Its files.
        settings: Say where studies are kept.

    Returns:
        The study that holds the files now, and whether it waits for the detector because of them.
    """
    same = select(Study).where(Study.content_hash == study.content_hash)
    known = session.scalar(same)
    if known is None and (part := _other_part(session, study)) is not None:
        return part, _grow(session, reader, part, study, arrival, settings)
    if known is None:
        target = settings.studies / study.id
        names = arrival.stored_names()
        if not settings.anonymise:
            study.file_names = {
                names[one.path]: base_name(one.name)
                for one in arrival.files if one.kind != "dicom"
            }  # fmt: skip
        event.listen(session, "after_rollback", lambda _: shutil.rmtree(target, ignore_errors=True),
                     once=True)  # fmt: skip
        _place(names, target / FILES)
        try:
            with session.begin_nested():
                session.add(study)
        except IntegrityError:
            # Somebody else's upload of the same files was faster.
            shutil.rmtree(target)
            known = session.scalar(same)
    if known is None:
        record(session, reader.name, "uploaded", study.id)
        return study, True
    # What was withdrawn comes back by being wanted again.
    known.withdrawn = None
    record(session, reader.name, "uploaded again", known.id)
    return known, False


def _other_part(session: Session, study: Study) -> Study | None:
    """Return the study that a new one is the rest of: of one person, with one StudyInstanceUID.

    Opinions and measurements are about its series as they were: such a study stays as it is.
    """
    if not study.study_uid or not study.patient_key:
        return None
    judged = select(Opinion.study_id).union_all(select(Measurement.study_id))
    return session.scalar(
        select(Study).where(
            Study.study_uid == study.study_uid, Study.patient_key == study.patient_key,
            Study.project_id == study.project_id, Study.erased.is_(None),
            Study.id.not_in(judged),
        )
    )  # fmt: skip


def _grow(
    session: Session, reader: Reader, study: Study, more: Study, arrival: Arrival,
    settings: Settings,
) -> bool:  # fmt: skip
    """Add files to a study, to be scored anew; return whether there were any new ones."""
    folder = settings.studies / study.id / FILES
    names = {path: name for path, name in arrival.stored_names().items()
             if not (folder / name).exists()}  # fmt: skip
    if not names:
        record(session, reader.name, "uploaded again", study.id)
        return False
    # Written first: whoever adds to it at the same time waits here.
    session.execute(
        update(Study).where(Study.id == study.id)
        .values(state=RECEIVED, lease=None, priority=WAITING, attempts=0)
    )  # fmt: skip
    session.refresh(study)
    _place(names, folder)
    study.series = merged_series(study.series, [one for one in arrival.files if one.path in names])
    study.bytes += sum(path.stat().st_size for path in names)
    told = study.content_hash + more.content_hash
    study.content_hash = hashlib.sha256(told.encode()).hexdigest()
    record(session, reader.name, "more uploaded", study.id)
    return True


def _place(names: Mapping[Path, str], folder: Path) -> None:
    """Put files into a study's folder; where they gathered they stay until all is committed."""
    for path, name in names.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(path)
        except OSError:  # a file system that knows no links
            shutil.copyfile(path, target)


def may_delete(reader: Reader, study: Study) -> bool:
    """Return whether a reader may take a study away: who uploaded it, or an administrator."""
    return reader.administers or study.uploader_id == reader.id


def delete_study(
    session: Session, reader: Reader, study: Study, settings: Settings, reason: str = ""
) -> None:
    """Delete a study with its pixels; one with opinions is withdrawn, or erased for a reason.

    Opinions stay, with who gave them when on what answer. The audit log keeps what was done.

    Args:
        session: Of the database.
        reader: Who deletes; of a study with opinions an administrator erases pixels and identity.
        study: Which one.
        settings: Say where its files lie.
        reason: Why it is erased; empty to withdraw it.

    Raises:
        OptionError: If somebody else gives a reason to erase.
    """
    judged = session.scalar(select(Opinion.id).where(Opinion.study_id == study.id).limit(1))
    if judged is not None and not reason:
        study.withdrawn = now()
        record(session, reader.name, "withdrawn", study.id)
        return
    if judged is not None and not reader.administers:
        raise OptionError("readers have given opinions on it: an administrator alone erases it")
    shutil.rmtree(settings.studies / study.id, ignore_errors=True)
    if judged is None:
        session.delete(study)
    else:
        _forget_identity(study)
    record(session, reader.name, "erased" if judged else "deleted", study.id, reason)


def _forget_identity(study: Study) -> None:
    """Leave of a study its answer alone."""
    for name in (*IDENTITY, "patient_key"):
        setattr(study, name, "")
    study.title, study.content_hash = ERASED, f"erased {study.id}"
    study.findings, study.series, study.file_names = [], [], {}
    study.state, study.lease, study.chosen, study.bytes = DONE, None, 0, 0
    study.withdrawn = study.withdrawn or now()
    study.erased = now()


def delete_old_studies(session: Session, settings: Settings) -> int:
    """Delete what is older than the retention time; return how many studies that were."""
    if not settings.retention_days:
        return 0
    limit = now() - timedelta(days=settings.retention_days)
    old = list(session.scalars(select(Study).where(Study.received < limit, Study.erased.is_(None))))
    keeper = Reader(0, "retention", ADMINISTRATOR)
    for study in old:
        delete_study(session, keeper, study, settings, "older than the retention time")
    return len(old)


def add_opinion(
    session: Session, reader: Reader, study: Study, scan: int, verdict: Verdict, note: str,
    region: dict[str, Any] | None, key: bytes,
) -> Opinion:  # fmt: skip
    """Store what a reader says, signed with time and name; earlier opinions stay.

    Args:
        session: Of the database.
        reader: Who says it.
        study: Of what.
        scan: Which of its scans.
        verdict: `agree`, `disagree` or `region`.
        note: In words.
        region: Two voxels `from` and `to` of a marked box, both inside it; None without a mark.
        key: Secret of this server that signs.

    Returns:
        What was stored.

    Raises:
        OptionError: If there is no such scan, or a mark is missing, outside the image or inside
            out.
    """
    if scan >= max(1, len(study.findings)):
        raise OptionError(f"the study has no scan {scan}")
    if verdict == "region" and region is None:
        raise OptionError("mark two corners in the image first")
    if region is not None:
        check_box(study.findings[scan] if study.findings else None, region)
    opinion = Opinion(
        study_id=study.id, scan=scan, user_name=reader.name, verdict=verdict, note=note[:4000],
        region=region, made=now(),
    )  # fmt: skip
    opinion.signature = signature_of(opinion, key)
    session.add(opinion)
    record(session, reader.name, f"opinion: {verdict}", study.id)
    return opinion


def signature_of(opinion: Opinion, key: bytes) -> str:
    """Return what proves that an opinion is as it was stored (HMAC-SHA-256)."""
    told = (
        opinion.study_id, opinion.scan, opinion.user_name, opinion.verdict, opinion.note,
        opinion.region, opinion.made.isoformat(),
    )  # fmt: skip
    return hmac.new(key, repr(told).encode(), hashlib.sha256).hexdigest()


def opinions_of(session: Session, study: Study) -> list[Opinion]:
    """Return what was said of a study, the newest first."""
    query = select(Opinion).where(Opinion.study_id == study.id).order_by(Opinion.id.desc())
    return list(session.scalars(query))


@dataclass(frozen=True)
class Verification:
    """What a check of all opinions found.

    Args:
        right: Number of opinions that are as they were stored.
        faults: A line for each that is not, or that is missing.
    """

    right: int
    faults: tuple[str, ...]


def verify_opinions(session: Session, key: bytes) -> Verification:
    """Check every opinion against its signature, and their number against the audit log.

    Args:
        session: Of the database.
        key: Secret of this server that signed.

    Returns:
        What was found.
    """
    faults, counts = [], Counter[str]()
    for one in session.scalars(select(Opinion).order_by(Opinion.id)):
        counts[one.study_id] += 1
        if not hmac.compare_digest(one.signature.encode(), signature_of(one, key).encode()):
            faults.append(f"opinion {one.id} on study {one.study_id}: not as it was signed")
    right = counts.total() - len(faults)
    known = (
        select(AuditEntry.study_id, func.count()).where(AuditEntry.action.like("opinion: %"))
        .group_by(AuditEntry.study_id)
    )  # fmt: skip
    for study_id, count in session.execute(known):
        missing = count - counts[study_id or ""]
        if missing > 0:
            faults.append(f"study {study_id}: {missing} opinions of the audit log are missing")
    return Verification(right, tuple(faults))
