"""Typed values of the database's JSON columns: the results of a scored study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from meninx._detect.findings import Findings, StudyFindings
from meninx._render.region import Region, suspected_regions
from meninx._web.store.database import Study


@dataclass(frozen=True)
class Shown:
    """What the viewer shows of a scan.

    Args:
        volume: File of the voxels.
        shape: Number of voxels along i, j and k.
        slice_axis: Axis along which slices follow each other.
        geometry: Whether distances can be believed.
        heat: File of the heat map; None where there is none.
        picture: File of the picture of the hottest slice; None where nothing was scored.
        thumb: File of a small picture; empty where there is none.
        first: File of the hottest slice, or the middle one, shown until the voxels arrive; empty
            where there is none.
        plane: Plane of its slices; None where it is not known.
        withheld: Why there is no heat map, in words; None where there is one.
        regions: Hot regions of the heat map, the hottest first; none without one.
        midline_mm: LPS x of the middle of the head, mm; None where it is not known.
        gray: Lowest value, both ends of the automatic window, highest value; None where a volume
            was stored by an earlier version, as NIfTI.
        affine: Voxel index to LPS mm, four rows of four; None for a picture.
        spacing_mm: Distance between voxels along i, j and k, mm; None where it is not known.
    """

    volume: str
    shape: tuple[int, int, int]
    slice_axis: int
    geometry: bool
    heat: str | None = None
    picture: str | None = None
    thumb: str = ""
    first: str = ""
    plane: str | None = None
    withheld: str | None = None
    regions: tuple[Region, ...] = ()
    midline_mm: float | None = None
    gray: tuple[float, float, float, float] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None
    spacing_mm: tuple[float, float, float] | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `as_json` stored."""
        i, j, k = stored["shape"]
        affine, spacing, gray = stored["affine"], stored["spacing_mm"], stored.get("gray")
        # A study that was scored before regions were listed has none until it is scored again.
        regions = stored.get("regions", ())
        values: dict[str, Any] = {
            **{name: value for name, value in stored.items() if name != "region"},
            "shape": (i, j, k),
            "regions": tuple(map(Region.from_json, regions)),
            "affine": None if affine is None else tuple(map(tuple, affine)),
            "spacing_mm": None if spacing is None else tuple(spacing),
            "gray": None if gray is None else tuple(gray),
        }
        return cls(**values)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        regions = [region.as_json() for region in self.regions]
        return asdict(replace(self, regions=())) | {"regions": regions}

    @property
    def slices(self) -> int:
        """Number of slices."""
        return self.shape[self.slice_axis]


@dataclass(frozen=True)
class SeriesIdentity:
    """What identifies a series to a reader, as far as it is known.

    Args:
        uid: SeriesInstanceUID.
        number: SeriesNumber.
        description: SeriesDescription.
        file: Name of its file.
        sequence: MR sequence.
        plane: Plane of its slices.
        slices: Number of slices.
        status: How far it came: `scored`, `refused` or `failed`.
        reason: Stable code of why it was not scored.
    """

    uid: str = ""
    number: int | None = None
    description: str = ""
    file: str = ""
    sequence: str = "unknown"
    plane: str | None = None
    slices: int | None = None
    status: str = ""
    reason: str | None = None

    def without_names(self) -> Self:
        """Return it without values that may name a person or an exam."""
        return replace(self, uid="", number=None, description="", file="")


@dataclass(frozen=True, eq=False)
class StoredSeries:
    """One series of a scored study, as the database stores it.

    Args:
        findings: Findings of the series, without heat maps.
        identity: What identifies it to a reader.
        shown: What the viewer shows of it; None where no image could be read.
        preview: File of its images where it was refused before it became a scan; empty for none.
        objects: Number of its DICOM objects.
        why: Why the study's page shows the series that it shows first, in words.
    """

    findings: Findings
    identity: SeriesIdentity = field(default_factory=SeriesIdentity)
    shown: Shown | None = None
    preview: str = ""
    objects: int = 0
    why: str = ""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `as_json` stored."""
        findings, shown = Findings.from_json(stored), stored["viewer"]
        viewer = Shown.from_json(shown) if shown else None
        return cls(
            findings=replace(findings, slice_count=viewer.slices) if viewer else findings,
            identity=SeriesIdentity(**stored["series"]),
            shown=viewer,
            preview=stored["preview"],
            objects=stored["objects"],
            why=stored["why"],
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values: the public JSON, with what the viewer needs."""
        return self.findings.as_json() | {
            "series": asdict(self.identity),
            "objects": self.objects,
            "why": self.why,
            "viewer": None if self.shown is None else self.shown.as_json(),
            "preview": self.preview,
        }


@dataclass(frozen=True, eq=False)
class StudyResult:
    """Result of the worker process for a study.

    Args:
        series: Its series, in the order of reading; none after too many attempts.
        chosen: Index of the series that is shown first.
        answer: Answer from all series; None where there is none.
    """

    series: tuple[StoredSeries, ...] = ()
    chosen: int = 0
    answer: StudyFindings | None = None


def stored_series(study: Study) -> list[StoredSeries]:
    """Return the series of a study; none before it is scored."""
    return [StoredSeries.from_json(stored) for stored in study.findings]


def claimed_regions(series: StoredSeries) -> dict[int, Region]:
    """Return the hot regions that a reader is asked about, by number; see `suspected_regions`."""
    if series.shown is None:
        return {}
    return suspected_regions(series.findings, series.shown.regions)


def series_identities(study: Study) -> list[SeriesIdentity]:
    """Return what identifies the series of a scored study; none before it is scored."""
    return [SeriesIdentity(**stored["series"]) for stored in study.findings]


def stored_answer(study: Study) -> StudyFindings | None:
    """Return the answer about a study; None before it is scored, or where there is none."""
    return StudyFindings.from_json(study.answer) if study.answer else None
