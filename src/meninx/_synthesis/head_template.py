"""Make head templates from real T1 scans, and augmented heads from templates.

Real heads have more detailed folds, vessels and skulls than shapes. The scan's intensities
determine the tissue, and each tissue gets the signal of the requested sequence (like labels in
SynthSeg, Billot et al. 2023).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meninx._errors import UnsupportedScan
from meninx._scan.scan import Scan
from meninx._synthesis.shapes import Float32Array, SmoothNoise, inside

# Position of the pituitary as shares of the brain's bounding box, from right, front and foot.
_SELLA_IN_BRAIN = (0.5, 0.40, 0.24)
# Tissue at least this far from darker or brighter tissue is brain: muscle and skin are thinner.
_CORE_MM = 4.5
# The brain's surface lies within this many steps of 1 mm from that core.
_GROWTH_STEPS = 9
_SULCUS_MM = 8.0
_BRIDGE_MM = 4.0
# Plausible volumes of a brain, cm3, from atrophy in old age to the largest; outside, the
# segmentation failed.
_BRAIN_VOLUME = (700.0, 2300.0)
AIR = 0.1


@dataclass(frozen=True, eq=False)
class HeadTemplate:
    """A real, tumor-free head on a grid of 1 mm, axes [x, y, z] in LPS.

    Args:
        intensity: T1 signal relative to white matter, shape (x, y, z).
        cavity: Signed distance to the brain's hull, negative inside, mm, shape (x, y, z).
        origin: Index of the middle of the brain.
        csf, gray: Mean intensity of fluid and of gray matter, relative to white matter.
        sella: Position of the pituitary, LPS mm from the origin.
    """

    intensity: Float32Array
    cavity: Float32Array
    origin: tuple[float, float, float]
    csf: float
    gray: float
    sella: tuple[float, float, float]


def template_of(scan: Scan) -> HeadTemplate:
    """Return the head template of a scan.

    Args:
        scan: A T1 volume without contrast agent and without lesions, with skull and scalp.

    Returns:
        The template.

    Raises:
        UnsupportedScan: If no brain of a plausible volume is found.
    """
    volume, _ = _on_lps_grid(scan)
    csf, gray, white = _tissue_levels(scan, volume)
    volume = volume / np.float32(white)
    brain = _brain_hull(volume, 0.5 * (csf + gray) / white)
    _check_volume(scan, float(brain.sum()) / 1000)
    (box,) = ndimage.find_objects(brain, 1)
    cavity = _distance(~brain)
    cavity[box] -= _distance(np.pad(brain[box], 1))[1:-1, 1:-1, 1:-1]
    low, high = (np.array(ends) for ends in zip(*((s.start, s.stop - 1) for s in box), strict=True))
    middle = (low + high) / 2
    sella = low + np.array(_SELLA_IN_BRAIN) * (high - low) - middle
    return HeadTemplate(
        intensity=volume.astype(np.float32),
        cavity=cavity.astype(np.float32),
        origin=(float(middle[0]), float(middle[1]), float(middle[2])),
        csf=csf / white,
        gray=gray / white,
        sella=(float(sella[0]), float(sella[1]), float(sella[2])),
    )


def brain_of(scan: Scan) -> NDArray[np.bool_]:
    """Return the mask of the brain of a T1 scan, including fluid.

    Args:
        scan: A T1 volume with skull and scalp, with an affine.

    Returns:
        Mask in the shape of the scan's voxels, bool.

    Raises:
        UnsupportedScan: If no brain of a plausible volume is found.
    """
    volume, low = _on_lps_grid(scan)
    csf, gray, white = _tissue_levels(scan, volume)
    brain = _brain_hull(volume / np.float32(white), 0.5 * (csf + gray) / white)
    _check_volume(scan, float(brain.sum()) / 1000)
    to_patient = np.asarray(scan.affine, dtype=np.float64)
    return np.asarray(
        ndimage.affine_transform(
            brain.astype(np.float32),
            to_patient[:3, :3],
            to_patient[:3, 3] - low,
            output_shape=scan.voxels.shape,
            order=1,
        )
        > 0.5
    )


def _check_volume(scan: Scan, cubic_centimeters: float) -> None:
    if not _BRAIN_VOLUME[0] < cubic_centimeters < _BRAIN_VOLUME[1]:
        raise _no_brain(
            scan,
            f"found {cubic_centimeters:.0f} cm3 of brain, expected {_BRAIN_VOLUME[0]:.0f} to "
            f"{_BRAIN_VOLUME[1]:.0f}",
        )


def _no_brain(scan: Scan, found: str) -> UnsupportedScan:
    return UnsupportedScan(
        f"{scan.name}: {found}; a whole head in T1 without contrast agent is needed",
        reason="not_brain",
    )


def _on_lps_grid(scan: Scan) -> tuple[Float32Array, NDArray[np.float64]]:
    """Return a volume on a grid of 1 mm along the patient's axes, and its corner, LPS mm."""
    to_patient = np.asarray(scan.affine, dtype=np.float64)
    size = np.array(scan.voxels.shape) - 1
    corners = np.stack(np.meshgrid(*[(0, side) for side in size], indexing="ij")).reshape(3, -1)
    placed = to_patient[:3, :3] @ corners + to_patient[:3, 3:]
    low, high = placed.min(axis=1), placed.max(axis=1)
    to_index = np.linalg.inv(to_patient[:3, :3])
    volume = np.empty(np.ceil(high - low).astype(int) + 1, dtype=np.float32)
    start = to_index @ (low - to_patient[:3, 3])
    ndimage.affine_transform(scan.voxels, to_index, start, output=volume, order=1)
    return volume, low


