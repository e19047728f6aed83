"""Turn readers' opinions into a table that `meninx prepare` and `meninx train` read.

A hospital improves its own detector with it: a row for each series that its readers answer.
"""

import csv
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from meninx._errors import OptionError
from meninx._render.region import islands_of
from meninx._scan.nifti import stored_voxels, write_nifti
from meninx._scan.scan import Scan
from meninx._web.auth.rights import in_project
from meninx._web.store.audit import record
from meninx._web.store.database import DONE, Opinion, Study
from meninx._web.store.settings import Settings
from meninx._web.store.stored_results import Shown
from meninx._web.studies.opinions import opinions_of
from meninx._web.studies.series import SeriesView, series_views
from meninx._web.studies.slice_files import SLICES, read_slices
from meninx._web.studies.study_files import PACKED, SHOWN

TABLE, VOLUMES, MASKS = "table.csv", "volumes", "masks"
COLUMNS = (
    "picture",
    "tumor",
    "tumor_type",
    "mask",
    "person",
    "sequence",
    "source",
    "study",
    "series",
    "readers",
    "detector",
)
_PSEUDONYM_DIGITS = 16
# Why a series with opinions is no row.
_OPEN = "readers can't tell, or say of a part of it only"
_DISPUTED = "readers disagree"
_NOT_SCORED = "not scored"
_WITHDRAWN = "withdrawn"


@dataclass
class Exported:
    """What was written.

    Args:
        tumor: Number of rows with a tumor.
        tumor_free: Number of rows without.
        masks: Number of rows with a place.
        left_out: Number of series with opinions that are no rows, by the reason.
    """

    tumor: int = 0
    tumor_free: int = 0
    masks: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.tumor + self.tumor_free


def export_opinions(session: Session, settings: Settings, out: Path, project: str = "") -> Exported:
    """Write the series that readers answered, as a training table with volumes and masks.

    A series is a row if each reader's latest answer to it is the same, tumor or no tumor. An answer
    about the study counts for a series if it is *no tumor*, marks a box in it, or the study has no
    other scored series. Regions count if all of a series are rejected, or one is accepted. A mask
    has the boxes and the accepted regions of the heat map: places, no contours.

    Args:
        session: Database session.
        settings: Settings of the server, with the folder of its studies and its key.
        out: Output folder; it is made.
        project: Name of the project whose studies are written; empty for all.

    Returns:
        Numbers of rows and of series left out; without a row there is no table.

    Raises:
        OptionError: If there is a table already.
    """
    if (out / TABLE).exists():
        raise OptionError(f"{out / TABLE} exists; choose another folder, or remove it first")
    key, done, rows = settings.existing_key(), Exported(), []
    ids = select(Opinion.study_id).distinct()
    query = select(Study).where(Study.id.in_(ids), in_project(project)).order_by(Study.received)
    for study in session.scalars(query):
        found = list(_rows_of(session, study, settings, out, key, done))
        if found:
            record(session, "command line", "exported for training", study.id)
        rows += found
    if not rows:
        return done
    with (out / TABLE).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    return done


def in_words(done: Exported) -> str:
    """Return what was written and left out, as a sentence."""
    words = (
        f"{done.rows} series: {done.tumor} with a tumor, {done.masks} of them "
        f"with a place, {done.tumor_free} without"
    )
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(done.left_out.items()))
    return f"{words}; left out: {left_out or 'none'}"


def _rows_of(
    session: Session, study: Study, settings: Settings, out: Path, key: bytes, done: Exported
) -> Iterable[dict[str, Any]]:
    """Write volumes and masks of a study's answered series; yield their rows."""
    views, opinions = series_views(study), opinions_of(session, study)
    only = sum(view.finding.status == "scored" for view in views) == 1
    person = hmac.new(key, (study.patient_key or study.id).encode(), hashlib.sha256).hexdigest()
    for view in views:
        about = [opinion for opinion in opinions if _concerns(opinion, view, only=only)]
        if not about:
            continue
        answers = _answers(view, about)
        reason, shown = _why_left_out(study, view, answers), view.viewer
        if reason or shown is None:
            done.left_out[reason or _NOT_SCORED] += 1
            continue
        tumor = "tumor" in answers.values()
        places = _places(about)
        name, folder = f"{study.id}-{view.number}", settings.studies / study.id / SHOWN
        picture, mask = _write(shown, places if tumor else [], folder, out, name)
        done.tumor += tumor
        done.tumor_free += not tumor
        done.masks += bool(mask)
        yield {
            "picture": picture,
            "tumor": int(tumor),
            "tumor_type": "unknown" if tumor else "none",
            "mask": mask,
            "person": person[:_PSEUDONYM_DIGITS],
            "sequence": view.finding.sequence,
            "source": study.project,
            "study": study.id,
            "series": view.number,
            "readers": len(answers),
            "detector": view.finding.decision,
        }


def _why_left_out(study: Study, view: SeriesView, answers: Mapping[str, str]) -> str:
    """Return why an answered series is no row; empty for a row."""
    if study.withdrawn:
        return _WITHDRAWN
    if study.state != DONE or view.finding.status != "scored":
        return _NOT_SCORED
    if not answers:
        return _OPEN
    return _DISPUTED if len(set(answers.values())) > 1 else ""


