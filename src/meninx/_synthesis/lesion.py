"""Build gliomas, meningiomas and pituitary tumors, with edema and mass effect."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from meninx._synthesis.anatomy import Anatomy
from meninx._synthesis.shapes import Float32Array, SmoothNoise, ellipsoid, inside, smooth_union

LesionKind = Literal["glioma", "meningioma", "pituitary"]
KINDS: tuple[LesionKind, ...] = ("glioma", "meningioma", "pituitary")
# Half the thickness of a layer of blood, mm.
_BLOOD_MM = 2.0
# Share of the lesion's volume that displaces brain; the rest infiltrates it.
_MASS_EFFECT = 0.45


@dataclass(frozen=True)
class Site:
    """Position, size and shape of a lesion.

    Args:
        kind: Kind of lesion.
        center: Middle of the lesion, LPS mm.
        radius: Radius of its solid and necrotic part, mm.
        edema: Width of the edema around it, mm; 0 for none.
        necrosis: Radius of the necrotic core as a share of `radius`, 0..1; 0 for none.
        lobes: Roughness of its surface, mm.
        margin: Half the width over which edema fades into healthy tissue, mm.
        patchiness: Heterogeneity of the edema, from 0 (homogeneous) to 1 (with gaps).
        bulge: Deviation of its shape from a ball, mm.
        solidity: Share of tumor in its tissue, 0..1.
        heterogeneity: Relative standard deviation of its signal.
        core: Tissue of its core: `necrosis`, or `csf` in a cavity.
        blood: Share of the core's wall that is covered by blood, 0..1.
        stain: Width of the hemosiderin around it, mm; 0 for none.
    """

    kind: LesionKind
    center: tuple[float, float, float]
    radius: float
    edema: float
    necrosis: float
    lobes: float
    margin: float = 0.0
    patchiness: float = 0.0
    bulge: float = 0.0
    solidity: float = 1.0
    heterogeneity: float = 0.0
    core: Literal["necrosis", "csf"] = "necrosis"
    blood: float = 0.0
    stain: float = 0.0


class Lesion:
    """One lesion in one head.

    Args:
        kind: Rim-enhancing with necrosis, edema and mass effect (`glioma`), extra-axial and
            homogeneous (`meningioma`) or growing out of the sella (`pituitary`).
        head: Head in which it grows.
        seed: Seed of its position and shape; the same seed makes the same lesion.
        treated: Whether a glioma was treated: a thin ring, or a cavity with or without a bright
            rim, some with blood on the wall.
    """

    def __init__(
        self, kind: LesionKind, head: Anatomy, seed: int, *, treated: bool = False
    ) -> None:
        rng = np.random.default_rng((seed, 2))
        self._noise = SmoothNoise(rng, 9.0)
        self._spread = SmoothNoise(rng, 15.0)
        self._texture = SmoothNoise(np.random.default_rng((seed, 10)), 7.0)
        self._head = head
        self.site = _SITES[kind](rng, head)
        if treated and kind == "glioma":
            self.site = _treated(np.random.default_rng((seed, 12)), self.site)

    def displaced(self, points: Float32Array) -> Float32Array:
        """Return the positions before mass effect of the tissue now at `points`.

        Around a growing sphere, tissue moves outwards and keeps its volume: d'^3 = d^3 - k r^3.
        """
        center = np.asarray(self.site.center, dtype=np.float32)[:, None]
        offset = points - center
        distance = np.sqrt((offset**2).sum(axis=0))
        pushed = np.cbrt(np.maximum(distance**3 - _MASS_EFFECT * self.site.radius**3, 0))
        return np.asarray(center + offset * (pushed / np.maximum(distance, 1e-3)), dtype=np.float32)

    def shares(self, points: Float32Array, softness: float) -> Iterator[tuple[str, Float32Array]]:
        """Yield the share of tissue that edema, solid tumor and necrosis replace at each point.

        Args:
            points: Points, shape (3, n), LPS mm.
            softness: Half the width of the transition between tissues, mm.

        Yields:
            Name of a tissue and the share of the previous tissue that it replaces, 0..1, shape
            (n,).
        """
        site = self.site
        body = self._body(points)
        if site.edema:
            spread = self._spread(points)
            fingers = body - site.edema * np.clip(0.7 + 0.6 * spread, 0, 1.6)
            # Edema spreads in white matter: it stops below the cortex and excludes fluid.
            brain = self._head.brain_distance(points)
            share = inside(np.maximum(fingers, brain + 3.5), max(softness, site.margin))
            patches = 1 - site.patchiness * np.clip(0.5 + 0.5 * self._noise(points), 0, 1)
            yield "edema", share * patches * self._head.parenchyma(self.displaced(points))
        yield "tumor_solid", site.solidity * inside(body, softness)
        if site.necrosis:
            core = body + site.radius * (1 - site.necrosis) - 1.2 * self._noise(points)
            core -= 0.5 * site.bulge * self._texture(points)
            if site.stain:
                stain = (np.abs(core) - site.stain).astype(np.float32)
                yield "hemosiderin", 0.8 * inside(stain, softness)
            yield site.core, inside(core, softness)
            if site.blood:
                # A layer inside the wall, in patches.
                layer = np.abs(core + _BLOOD_MM) - _BLOOD_MM
                bare = 6 * (1 - 2 * site.blood + self._spread(points))
                covered = np.maximum(layer, bare).astype(np.float32)
                yield "blood", inside(covered, softness)

    def texture(self, points: Float32Array) -> Float32Array:
        """Return the factor of the lesion's signal at points, mean 1, shape (n,)."""
        return np.asarray(
            np.maximum(1 + self.site.heterogeneity * self._texture(points), 0.2), dtype=np.float32
        )

    def _body(self, points: Float32Array) -> Float32Array:
        site = self.site
        x, y, z = site.center
        uneven = site.lobes * self._noise(points) + site.bulge * self._spread(points)
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


