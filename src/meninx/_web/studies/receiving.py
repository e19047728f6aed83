"""Turn a finished upload into studies that wait for the detector."""

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Select, event, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from meninx._errors import InputError, OptionError
from meninx._scan.dicom.content import Content, content_of
from meninx._scan.dicom.heading import NAME_SEPARATOR, Heading
from meninx._scan.incomplete_note import NOTE
from meninx._scan.limits import DEFAULT_LIMITS
from meninx._web.auth.accounts import Reader
from meninx._web.store.audit import record
from meninx._web.store.database import (
    FIRST_PROJECT,
    IDENTITY,
    RECEIVED,
    Measurement,
    Opinion,
    Project,
    Study,
    Upload,
    new_id,
    now,
)
from meninx._web.store.settings import Settings
from meninx._web.studies.arrival import (
    Arrival,
    LeftOut,
    hash_of_all,
    left_out_of,
    merged_series,
    sorted_into_studies,
)
from meninx._web.studies.arrived_files import arrived_files, content_in_name, unpack
from meninx._web.studies.file_names import base_name
from meninx._web.studies.results import WAITING, priority_of
from meninx._web.studies.study_files import FILES
from meninx._web.studies.uploads import UNTITLED, delete_upload, upload_folder


@dataclass(frozen=True)
class FinishedUpload:
    """What became of an upload.

    Args:
        studies: At least one study, each with whether it waits for the detector because of it.
        left_out: Files that belong to no study.
    """

    studies: list[tuple[Study, bool]]
    left_out: list[LeftOut]


def finish_upload(
    session: Session, reader: Reader, upload: Upload, settings: Settings, *, together: bool = False
) -> FinishedUpload:
    """Turn an upload into studies that wait for the detector, each of one patient.

    Args:
        session: Database session.
        reader: Reader who uploads.
        upload: Upload with all of its files.
        settings: Settings of the server, with the folder of studies.
        together: Whether its pictures and volumes are of one person, from one visit.

    Returns:
        Its studies: the same content is stored and scored once; and the files left out.

    Raises:
        OptionError: If the upload has no file.
        InputError: If an archive is damaged, has an entry that leads out of it, or unpacks to more
            than the limits allow.
    """
    folder = upload_folder(settings, upload.id)
    limits = replace(DEFAULT_LIMITS, zip_bytes=settings.upload_bytes)
    try:
        unpack(folder, limits, deidentify=settings.deidentify)
    except InputError:
        # No further file can repair it.
        delete_upload(session, upload, settings)
        session.commit()
        raise
    files = arrived_files(folder, deidentify=settings.deidentify)
    if not files:
        raise OptionError("the upload has no file; send its files before you finish it")
    arrivals = sorted_into_studies(files, together=together)
    # Before the lock, because hashes of all files take long.
    new = [_new_study(upload, arrival, settings, alone=len(arrivals) == 1) for arrival in arrivals]
    _lock_project(session, upload.project_id)
    stored = [
        _store(session, reader, study, arrival, settings)
        for study, arrival in zip(new, arrivals, strict=True)
    ]
    session.delete(upload)
    session.flush()
    # Only after the commit: a server that is killed before leaves the upload unchanged.
    event.listen(
        session, "after_commit", lambda _: shutil.rmtree(folder, ignore_errors=True), once=True
    )
    return FinishedUpload(stored, left_out_of(files, arrivals))


def _lock_project(session: Session, project_id: int) -> None:
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
        bytes=sum(file.path.stat().st_size for file in arrival.files),
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
    Of a name its first representation counts: not every system sends the others.
    """
    written = heading.patient_name.partition(NAME_SEPARATOR)[0]
    name = "".join(sign for sign in written.casefold() if sign.isalnum())
    if not heading.patient_id and not (name and heading.birth_date):
        return ""
    patient = heading.patient if heading.patient_id else ""
    identity = "\0".join((patient, name, heading.birth_date))
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
    stored = session.scalar(same)
    if stored is None:
        stored = _study_with_all(session, study, arrival, settings)
    if stored is None and (part := _study_to_extend(session, study)) is not None:
        _extend(session, reader, part, arrival, settings)
        return part, True
    if stored is None:
        target = settings.studies / study.id
        names = arrival.stored_names()
        if not settings.deidentify:
            study.file_names = {
                names[file.path]: base_name(file.name)
                for file in arrival.files
                if file.kind != "dicom"
            }
        event.listen(
            session,
            "after_rollback",
            lambda _: shutil.rmtree(target, ignore_errors=True),
            once=True,
        )
        _link_files(names, target / FILES)
        try:
            with session.begin_nested():
                session.add(study)
        except IntegrityError:
            # Another upload of the same files was stored first.
            shutil.rmtree(target)
            stored = session.scalar(same)
    if stored is None:
        record(session, reader.name, "uploaded", study.id)
        return study, True
    # A withdrawn study returns to the worklist when it is uploaded again.
    stored.withdrawn = None
    record(session, reader.name, "uploaded again", stored.id)
    return stored, False


def _same_exam(study: Study) -> Select[Study] | None:
    """Return the query for stored studies of a new one's person and StudyInstanceUID."""
    if not study.study_uid or not study.patient_key:
        return None
    return select(Study).where(
        Study.study_uid == study.study_uid,
        Study.patient_key == study.patient_key,
        Study.project_id == study.project_id,
        Study.erased.is_(None),
    )


