"""Receive the files of an upload, one or many at a time, in parts that can be sent again."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from meninx._errors import LimitExceeded, OptionError
from meninx._scan.geometry import spacing_from_text
from meninx._web.auth.accounts import Reader, projects_of
from meninx._web.store.database import Project, Study, Upload, new_id, now
from meninx._web.store.settings import Settings
from meninx._web.studies.file_names import names_in, record_name, stored_name

# Hours without a new file after which an upload is abandoned, and after which a folder of neither
# an upload nor a study was left by a killed process: no transaction lasts as long.
UPLOAD_HOURS, ORPHAN_HOURS = 24, 1
ANONYMOUS, UNTITLED = "anonymous study", "untitled"


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
    project_id = _own_project(session, reader, project).id
    shown = ANONYMOUS if settings.deidentify else title.strip()[:300] or UNTITLED
    upload = Upload(
        id=new_id(),
        user_id=reader.id,
        title=shown,
        bytes=0,
        project_id=project_id,
        spacing=spacing,
    )
    session.add(upload)
    upload_folder(settings, upload.id).mkdir(parents=True)
    return upload


def _own_project(session: Session, reader: Reader, name: str) -> Project:
    """Return the reader's project of a name; their first one without a name."""
    projects = projects_of(session, reader)
    if not projects:
        raise OptionError("you are in no project; ask an administrator to add you to one")
    for project in projects:
        if project.name == name or not name:
            return project
    names = ", ".join(project.name for project in projects)
    raise OptionError(f"project {name!r}: not one of yours; choose among {names}")


def upload_folder(settings: Settings, upload_id: str) -> Path:
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


def unfinished_uploads(session: Session, reader: Reader) -> list[tuple[Upload, str]]:
    """Return the reader's own unfinished uploads and their projects' names, the newest first."""
    query = (
        select(Upload, Project.name)
        .join(Project, Project.id == Upload.project_id)
        .where(Upload.user_id == reader.id)
        .order_by(Upload.created.desc(), Upload.id)
    )
    return [(upload, name) for upload, name in session.execute(query)]


def stored_files(upload: Upload, settings: Settings) -> list[tuple[str, int]]:
    """Return the names of an upload's files as they were sent, and their bytes so far."""
    folder = upload_folder(settings, upload.id)
    if not folder.is_dir():
        return []
    return [(name, (folder / stored).stat().st_size) for stored, name in names_in(folder).items()]


def delete_upload(session: Session, upload: Upload, settings: Settings) -> None:
    """Delete an upload with its files."""
    session.delete(upload)
    shutil.rmtree(upload_folder(settings, upload.id), ignore_errors=True)


def delete_abandoned_uploads(session: Session, settings: Settings) -> int:
    """Delete abandoned uploads, and folders of neither an upload nor a study.

    Args:
        session: Database session.
        settings: Settings of the server, with the folders of uploads and studies.

    Returns:
        Number of folders that were deleted.
    """
    limit, orphan_limit = (now() - timedelta(hours=hours) for hours in (UPLOAD_HOURS, ORPHAN_HOURS))
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


def uploaded_path(settings: Settings, upload_id: str, name: str) -> Path:
    """Return the path of a file of an upload.

    Args:
        settings: Settings of the server, with the folder of uploads.
        upload_id: Id of the upload.
        name: Name on the user's computer, with its folders; it may be hostile.

    Returns:
        Path inside the upload's folder.
    """
    return upload_folder(settings, upload_id) / stored_name(name)


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
    path = uploaded_path(settings, upload.id, name)
    begun = path.exists()
    stored = path.stat().st_size if begun else 0
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
    if not begun:
        record_name(path.parent, path.name, name)
    with path.open("ab") as file:
        file.write(new)
    upload.bytes = total
    return stored + len(new)