def _glioma(rng: np.random.Generator, head: Anatomy) -> Site:
    radius = float(rng.uniform(6, 24))
    return Site(
        kind="glioma",
        center=_point_in_brain(rng, head, deepest=-radius * 0.7, shallowest=-8.0),
        radius=radius,
        edema=float(rng.uniform(4, 24)),
        necrosis=float(rng.choice((0.0, rng.uniform(0.5, 0.8)), p=(0.25, 0.75))),
        lobes=float(rng.uniform(0.8, 2.2)),
        margin=float(rng.uniform(0.5, 4.0)),
        patchiness=float(rng.uniform(0, 0.5)),
        bulge=float(rng.uniform(0.05, 0.3) * radius),
        solidity=float(rng.uniform(0.5, 1.0)),
        heterogeneity=float(rng.uniform(0.0, 0.25)),
    )


def _treated(rng: np.random.Generator, site: Site) -> Site:
    """Return a glioma after treatment: a ring, or a cavity with or without a bright rim."""
    form = str(rng.choice(("ring", "rimmed cavity", "bare cavity"), p=(0.35, 0.4, 0.25)))
    radius = max(site.radius, 9.0)
    # Thickness of what enhances, mm.
    rim = {"ring": rng.uniform(1.5, 4.0), "rimmed cavity": rng.uniform(0.8, 2.5)}.get(form, 0.0)
    return replace(
        site,
        radius=radius,
        necrosis=1 - float(rim) / radius,
        core="necrosis" if form == "ring" else "csf",
        solidity=1.0 if rim else float(rng.uniform(0.0, 0.4)),
        lobes=float(rng.uniform(0.5, 1.6)),
        bulge=float(rng.uniform(0.1, 0.35) * radius),
        edema=float(rng.choice((rng.uniform(2, 6), rng.uniform(6, 20)))),
        blood=float(rng.choice((0.0, rng.uniform(0.2, 0.7)), p=(0.5, 0.5))),
        stain=float(rng.choice((0.0, rng.uniform(0.5, 1.2)), p=(0.6, 0.4))),
    )


def _meningioma(rng: np.random.Generator, head: Anatomy) -> Site:
    radius = float(rng.uniform(9, 24))
    return Site(
        kind="meningioma",
        center=_point_in_brain(rng, head, deepest=-radius * 0.75, shallowest=-radius * 0.35),
        radius=radius,
        edema=float(rng.choice((0.0, rng.uniform(2, 8)))),
        necrosis=0.0,
        lobes=float(rng.uniform(0.2, 0.8)),
        bulge=float(rng.uniform(0.0, 0.15) * radius),
        heterogeneity=float(rng.uniform(0.0, 0.12)),
    )


def _pituitary(rng: np.random.Generator, head: Anatomy) -> Site:
    radius = float(rng.uniform(8, 15))
    x, y, z = head.sella
    shift = rng.normal(0, 1.5, 2)
    return Site(
        kind="pituitary",
        center=(
            x + float(shift[0]),
            y + float(shift[1]),
            z + radius * 0.5,
        ),
        radius=radius,
        edema=0.0,
        necrosis=float(rng.choice((0.0, 0.5), p=(0.8, 0.2))),
        lobes=float(rng.uniform(0.2, 0.6)),
        bulge=float(rng.uniform(0.0, 0.12) * radius),
        heterogeneity=float(rng.uniform(0.0, 0.12)),
    )


_SITES = {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _pituitary}


def _point_in_brain(
    rng: np.random.Generator, head: Anatomy, *, deepest: float, shallowest: float
) -> tuple[float, float, float]:
    """Return a point with a distance to the brain's surface in a range (negative inside)."""
    low, high = min(deepest, shallowest), max(deepest, shallowest)
    # More tries than needed: about a third of the points lies in range.
    for _ in range(50):
        points = rng.uniform((-62, -76, -26), (62, 76, 58), (400, 3)).T.astype(np.float32)
        distance = head.brain_distance(points)
        found = np.flatnonzero((distance > low) & (distance < high) & (np.abs(points[0]) > 8))
        if found.size:
            x, y, z = (float(value) for value in points[:, found[0]])
            return x, y, z
    return 35.0, 10.0, 20.0
