"""Build lesions of the three kinds that the detector names, and what they do to the brain."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from meninx.phantom.anatomy import SELLA, Head, Layer
from meninx.phantom.shapes import FloatArray, SmoothNoise, ellipsoid, smooth_union

LesionKind = Literal["glioma", "meningioma", "pituitary"]
KINDS: tuple[LesionKind, ...] = ("glioma", "meningioma", "pituitary")
# How far cells spread beyond what enhances, as a share of the lesion's volume that displaces brain.
MASS_EFFECT = 0.45


@dataclass(frozen=True)
class Site:
    """Hold where a lesion sits and how large it is.

    Args:
        kind: What it is.
        center: LPS mm.
        radius: Of what is solid or necrotic, mm.
        edema: Width of the edema around it, mm; 0 for none.
        necrosis: Radius of the dead core as a share of `radius`; 0 for none.
        lobes: How uneven its surface is, mm.
    """

    kind: LesionKind
    center: tuple[float, float, float]
    radius: float
    edema: float
    necrosis: float
    lobes: float


class Lesion:
    """Hold one lesion in one head.

    Args:
        kind: Rim-enhancing with necrosis, edema and mass effect (`glioma`), extra-axial and
            homogeneous (`meningioma`) or growing out of the sella (`pituitary`).
        head: Where it grows.
        seed: The same seed puts the same lesion in the same place.
    """

    def __init__(self, kind: LesionKind, head: Head, seed: int) -> None:
        rng = np.random.default_rng((seed, 2))
        self._noise = SmoothNoise(rng, 9.0)
        self._spread = SmoothNoise(rng, 15.0)
        self._head = head
        self.site = _SITES[kind](rng, head)

    def displaced(self, points: FloatArray) -> FloatArray:
        """Return where the tissue now at `points` was before the lesion pushed it away.

        Around a growing sphere tissue moves outwards and keeps its volume: d'^3 = d^3 - k r^3.
        """
        center = np.asarray(self.site.center, dtype=np.float32)[:, None]
        arm = points - center
        distance = np.sqrt((arm**2).sum(axis=0))
        pushed = np.cbrt(np.maximum(distance**3 - MASS_EFFECT * self.site.radius**3, 0))
        return np.asarray(center + arm * (pushed / np.maximum(distance, 1e-3)), dtype=np.float32)

    def layers(self, points: FloatArray) -> Iterator[Layer]:
        """Yield edema, solid tumor and necrosis at points, shape (3, n), LPS mm."""
        site = self.site
        body = self._body(points)
        if site.edema:
            brain = self._head.brain_distance(points)
            fingers = body - site.edema * np.clip(0.7 + 0.6 * self._spread(points), 0, 1.6)
            # Edema follows white matter: it stops below the cortex.
            yield "edema", np.maximum(fingers, brain + 3.5)
        yield "tumor_solid", body
        if site.necrosis:
            core = body + site.radius * (1 - site.necrosis) - 1.2 * self._noise(points)
            yield "necrosis", core

    def _body(self, points: FloatArray) -> FloatArray:
        site = self.site
        x, y, z = site.center
        uneven = site.lobes * self._noise(points)
        if site.kind == "pituitary":
            lower = ellipsoid(points, site.center, (site.radius, site.radius, site.radius * 0.8))
            upper = ellipsoid(
                points, (x, y, z + site.radius), (site.radius * 0.75,) * 2 + (site.radius * 0.9,)
            )
            return np.asarray(smooth_union(lower, upper, 4.0) + uneven)
        ball = ellipsoid(points, site.center, (site.radius,) * 3) + uneven
        if site.kind == "meningioma":
            # Flat against the dura.
            return np.asarray(np.maximum(ball, self._head.brain_distance(points) - 2.5))
        return np.asarray(ball)


def _glioma(rng: np.random.Generator, head: Head) -> Site:
    radius = float(rng.uniform(8, 24))
    return Site(
        kind="glioma",
        center=_point_in_brain(rng, head, deepest=-radius * 0.7, shallowest=-8.0),
        radius=radius,
        edema=float(rng.uniform(4, 18)),
        necrosis=float(rng.choice((0.0, rng.uniform(0.5, 0.8)), p=(0.25, 0.75))),
        lobes=float(rng.uniform(0.8, 2.2)),
    )


def _meningioma(rng: np.random.Generator, head: Head) -> Site:
    radius = float(rng.uniform(9, 24))
    return Site(
        kind="meningioma",
        center=_point_in_brain(rng, head, deepest=-radius * 0.75, shallowest=-radius * 0.35),
        radius=radius,
        edema=float(rng.choice((0.0, rng.uniform(2, 8)))),
        necrosis=0.0,
        lobes=float(rng.uniform(0.2, 0.8)),
    )


def _pituitary(rng: np.random.Generator, head: Head) -> Site:
    radius = float(rng.uniform(8, 15))
    x, y, z = SELLA
    size = head.proportions
    shift = rng.normal(0, 1.5, 2)
    return Site(
        kind="pituitary",
        center=(
            x * size.width + float(shift[0]),
            y * size.length + float(shift[1]),
            z * size.height + radius * 0.5,
        ),
        radius=radius,
        edema=0.0,
        necrosis=float(rng.choice((0.0, 0.5), p=(0.8, 0.2))),
        lobes=float(rng.uniform(0.2, 0.6)),
    )


_SITES = {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _pituitary}


def _point_in_brain(
    rng: np.random.Generator, head: Head, *, deepest: float, shallowest: float
) -> tuple[float, float, float]:
    """Return a point whose distance to the brain's surface lies in a range (negative inside)."""
    low, high = min(deepest, shallowest), max(deepest, shallowest)
    # Upper bound on tries far above what is ever needed: a third of the box lies in range.
    for _ in range(50):
        points = rng.uniform((-62, -76, -26), (62, 76, 58), (400, 3)).T.astype(np.float32)
        distance = head.brain_distance(points)
        found = np.flatnonzero((distance > low) & (distance < high) & (np.abs(points[0]) > 8))
        if found.size:
            x, y, z = (float(value) for value in points[:, found[0]])
            return x, y, z
    return 35.0, 10.0, 20.0
