"""Build a head from shapes, which define the tissue at any point.

Points are LPS mm with the origin in the middle of the brain: x to the left, y to the back, z to the
crown.
Proportions follow an average adult head (brain about 140 x 170 x 120 mm) and vary by seed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from meninx._synthesis.shapes import (
    Float32Array,
    SmoothNoise,
    capsule,
    ellipsoid,
    inside,
    smooth_union,
    union,
)

# A tissue and the signed distance to it; later layers cover earlier ones.
Layer = tuple[str, Float32Array]

_CORTEX_MM = 3.2
_SULCUS_DEPTH_MM = 16.0
SELLA = (0.0, -22.0, -36.0)


class Anatomy(Protocol):
    """A head made of shapes or from a scan.

    Points have shape (3, n), LPS mm; methods return one value per point, shape (n,).
    """

    sella: tuple[float, float, float]

    def signal_at(
        self, points: Float32Array, signals: Mapping[str, float], softness: float
    ) -> Float32Array:
        """Return the signal at points, given the signal of each tissue."""

    def brain_distance(self, points: Float32Array) -> Float32Array:
        """Return the signed distance to the brain's surface, negative inside, mm."""

    def cavity_distance(self, points: Float32Array) -> Float32Array:
        """Return the signed distance to the inside of the skull, negative inside, mm."""

    def parenchyma(self, points: Float32Array) -> Float32Array:
        """Return the share of brain, as opposed to fluid, around each point, 0..1."""


@dataclass(frozen=True)
class Proportions:
    """Proportions of a head.

    Args:
        width, length, height: Size of the head along x, y and z, relative to the average.
        ventricles: Size of the ventricles, relative to the average.
        atrophy: Extra width of the sulci, mm.
        scalp: Thickness of the scalp, mm.
        skull: Thickness of the skull, mm.
    """

    width: float
    length: float
    height: float
    ventricles: float
    atrophy: float
    scalp: float
    skull: float