def _tissue_levels(scan: Scan, volume: Float32Array) -> tuple[float, float, float]:
    """Return the mean intensities of fluid, gray and white matter in the middle of the head.

    Args:
        scan: The scan, for messages.
        volume: Its intensities on a grid of 1 mm, shape (x, y, z).

    Returns:
        Ascending intensities, all above 0.

    Raises:
        UnsupportedScan: If there is no head, or its middle has fewer than three levels.
    """
    values = _middle_of_head(scan, volume)
    # k-means in one dimension (Lloyd 1982), initialized at quantiles typical of T1.
    means: NDArray[np.floating[Any]] = np.quantile(values, (0.05, 0.4, 0.85))
    for _ in range(50):
        nearest = np.searchsorted((means[1:] + means[:-1]) / 2, values)
        count = np.bincount(nearest, minlength=len(means))
        if not count.all():
            raise _no_brain(scan, "the middle of the head has fewer than three levels of intensity")
        moved = np.bincount(nearest, values) / count
        if np.array_equal(moved, means):
            break
        means = moved
    return float(means[0]), float(means[1]), float(means[2])


def _middle_of_head(scan: Scan, volume: Float32Array) -> Float32Array:
    """Return the intensities within 5 cm of the middle of the head, without air, shape (n,)."""
    # Otherwise a volume of negative values would be all head.
    head = (volume > AIR * np.percentile(volume, 99)) & (volume > 0)
    slices = np.flatnonzero(head.any(axis=(0, 1)))
    # The middle of the brain lies about 8 cm below the crown.
    level = max(int(slices[-1]) - 80, 0) if slices.size else 0
    if not head[:, :, level].any():
        raise _no_brain(scan, "found no head around the place of the brain")
    x, y = (np.flatnonzero(head[:, :, level].any(axis=1 - axis)).mean() for axis in (0, 1))
    grid = np.ogrid[tuple(slice(0, side) for side in volume.shape)]
    ball = (grid[0] - x) ** 2 + (grid[1] - y) ** 2 + (grid[2] - level) ** 2 < 50**2
    values: Float32Array = volume[ball & head]
    if not values.size:
        raise _no_brain(scan, "found no tissue in the middle of the head")
    return values


def _distance(mask: NDArray[np.bool_]) -> Float32Array:
    """Return the distance of each voxel of a mask from the background, mm."""
    return np.asarray(ndimage.distance_transform_edt(mask), dtype=np.float32)


