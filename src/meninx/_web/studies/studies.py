"""Receive studies, store their files under random names, delete them."""

import hashlib
import hmac
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, event, func, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from meninx._errors import InputError, LimitExceeded, OptionError
from meninx._scan.dicom.heading import Heading
from meninx._scan.geometry import spacing_from_text
from meninx._scan.limits import DEFAULT_LIMITS
from meninx._web.auth.accounts import ADMINISTRATOR, Reader, projects_of
from meninx._web.store.audit import record
from meninx._web.store.database import (
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
from meninx._web.store.settings import Settings
from meninx._web.store.stored import StoredSeries, StudyResult, series_identities, stored_series
from meninx._web.studies.arrival import (
    Arrival,
    arrived_files,
    base_name,
    merged_series,
    note_name,
    sorted_into_studies,
    stored_name,
    unpack,
)
from meninx._web.studies.marks import check_box

# Hours without a new file after which an upload is abandoned, and after which a folder of neither
# an upload nor a study was left by a killed process: no transaction lasts as long.
UPLOAD_HOURS, ORPHAN_HOURS = 24, 1
# Order of the worklist: the referred and the positive, then studies without an answer, then the
# negative.
PRIORITIES = {"refer": 0, "tumor": 1, "failed": 2, "refused": 3, "no_tumor": 4}
WAITING = 9
ANONYMOUS, UNTITLED, ERASED = "anonymous study", "untitled", "erased"
# Columns of a study that come from its headings, which have the same names.
IDENTITY = (
    "patient_name",
    "patient_id",
    "birth_date",
    "accession",
    "study_date",
    "study_time",
    "description",
    "study_uid",
)
Verdict = Literal["agree", "disagree", "region"]
# Subfolders of a study's folder: uploaded files, what the viewer shows, and inside that the DICOM
# objects.
FILES, SHOWN, RESULTS = "files", "shown", "results"
# Source instances of a DICOM series by its number, which structured reports refer to.
SOURCE = "{}-source.json"
# Suffix of a stored volume behind its name in addresses: the worker compresses it once, for 192
# slices take 0.7 s of a core.
PACKED = ".gz"


def visible(reader: Reader) -> ColumnElement[bool]:
    """Return the condition for studies that a reader may see; an administrator sees all."""
    if reader.administers:
        return true()
    return Study.project_id.in_(select(Member.project_id).where(Member.user_id == reader.id))


def in_project(name: str) -> ColumnElement[bool]:
    """Return the condition for studies of a project, by its name; all where it is empty."""
    return Study.project == name if name else true()


def public_findings(study: Study) -> list[dict[str, Any]]:
    """Return a study's findings, as `meninx predict --json` has them."""
    return [series.findings.as_json() for series in stored_series(study)]


def known_series(study: Study) -> list[dict[str, Any]]:
    """Return the series of a study: from its findings once it is done, before from its headers."""
    return [asdict(identity) for identity in series_identities(study)] or list(study.series)


def answer_study(study: Study, result: StudyResult, *, deidentify: bool) -> None:
    """Store the detector's findings of each series, and its answer from all of them, in a study.

    Args:
        study: Study that was scored.
        result: Series and answer, as `scoring.score_study` returns them.
        deidentify: Whether identity from headers and names of files is left out.
    """
    series = [
        _without_identity(one) if deidentify else _with_file_name(study, one)
        for one in result.series
    ]
    study.findings, study.chosen = [one.as_json() for one in series], result.chosen
    study.answer = None if result.answer is None else result.answer.as_json() | {"study": study.id}
    shown = result.series[result.chosen].findings if result.series else None
    answer = result.answer or shown
    study.decision = (answer.decision or answer.status) if answer else "failed"
    # As the public JSON has it: both are compared.
    study.probability = answer.as_json()["probability"] if answer else None
    study.priority = PRIORITIES[study.decision]


def _without_identity(series: StoredSeries) -> StoredSeries:
    findings = replace(series.findings, identity={})
    return replace(series, findings=findings, identity=series.identity.without_names())


def _with_file_name(study: Study, series: StoredSeries) -> StoredSeries:
    """Return a series with its uploaded file's name in place of the stored one's."""
    name = study.file_names.get(series.identity.file, "")
    return replace(series, identity=replace(series.identity, file=name))


def start_upload(
    session: Session,
    reader: Reader,
    title: str,
    settings: Settings,
    project: str = "",
    spacing: str = "",
) -> Upload:
    """Begin an upload, of one or of many files.

    Args:
        session: Database session.
        reader: Reader who uploads.
        title: Title for the worklist, cut off after 300 characters.
        settings: Settings of the server, with the folder of uploads.
        project: Name of the project whose members will see it; empty for the reader's first one.
        spacing: Voxel size of volumes whose files lost it, such as `0.9,0.9,6.5`; or empty.

    Returns:
        The upload.

    Raises:
        OptionError: If the reader is no member of that project, or of none at all; or if the
            spacing is none.
    """
    if spacing:
        spacing = ",".join(f"{side:g}" for side in spacing_from_text(spacing))
    projects = projects_of(session, reader)
    matching = [one for one in projects if one.name == project or not project]
    if not projects:
        raise OptionError("you are in no project; ask an administrator to add you to one")
    if not matching:
        names = ", ".join(one.name for one in projects)
        raise OptionError(f"project {project!r}: not one of yours; choose among {names}")
    shown = ANONYMOUS if settings.deidentify else title.strip()[:300] or UNTITLED
    upload = Upload(
        id=new_id(),
        user_id=reader.id,
        title=shown,
        bytes=0,
        project_id=matching[0].id,
        spacing=spacing,
    )
    session.add(upload)
    folder_of(settings, upload.id).mkdir(parents=True)
    return upload


def folder_of(settings: Settings, upload_id: str) -> Path:
    """Return the folder of an upload's files."""
    return settings.uploads / upload_id


def own_upload(session: Session, reader: Reader, upload_id: str) -> Upload:
    """Return an upload of the reader's own.

    Args:
        session: Database session.
        reader: Reader who uploads.
        upload_id: Id of the upload, unchecked.

    Returns:
        The upload.

    Raises:
        OptionError: If the reader has no such upload.
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
    """Delete abandoned uploads, and folders of neither an upload nor a study.

    Args:
        session: Database session.
        settings: Settings of the server, with the folders of uploads and studies.

    Returns:
        Number of folders that were deleted.
    """
    limit, orphan_limit = (now() - timedelta(hours=one) for one in (UPLOAD_HOURS, ORPHAN_HOURS))
    begun = dict(session.execute(select(Upload.id, Upload.created)).all())
    in_use = {name for name, created in begun.items() if created >= limit}
    in_use.update(session.scalars(select(Study.id)))
    abandoned = [
        folder
        for folder in (*settings.uploads.glob("*"), *settings.studies.glob("*"))
        if folder.name not in in_use
        and _last_change(folder) < (limit if folder.name in begun else orphan_limit)
    ]
    for folder in abandoned:
        shutil.rmtree(folder, ignore_errors=True)
    session.execute(delete(Upload).where(Upload.id.in_([folder.name for folder in abandoned])))
    return len(abandoned)


def _last_change(folder: Path) -> datetime:
    times = [path.stat().st_mtime for path in (folder, *folder.iterdir())]
    return datetime.fromtimestamp(max(times), UTC)


def file_of(settings: Settings, upload_id: str, name: str) -> Path:
    """Return the path of a file of an upload.

    Args:
        settings: Settings of the server, with the folder of uploads.
        upload_id: Id of the upload.
        name: Name on the user's computer, with its folders; it may be hostile.

    Returns:
        Path inside the upload's folder.
    """
    return folder_of(settings, upload_id) / stored_name(name)


def add_chunk(upload: Upload, name: str, offset: int, data: bytes, settings: Settings) -> int:
    """Append a part of a file; bytes that are stored already are skipped.

    Args:
        upload: Upload that the file belongs to.
        name: Name of the file on the user's computer.
        offset: Offset of the part in the file, bytes.
        data: Bytes of the part.
        settings: Settings of the server, with the largest upload.

    Returns:
        Number of bytes of the file that are stored now, which is the offset of the next part.

    Raises:
        OptionError: If a part before this one is missing.
        LimitExceeded: If the upload becomes too large.
    """
    path = file_of(settings, upload.id, name)
    known = path.exists()
    stored = path.stat().st_size if known else 0
    if offset > stored:
        raise OptionError(
            f"the part begins at byte {offset}, but only {stored} bytes were received; go on there"
        )
    new = data[stored - offset :]
    total = upload.bytes + len(new)
    if total > settings.upload_bytes:
        raise LimitExceeded(
            f"upload of {total:,} bytes, the limit is {settings.upload_bytes:,}; upload fewer files"
        )
    if not known:
        note_name(path.parent, path.name, name)
    with path.open("ab") as file:
        file.write(new)
    upload.bytes = total
    return stored + len(new)


def finish_upload(
    session: Session, reader: Reader, upload: Upload, settings: Settings, *, together: bool = False
) -> list[tuple[Study, bool]]:
    """Turn an upload into studies that wait for the detector, each of one patient.

    Args:
        session: Database session.
        reader: Reader who uploads.
        upload: Upload with all of its files.
        settings: Settings of the server, with the folder of studies.
        together: Whether its pictures and volumes are of one person, from one visit.

    Returns:
        At least one study, each with whether it is new: the same content is stored and scored once.

    Raises:
        OptionError: If the upload has no file.
        InputError: If an archive is damaged, has an entry that leads out of it, or unpacks to more
            than the limits allow.
    """
    folder = folder_of(settings, upload.id)
    limits = replace(DEFAULT_LIMITS, zip_bytes=settings.upload_bytes)
    try:
        unpack(folder, limits, deidentify=settings.deidentify)
    except InputError:
        # No further file can repair it.
        drop_upload(session, upload, settings)
        session.commit()
        raise
    files = arrived_files(folder, deidentify=settings.deidentify)
    if not files:
        raise OptionError("the upload has no file; send its files before you finish it")
    arrivals = sorted_into_studies(files, together=together)
    # Before the lock, because hashes of all files take long.
    new = [_new_study(upload, arrival, settings, alone=len(arrivals) == 1) for arrival in arrivals]
    _wait_for_others(session, upload.project_id)
    stored = [
        _store(session, reader, study, arrival, settings)
        for study, arrival in zip(new, arrivals, strict=True)
    ]
    session.delete(upload)
    session.flush()
    # Not before: a server killed now leaves the upload as it was.
    event.listen(
        session, "after_commit", lambda _: shutil.rmtree(folder, ignore_errors=True), once=True
    )
    return stored


def _wait_for_others(session: Session, project_id: int) -> None:
    """Lock a project until the commit, so that its uploads are stored one after the other.

    Two uploads with halves of one exam would otherwise both find no study to join. Every database
    locks a row that is written. A unique constraint would not do, because an exam with opinions
    gets a second study.
    """
    session.execute(
        update(Project)
        .where(Project.id == project_id)
        .values(name=Project.name)
        .execution_options(synchronize_session=False)
    )


def _new_study(upload: Upload, arrival: Arrival, settings: Settings, *, alone: bool) -> Study:
    """Return a study of arrived files, with its identity."""
    study = Study(
        id=new_id(),
        title=upload.title,
        uploader_id=upload.user_id,
        state=RECEIVED,
        findings=[],
        received=now(),
        priority=WAITING,
        series=[],
        file_names={},
        # The same files with another voxel size are another study: its answer may differ.
        content_hash=_hash_in(upload.project_id, _hash_with(upload.spacing, arrival.content_hash)),
        project_id=upload.project_id,
        spacing=upload.spacing,
        bytes=sum(one.path.stat().st_size for one in arrival.files),
    )
    if settings.deidentify:
        return study
    heading = arrival.heading
    if not alone:
        own = base_name(arrival.files[0].name)
        study.title = (heading.description or upload.title if heading.study_uid else own)[:300]
    elif upload.title == UNTITLED:
        study.title = heading.description or heading.patient_name or UNTITLED
    for name in IDENTITY:
        setattr(study, name, getattr(heading, name))
    study.patient_key = person_key(heading)
    study.series = merged_series([], arrival.files)
    return study


def _hash_with(spacing: str, content_hash: str) -> str:
    """Return the hash of content that is scored with a voxel size of its own."""
    if not spacing:
        return content_hash
    return hashlib.sha256(f"{content_hash} {spacing}".encode()).hexdigest()


def _hash_in(project_id: int, content_hash: str) -> str:
    """Return the hash of content in a project, so that no other project learns of it."""
    if project_id == FIRST_PROJECT:
        return content_hash
    return hashlib.sha256(f"{project_id}\n{content_hash}".encode()).hexdigest()


def person_key(heading: Heading) -> str:
    """Return a hash that only studies of one person share; empty where in doubt.

    Careless exports give many people one PatientID, so name and birth date have to agree as well.
    """
    name = "".join(sign for sign in heading.patient_name.casefold() if sign.isalnum())
    if not heading.patient_id and not (name and heading.birth_date):
        return ""
    identity = "\0".join((heading.patient, name, heading.birth_date))
    return hashlib.sha256(identity.encode()).hexdigest()


def _store(
    session: Session, reader: Reader, study: Study, arrival: Arrival, settings: Settings
) -> tuple[Study, bool]:
    """Store a study and its files, unless the same content is stored already.

    Args:
        session: Database session.
        reader: Reader who uploads.
        study: New study, as `_new_study` returns it.
        arrival: Files of the study.
        settings: Settings of the server, with the folder of studies.

    Returns:
        The study that has the files now, and whether it waits for the detector because of them.
    """
    same = select(Study).where(Study.content_hash == study.content_hash)
    known = session.scalar(same)
    if known is None and (part := _other_part(session, study)) is not None:
        return part, _grow(session, reader, part, study, arrival, settings)
    if known is None:
        target = settings.studies / study.id
        names = arrival.stored_names()
        if not settings.deidentify:
            study.file_names = {
                names[one.path]: base_name(one.name) for one in arrival.files if one.kind != "dicom"
            }
        event.listen(
            session,
            "after_rollback",
            lambda _: shutil.rmtree(target, ignore_errors=True),
            once=True,
        )
        _place(names, target / FILES)
        try:
            with session.begin_nested():
                session.add(study)
        except IntegrityError:
            # Another upload of the same files was stored first.
            shutil.rmtree(target)
            known = session.scalar(same)
    if known is None:
        record(session, reader.name, "uploaded", study.id)
        return study, True
    # A withdrawn study returns to the worklist when it is uploaded again.
    known.withdrawn = None
    record(session, reader.name, "uploaded again", known.id)
    return known, False


def _other_part(session: Session, study: Study) -> Study | None:
    """Return the stored study that a new one belongs to, by person and StudyInstanceUID.

    A study with opinions or measurements gets no more files: they are about the series so far.
    """
    if not study.study_uid or not study.patient_key:
        return None
    judged = select(Opinion.study_id).union_all(select(Measurement.study_id))
    return session.scalar(
        select(Study).where(
            Study.study_uid == study.study_uid,
            Study.patient_key == study.patient_key,
            Study.project_id == study.project_id,
            Study.erased.is_(None),
            Study.id.not_in(judged),
        )
    )


def _grow(
    session: Session,
    reader: Reader,
    study: Study,
    more: Study,
    arrival: Arrival,
    settings: Settings,
) -> bool:
    """Add files to a study, which is then scored again; return whether any were new."""
    folder = settings.studies / study.id / FILES
    names = {
        path: name for path, name in arrival.stored_names().items() if not (folder / name).exists()
    }
    if not names:
        record(session, reader.name, "uploaded again", study.id)
        return False
    # Written first, to lock the row: another upload that adds to the study waits here.
    session.execute(
        update(Study)
        .where(Study.id == study.id)
        .values(state=RECEIVED, lease=None, priority=WAITING, attempts=0)
    )
    session.refresh(study)
    _place(names, folder)
    study.series = merged_series(study.series, [one for one in arrival.files if one.path in names])
    study.bytes += sum(path.stat().st_size for path in names)
    hashes = study.content_hash + more.content_hash
    study.content_hash = hashlib.sha256(hashes.encode()).hexdigest()
    record(session, reader.name, "more uploaded", study.id)
    return True


def _place(names: Mapping[Path, str], folder: Path) -> None:
    """Link files into a study's folder; the upload's own are deleted after the commit."""
    for path, name in names.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(path)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, target)


def may_delete(reader: Reader, study: Study) -> bool:
    """Return whether a reader may delete a study: its uploader or an administrator."""
    return reader.administers or study.uploader_id == reader.id


def delete_study(
    session: Session, reader: Reader, study: Study, settings: Settings, reason: str = ""
) -> None:
    """Delete a study with its pixels; one with opinions is withdrawn, or erased for a reason.

    Opinions stay, with reader, time and the answer that they are about; so does the audit log.

    Args:
        session: Database session.
        reader: Reader who deletes; a study with opinions is erased by administrators only.
        study: Study to delete.
        settings: Settings of the server, with the folder of studies.
        reason: Reason to erase pixels and identity of a study with opinions; empty to withdraw it.

    Raises:
        OptionError: If somebody who is no administrator gives a reason to erase.
    """
    judged = session.scalar(select(Opinion.id).where(Opinion.study_id == study.id).limit(1))
    if judged is not None and not reason:
        study.withdrawn = now()
        record(session, reader.name, "withdrawn", study.id)
        return
    if judged is not None and not reader.administers:
        raise OptionError(
            "readers have given opinions on this study; ask an administrator to erase it"
        )
    shutil.rmtree(settings.studies / study.id, ignore_errors=True)
    if judged is None:
        session.delete(study)
    else:
        _forget_identity(study)
    record(session, reader.name, "erased" if judged else "deleted", study.id, reason)


def _forget_identity(study: Study) -> None:
    """Delete all of a study but its answer."""
    for name in (*IDENTITY, "patient_key"):
        setattr(study, name, "")
    study.title, study.content_hash = ERASED, f"erased {study.id}"
    study.findings, study.series, study.file_names = [], [], {}
    study.state, study.lease, study.chosen, study.bytes = DONE, None, 0, 0
    study.withdrawn = study.withdrawn or now()
    study.erased = now()


def delete_old_studies(session: Session, settings: Settings) -> int:
    """Delete studies that are older than the retention time; return their number."""
    if not settings.retention_days:
        return 0
    limit = now() - timedelta(days=settings.retention_days)
    old = list(session.scalars(select(Study).where(Study.received < limit, Study.erased.is_(None))))
    retention = Reader(0, "retention", ADMINISTRATOR)
    for study in old:
        delete_study(session, retention, study, settings, "older than the retention time")
    return len(old)


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
    for one in session.scalars(select(Opinion).order_by(Opinion.id)):
        counts[one.study_id] += 1
        if not hmac.compare_digest(one.signature.encode(), signature_of(one, key).encode()):
            faults.append(f"opinion {one.id} on study {one.study_id}: changed since it was signed")
    right = counts.total() - len(faults)
    known = (
        select(AuditEntry.study_id, func.count())
        .where(AuditEntry.action.like("opinion: %"))
        .group_by(AuditEntry.study_id)
    )
    for study_id, count in session.execute(known):
        missing = count - counts[study_id or ""]
        if missing > 0:
            faults.append(f"study {study_id}: {missing} opinions of the audit log are missing")
    return Verification(right, tuple(faults))