def _study_with_all(
    session: Session, study: Study, arrival: Arrival, settings: Settings
) -> Study | None:
    """Return the stored study of the same exam that has all files of a new one already.

    An exam that came in parts, or that a DICOM node brings after a reader uploaded it, has another
    hash than its files in one go.
    """
    query, names = _same_exam(study), arrival.stored_names()
    for stored in session.scalars(query) if query is not None else ():
        folder = settings.studies / stored.id / FILES
        if not _missing(folder, names.values()) and not _has_another_note(folder, names):
            return stored
    return None


def _has_another_note(folder: Path, names: Mapping[Path, str]) -> bool:
    """Return whether new files have a note of what is missing that the folder does not have."""
    stored = folder / NOTE
    return any(
        name == NOTE and not (stored.exists() and stored.read_bytes() == path.read_bytes())
        for path, name in names.items()
    )


def _missing(folder: Path, names: Iterable[str]) -> set[str]:
    """Return the names of those files whose content a study's folder does not have.

    Args:
        folder: Folder of a study's files.
        names: Names under which new files would be stored.

    Returns:
        Those that are new; a DICOM file is not, if its instance is there compressed or unpacked.
    """
    new = {name for name in names if not (folder / name).exists()}
    held: dict[str, list[Content]] = defaultdict(list)
    for path in folder.glob("*.dcm") if new else ():
        content = content_in_name(path.name)
        if content is None:  # stored by the first version, or its bytes alone can be compared
            with suppress(InputError):
                content = content_of(path)
        if content is not None:
            held[content.elements].append(content)
    return {name for name in new if not _is_held(content_in_name(name), held)}


def _is_held(content: Content | None, held: Mapping[str, list[Content]]) -> bool:
    return content is not None and any(map(content.same, held.get(content.elements, ())))


def _study_to_extend(session: Session, study: Study) -> Study | None:
    """Return the stored study that a new one belongs to, by person and StudyInstanceUID.

    A study with opinions or measurements gets no more files: they are about the series so far.
    """
    query = _same_exam(study)
    if query is None:
        return None
    with_marks = select(Opinion.study_id).union_all(select(Measurement.study_id))
    return session.scalar(query.where(Study.id.not_in(with_marks)))


def _extend(
    session: Session, reader: Reader, study: Study, arrival: Arrival, settings: Settings
) -> None:
    """Add files to a study, of which at least one is new; it is then scored again."""
    folder = settings.studies / study.id / FILES
    stored_names = arrival.stored_names()
    missing = _missing(folder, stored_names.values())
    if _has_another_note(folder, stored_names):
        missing |= {NOTE}  # the newest note counts
    names = {path: name for path, name in stored_names.items() if name in missing}
    # Written first, to lock the row: another upload that adds to the study waits here.
    session.execute(
        update(Study).where(Study.id == study.id).values(state=RECEIVED, lease=None, attempts=0)
    )
    session.refresh(study)
    study.priority = priority_of(study)
    # Otherwise files without a record would count as known, and never be scored.
    linked = [folder / name for name in names.values() if not (folder / name).exists()]
    event.listen(session, "after_rollback", lambda _: _unlink(linked), once=True)
    _link_files(names, folder)
    study.series = merged_series(
        study.series, [file for file in arrival.files if file.path in names]
    )
    study.bytes += sum(path.stat().st_size for path in names)
    # Another one than that of any upload so far: whether an upload has more, its files decide.
    added = hash_of_all(arrival.digests[path] for path in names)
    study.content_hash = hashlib.sha256((study.content_hash + added).encode()).hexdigest()
    record(session, reader.name, "more uploaded", study.id)


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _link_files(names: Mapping[Path, str], folder: Path) -> None:
    """Link files into a study's folder; the upload's own are deleted after the commit."""
    for path, name in names.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(path)
        except OSError:  # a file system without hard links
            part = target.with_suffix(".part")
            shutil.copyfile(path, part)
            part.replace(target)