def _ball_dilated(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    return np.asarray(_distance(~mask) <= radius)


def _ball_eroded(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    return np.asarray(_distance(mask) > radius)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def _brain_hull(volume: Float32Array, darkest: float) -> NDArray[np.bool_]:
    """Return the brain with the fluid in its sulci and ventricles; white matter has intensity 1."""
    smooth = ndimage.gaussian_filter(volume, 0.6)
    core = _largest(_ball_eroded((smooth > darkest) & (smooth < 1.18), _CORE_MM))
    if not core.any():
        return core
    brain = ndimage.binary_dilation(
        core,
        ndimage.generate_binary_structure(3, 1),
        _GROWTH_STEPS,
        mask=(smooth > darkest * 0.93) & (smooth < 1.25),
    )
    # Distances take long: the rest of the head is left out.
    (box,) = ndimage.find_objects(brain, 1)
    hull = np.zeros_like(brain)
    hull[box] = _closed(brain[box])
    return hull


def _closed(brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a brain with sulci and ventricles filled, and without what thin bridges join to it."""
    room = int(_SULCUS_MM) + 4
    padded = np.pad(brain, room)
    closed = _ball_eroded(_ball_dilated(padded, _SULCUS_MM), _SULCUS_MM)
    filled = ndimage.binary_fill_holes(closed | padded)
    core = _largest(_ball_eroded(filled, _BRIDGE_MM))
    if not core.any():
        return np.zeros_like(brain)
    hull = _ball_dilated(core, _BRIDGE_MM + 0.6) & filled
    inner = slice(room, -room)
    return np.asarray(hull[inner, inner, inner])


class AugmentedHead:
    """A head template that is warped, scaled and possibly mirrored.

    Args:
        template: The real head.
        seed: Seed of the changes; the same seed makes the same head.
    """

    def __init__(self, template: HeadTemplate, seed: int) -> None:
        rng = np.random.default_rng((seed, 7))
        self._template = template
        self._scale = rng.uniform(0.92, 1.08, 3).astype(np.float32)
        self._scale[0] *= rng.choice((-1.0, 1.0))
        self._warp = [(SmoothNoise(rng, 45.0), SmoothNoise(rng, 18.0)) for _ in range(3)]
        self._warp_mm = (float(rng.uniform(1.0, 5.0)), float(rng.uniform(0.2, 1.2)))
        sella = np.array(template.sella) * np.abs(self._scale)
        self.sella = (float(sella[0]), float(sella[1]), float(sella[2]))

    def signal_at(
        self, points: Float32Array, signals: Mapping[str, float], softness: float
    ) -> Float32Array:
        """Return the signal at points.

        Args:
            points: Points, shape (3, n), LPS mm, origin in the middle of the brain.
            signals: Signal of each tissue by name.
            softness: Half the width of the transition between brain and skull, mm.

        Returns:
            Signal at each point, shape (n,).
        """
        template = self._template
        index = self._index(points)
        t1 = ndimage.map_coordinates(template.intensity, index, order=1)
        cavity = ndimage.map_coordinates(template.cavity, index, order=1, mode="nearest")
        white = signals["white"]
        brain = np.interp(
            t1,
            (template.csf * 0.4, template.csf, template.gray, 1.0, 1.3),
            (signals["csf"], signals["csf"], signals["gray"], white, 1.15 * white),
        )
        outside = np.interp(
            t1,
            (0.03, 0.25, template.gray, 1.5, 3.0),
            (0.0, signals["bone"], signals["muscle"], signals["fat"], 1.2 * signals["fat"]),
        )
        share = inside(cavity, max(softness, 0.5))
        return np.asarray(outside + share * (brain - outside), dtype=np.float32)

    def brain_distance(self, points: Float32Array) -> Float32Array:
        """Return the signed distance to the surface of the brain, negative inside, mm."""
        return self.cavity_distance(points)

    def cavity_distance(self, points: Float32Array) -> Float32Array:
        """Return the signed distance to the brain's hull, negative inside, mm."""
        index = self._index(points)
        return np.asarray(
            ndimage.map_coordinates(self._template.cavity, index, order=1, mode="nearest"),
            dtype=np.float32,
        )

    def parenchyma(self, points: Float32Array) -> Float32Array:
        """Return the share of brain, as opposed to fluid, around each point, 0..1."""
        template = self._template
        t1 = ndimage.map_coordinates(template.intensity, self._index(points), order=1)
        return np.asarray(
            np.interp(t1, (template.csf, 0.5 * (template.csf + template.gray)), (0.0, 1.0)),
            dtype=np.float32,
        )

    def _index(self, points: Float32Array) -> Float32Array:
        """Return the template's voxel index of each point."""
        coarse, fine = self._warp_mm
        bent = points + np.stack([coarse * a(points) + fine * b(points) for a, b in self._warp])
        origin = np.array(self._template.origin, dtype=np.float32)
        return np.asarray(bent / self._scale[:, None] + origin[:, None], dtype=np.float32)