class Head:
    """A tumor-free head made of shapes.

    Args:
        seed: Seed of its proportions and folds; the same seed makes the same head.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng((seed, 1))
        self.proportions = Proportions(
            width=rng.uniform(0.93, 1.06),
            length=rng.uniform(0.93, 1.07),
            height=rng.uniform(0.93, 1.06),
            ventricles=float(np.exp(rng.normal(0, 0.16))),
            atrophy=float(np.clip(rng.normal(0.1, 0.25), -0.1, 0.9)),
            scalp=rng.uniform(4.0, 8.0),
            skull=rng.uniform(5.0, 8.0),
        )
        self.sella = (
            SELLA[0] * self.proportions.width,
            SELLA[1] * self.proportions.length,
            SELLA[2] * self.proportions.height,
        )
        self._folds = SmoothNoise(rng, rng.uniform(9.0, 11.5))
        self._folia = SmoothNoise(rng, 4.5)
        self._texture = SmoothNoise(rng, 26.0)
        self._warp = [SmoothNoise(rng, 55.0) for _ in range(3)]
        self._warp_mm = rng.uniform(1.5, 3.5)

    def layers(self, points: Float32Array) -> Iterator[Layer]:
        """Yield every tissue's distance at points, outermost first.

        Args:
            points: Points, shape (3, n), LPS mm.

        Yields:
            A tissue's name and the signed distance to it, shape (n,), mm.
        """
        p = self._to_average(points)
        brain = self._brain(p)
        yield from self._outside(p, brain)
        yield from self._cerebrum(p, brain)
        yield from self._hindbrain(p)
        yield from self._ventricles(p)
        yield from self._base(p)

    def signal_at(
        self, points: Float32Array, signals: Mapping[str, float], softness: float
    ) -> Float32Array:
        """Return the signal at points.

        Args:
            points: Points, shape (3, n), LPS mm.
            signals: Signal of each tissue by name.
            softness: Half the width of the transition between tissues, mm.

        Returns:
            Signal at each point, shape (n,).
        """
        image = np.zeros(points.shape[1], dtype=np.float32)
        for tissue, distance in self.layers(points):
            image += inside(distance, softness) * (signals[tissue] - image)
        return image

    def brain_distance(self, points: Float32Array) -> Float32Array:
        """Return the signed distance to the surface of the cerebrum, negative inside, mm."""
        return self._brain(self._to_average(points))

    def cavity_distance(self, points: Float32Array) -> Float32Array:
        """Return the signed distance to the inside of the skull, negative inside, mm."""
        p = self._to_average(points)
        return self._cavity(p, self._brain(p))

    def parenchyma(self, points: Float32Array) -> Float32Array:
        """Return 1 everywhere: in these heads edema also covers the sulci."""
        return np.ones(points.shape[1], dtype=np.float32)

    def _cavity(self, p: Float32Array, brain: Float32Array) -> Float32Array:
        """Return the distance to the content of the skull: brain, brain stem and fluid."""
        hindbrain = union(
            ellipsoid(p, (0, 48, -38), (50, 32, 25)), capsule(p, (0, 12, -20), (0, 24, -52), 15.0)
        )
        return np.asarray(smooth_union(brain, hindbrain, 14.0) - 3.0)

    def _to_average(self, points: Float32Array) -> Float32Array:
        """Return the corresponding points in a head of average proportions."""
        scale = np.array(
            [self.proportions.width, self.proportions.length, self.proportions.height],
            dtype=np.float32,
        )
        bent = points + self._warp_mm * np.stack([noise(points) for noise in self._warp])
        return np.asarray(bent / scale[:, None], dtype=np.float32)

    def _brain(self, p: Float32Array) -> Float32Array:
        """Return the distance to the cerebrum: two hemispheres with temporal lobes."""
        side = p.copy()
        side[0] = np.abs(p[0])
        hemisphere = ellipsoid(side, (18, 0, 12), (50, 84, 54))
        temporal = ellipsoid(side, (42, -12, -24), (22, 42, 20))
        frontal = ellipsoid(side, (16, -42, 2), (36, 40, 34))
        whole = smooth_union(smooth_union(hemisphere, temporal, 10.0), frontal, 10.0)
        # The underside is flat: the brain rests on the skull base and the tentorium.
        lobes = np.clip((np.abs(p[0]) - 20) / 8, 0, 1) * np.clip((34 - p[1]) / 14, 0, 1)
        floor = -p[2] - 22 - 18 * lobes + 6 * np.clip((p[1] - 20) / 20, 0, 1)
        return np.asarray(np.maximum(whole, floor))

    def _outside(self, p: Float32Array, brain: Float32Array) -> Iterator[Layer]:
        skull, scalp = self.proportions.skull, self.proportions.scalp
        side = p.copy()
        side[0] = np.abs(p[0])
        cavity = self._cavity(p, brain)
        # The skull is smoother than the brain: bone fills the base between the lobes.
        vault = smooth_union(
            smooth_union(ellipsoid(p, (0, 0, 9), (70, 88, 62)), cavity - 1.0, 10.0),
            ellipsoid(p, (0, 0, -24), (58, 62, 24)),
            12.0,
        )
        outer = vault - skull
        face = ellipsoid(p, (0, -46, -64), (48, 42, 56))
        jaw = ellipsoid(p, (0, -56, -98), (36, 34, 30))
        neck = capsule(p, (0, 30, -70), (0, 36, -260), 46.0)
        soft = smooth_union(smooth_union(face, jaw, 12.0), neck, 26.0)
        nose = ellipsoid(p, (0, -92, -52), (11, 14, 20))
        skin = smooth_union(smooth_union(outer - scalp, soft, 16.0), nose, 8.0)
        texture = self._texture(p)
        yield "fat", skin
        # Muscle under the fat, in bundles.
        yield "muscle", np.maximum(skin + scalp * 0.8, np.maximum(soft + 4.0, 3.0 * texture - 2.5))
        yield "air", capsule(p, (0, -16, -72), (0, -6, -260), 7.0)
        yield "air", np.maximum(ellipsoid(p, (0, -74, -88), (20, 18, 4)), 0)
        yield "bone", capsule(p, (0, 32, -72), (0, 36, -260), 15.0)
        discs = np.abs(np.mod(p[2], 19.0) - 9.5) - 6.5
        yield "marrow", np.maximum(capsule(p, (0, 30, -72), (0, 34, -260), 11.5), discs)
        yield "csf", capsule(p, (0, 46, -62), (0, 52, -260), 7.0)
        yield "white", capsule(p, (0, 46, -62), (0, 52, -260), 4.5)
        yield "bone", outer
        # Diploe: marrow between the two tables, with gaps; most of the thick base.
        yield (
            "marrow",
            union(
                np.maximum(outer + skull * 0.3, np.maximum(skull * 0.3 - vault, texture - 0.8)),
                np.maximum(np.maximum(outer + 6.0, 4.0 - cavity), 2.0 * texture - 1.5),
            ),
        )
        yield "fat", ellipsoid(side, (32, -68, -35), (17, 24, 15))
        yield "vitreous", ellipsoid(side, (32, -78, -35), (12, 12.5, 12))
        yield "lens", ellipsoid(side, (32, -88, -35), (4.5, 2.2, 4.5))
        yield "muscle", capsule(side, (32, -64, -35), (14, -38, -36), 2.2)
        yield "air", ellipsoid(p, (0, -64, -56), (13, 26, 20))
        yield "air", ellipsoid(side, (28, -58, -68), (13, 15, 14))
        yield "air", ellipsoid(p, (0, -40, -50), (12, 13, 8))
        yield "air", ellipsoid(p, (0, -82, -16), (18, 4, 9))
        yield "air", np.maximum(ellipsoid(side, (52, 26, -46), (10, 13, 12)), 1.5 * texture)
        yield "csf", cavity

    def _cerebrum(self, p: Float32Array, brain: Float32Array) -> Iterator[Layer]:
        depth = -brain
        fold = np.abs(self._folds(p)) * 4.6  # about mm from the middle of the nearest fold
        fissure = np.abs(p[0]) + np.maximum(0, 20 - (p[2] + 0.10 * np.abs(p[1]))) * 2.0
        side = p.copy()
        side[0] = np.abs(p[0])
        sylvian = capsule(side, (34, -22, -8), (62, 20, 6), 2.0) + 2.0
        deep = _SULCUS_DEPTH_MM + 5.0 * self._texture(p)
        # Distance of each point from fluid: at the surface, in a fold or in a fissure.
        fluid = np.minimum(depth, np.maximum(fold, (depth - deep) * 0.6))
        fluid = np.minimum(np.minimum(fluid, fissure), np.maximum(sylvian, 0))
        width = 0.7 + self.proportions.atrophy
        yield "gray", np.maximum(brain, width - fluid)
        yield "white", np.maximum(brain, width + _CORTEX_MM - fluid)
        nuclei = union(
            ellipsoid(side, (11, 8, 6), (9, 15, 10)),  # thalamus
            ellipsoid(side, (25, -10, 2), (7, 20, 11)),  # putamen and pallidum
            ellipsoid(side, (14, -20, 10), (5, 11, 9)),  # head of the caudate
        )
        yield "deep_gray", nuclei

    def _hindbrain(self, p: Float32Array) -> Iterator[Layer]:
        stem = union(
            capsule(p, (0, 14, -14), (0, 22, -40), 12.0),
            ellipsoid(p, (0, 14, -34), (16, 13, 14)),
            capsule(p, (0, 24, -42), (0, 42, -66), 8.0),
        )
        yield "white", stem
        side = p.copy()
        side[0] = np.abs(p[0])
        cerebellum = union(
            ellipsoid(side, (24, 48, -38), (25, 30, 22)), ellipsoid(p, (0, 52, -38), (12, 26, 21))
        )
        folia = np.abs(self._folia(p)) * 2.2
        fluid = np.minimum(-cerebellum, np.maximum(folia, (-cerebellum - 12) * 0.6))
        yield "gray", np.maximum(cerebellum, 0.35 - fluid)
        yield "white", np.maximum(cerebellum + 3.0, 2.3 - fluid)

    def _ventricles(self, p: Float32Array) -> Iterator[Layer]:
        size = self.proportions.ventricles
        side = p.copy()
        side[0] = np.abs(p[0])
        lateral = union(
            capsule(side, (7, -28, 12), (7, -8, 18), 4.2 * size),
            capsule(side, (7, -8, 18), (14, 22, 19), 4.4 * size),
            capsule(side, (14, 22, 19), (25, 42, 8), 5.4 * size),
            capsule(side, (25, 42, 8), (17, 64, 7), 3.2 * size),
            capsule(side, (25, 42, 8), (32, 6, -18), 2.4 * size),
        )
        yield "csf", lateral
        yield "gray", capsule(side, (15, 26, 17), (22, 38, 8), 1.6)  # choroid plexus
        third = np.maximum(np.abs(p[0]) - 2.0 * size, ellipsoid(p, (0, 4, 0), (8, 17, 14)))
        fourth = ellipsoid(p, (0, 34, -38), (7 * size, 5 * size, 11))
        yield "csf", union(third, fourth)
        yield "csf", ellipsoid(p, (0, -10, -24), (14, 9, 7))  # suprasellar cistern
        yield "gray", capsule(p, (-8, -14, -23), (8, -14, -23), 2.0)  # chiasm

    def _base(self, p: Float32Array) -> Iterator[Layer]:
        yield "pituitary", ellipsoid(p, SELLA, (7.0, 5.0, 3.8))
        yield "pituitary", capsule(p, SELLA, (0, -17, -24), 1.1)
        side = p.copy()
        side[0] = np.abs(p[0])
        yield "vessel", capsule(side, (11, -18, -48), (11, -22, -30), 2.2)  # carotids
        yield "vessel", capsule(p, (0, 1, -50), (0, 0, -24), 1.7)  # basilar artery
        # Superior sagittal sinus: along the crown, in the midline.
        arc = np.hypot(p[1] / 90.0, (p[2] - 6.0) / 64.0)
        sinus = np.hypot(p[0], (arc - 1.0) * 66.0) - 2.6
        yield "vessel", np.maximum(sinus, -8 - p[2])