def _concerns(opinion: Opinion, view: SeriesView, *, only: bool) -> bool:
    """Return whether an opinion says something of a series."""
    if opinion.about != "study":
        return opinion.scan == view.number
    marked = opinion.box is not None and opinion.scan == view.number
    return only or marked or opinion.verdict == "no_tumor"


def _latest(opinions: Iterable[Opinion]) -> list[Opinion]:
    """Return the latest opinion of each reader on the whole and on each region.

    Args:
        opinions: Opinions, the newest first.

    Returns:
        Those that no later one of the same reader replaces, the newest first.
    """
    latest: dict[tuple[str, int | None], Opinion] = {}
    for opinion in opinions:
        latest.setdefault((opinion.user_name, opinion.region_number), opinion)
    return list(latest.values())


def _places(opinions: Sequence[Opinion]) -> list[Opinion]:
    """Return the opinions that say where a tumor is: accepted regions, and all marked boxes.

    Args:
        opinions: Opinions on a series, the newest first.

    Returns:
        Of each reader the latest on each region, if it accepts or corrects that, and each box that
        was marked with *tumor* since the reader last said otherwise.
    """
    places = [opinion for opinion in _latest(opinions) if opinion.region_number is not None]
    denied = set()
    for opinion in opinions:
        if opinion.region_number is not None or opinion.user_name in denied:
            continue
        if opinion.verdict != "tumor":
            denied.add(opinion.user_name)
        elif opinion.box is not None:
            places.append(opinion)
    return [opinion for opinion in places if opinion.verdict == "tumor"]


def _answers(view: SeriesView, opinions: Sequence[Opinion]) -> dict[str, str]:
    """Return each reader's answer to a series; none of a reader who can't tell."""
    answers: dict[str, str] = {}
    for reader in {opinion.user_name for opinion in opinions}:
        own = [opinion for opinion in _latest(opinions) if opinion.user_name == reader]
        whole = next((opinion.verdict for opinion in own if opinion.region_number is None), "")
        regions = {
            opinion.region_number: opinion.verdict for opinion in own if opinion.region_number
        }
        verdicts = set(regions.values())
        if whole in ("tumor", "no_tumor"):
            answers[reader] = whole
        elif not whole and "tumor" in verdicts:
            answers[reader] = "tumor"
        elif not whole and verdicts == {"no_tumor"} and len(regions) == len(view.regions):
            answers[reader] = "no_tumor"
    return answers


def _write(
    shown: Shown, places: Sequence[Opinion], folder: Path, out: Path, name: str
) -> tuple[str, str]:
    """Write the image of a series, and the mask of its tumor's places.

    Args:
        shown: Files and geometry of the series.
        places: Opinions that accept a region or mark a box.
        folder: Folder of those files.
        out: Output folder.
        name: Name of the files, without suffix.

    Returns:
        Their paths in the output folder; the mask's is empty where nobody marked a place.
    """
    voxels = _voxels_of(shown, folder)
    mask = _mask_of(shown, places, folder)
    for kind in (VOLUMES, MASKS):
        (out / kind).mkdir(parents=True, exist_ok=True)
    if shown.affine is None:
        picture = f"{VOLUMES}/{name}.png"
        _gray(voxels).save(out / picture)
        suffix = "png"
    else:
        picture, suffix = f"{VOLUMES}/{name}.nii.gz", "nii.gz"
        grid = Scan(name, voxels.astype(np.float32), np.array(shown.affine))
        write_nifti(voxels, grid, out / picture)
    if not mask.any():
        return picture, ""
    place = f"{MASKS}/{name}.{suffix}"
    if shown.affine is None:
        Image.fromarray(mask[:, :, 0].T.astype(np.uint8) * 255).save(out / place)
    else:
        write_nifti(mask.astype(np.uint8), grid, out / place)
    return picture, place


def _voxels_of(shown: Shown, folder: Path) -> NDArray[np.generic]:
    """Return the voxels of a series; an earlier version stored them as NIfTI."""
    path = folder / shown.volume
    if path.suffix == SLICES:
        return read_slices(path, shown.shape, shown.slice_axis)
    return stored_voxels(path.with_name(path.name + PACKED))


def _gray(voxels: NDArray[np.generic]) -> Image.Image:
    """Return a picture's stored voxels [i, j, 1] as a picture of 8 bits, row by row."""
    gray = voxels[:, :, 0].T.astype(np.float32)
    return Image.fromarray(np.clip(gray * (255 / max(255, gray.max())), 0, 255).astype(np.uint8))


def _mask_of(shown: Shown, places: Iterable[Opinion], folder: Path) -> NDArray[np.bool_]:
    """Return the voxels of marked boxes and accepted regions, shape of the series."""
    mask = np.zeros(shown.shape, dtype=bool)
    accepted = set()
    for opinion in places:
        if opinion.box is not None:
            corners = zip(opinion.box["from"], opinion.box["to"], strict=True)
            mask[tuple(slice(first, last + 1) for first, last in corners)] = True
        elif opinion.region_number is not None:
            accepted.add(opinion.region_number)
    if accepted and shown.heat:
        heat = stored_voxels(folder / f"{shown.heat}{PACKED}").astype(np.uint8)
        for number, island in enumerate(islands_of(heat), 1):
            if number in accepted:
                mask[tuple(island.voxels.T)] = True
    return mask
