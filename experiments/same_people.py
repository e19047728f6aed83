"""Ask whether people of the known volumes are among those whose slices were learned from.

Every volume is laid onto every person's stack of slices of the same sequence: first the mean of
all volumes, from many starts, then each volume from there, by an affine map. Gray values are then
compared inside the brain, whole and as detail (what is left when a blurred copy is taken away):
folds of the cortex are a person's own. Controls: stacks made to look like such volumes, which must
find their person, and every stack mirrored, which nobody can be.
Run: python experiments/same_people.py DATA --json FILE [--pictures FOLDER]
"""

import argparse
import csv
import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation

Array = NDArray[np.float32]
# Millimeters: between points compared in the end, and what detail is finer than.
STEP, COARSE = 2, 5.0
PIXEL = 0.9
# Rotation (rad), shift (mm), logarithms of scales, shears: how far from none each may well be.
SPREAD = np.array([0.5] * 3 + [40.0] * 3 + [0.08, 0.08, 0.2] + [0.04] * 3)
SEED, CONTROLS, POINTS = 26, 3, 7_000
MIRRORED = 4
# A person whose stack the mean is laid onto with less detail in common gets more tries with a case.
SURELY_LAID = 0.3


KNOWN = (("brats18", "flair"), ("brats18", "t1"), ("brats13", "t1c"))
Poses = dict[str, list[Array]]


@dataclass(frozen=True)
class Case:
    """A volume without skull, axes to the left, the back and the top, one millimeter."""

    name: str
    voxels: Array
    brain: NDArray[np.bool_]
    tumor: NDArray[np.bool_]


@dataclass(frozen=True)
class Stack:
    """Slices of one person: columns, rows, slices from below; where the head's middle may be."""

    name: str
    voxels: Array
    tumor: Array
    spacing: Array
    middle: Array


@dataclass(frozen=True)
class Target:
    """What a case is compared by: points at two distances, and its grid with and without blur."""

    case: Case
    points: list[tuple[Array, Array]]
    grid: Array
    brain: NDArray[np.bool_]
    tumor: NDArray[np.bool_]
    near: Array
    values: Array
    detail: Array | None = None

    def detail_of(self, values: Array) -> Array:
        """Return what is left of values when a blurred copy is taken away, all inside the brain."""
        voxels = np.zeros(self.brain.shape, dtype=np.float32)
        voxels[self.brain] = values
        blurred = ndimage.gaussian_filter(voxels, COARSE / STEP)[self.brain]
        return values - blurred / self.near[self.brain]


@dataclass(frozen=True)
class Pair:
    """How alike a case and a person are where the map found lays them onto each other."""

    case: str
    person: str
    whole: float
    detail: float
    dice: float
    pose: Array


def read_case(folder: Path, sequence: str, tumor: str) -> Case:
    """Return a volume with its mask, turned if need be."""
    arrays = []
    for name in (sequence, tumor):
        image = nib.as_closest_canonical(nib.load(folder / f"{name}.nii.gz"))
        arrays.append(np.asarray(image.dataobj, dtype=np.float32)[::-1, ::-1])
    voxels, marked = arrays
    voxels = voxels - voxels.min()
    brain = ndimage.binary_opening(voxels > 0, iterations=2)
    low, high = np.percentile(voxels[brain], (1, 98))
    return Case(folder.name, np.clip(voxels, low, high) * brain, brain, marked > 0)


def read_cases(folder: Path, volumes: str, sequence: str) -> list[Case]:
    """Return all volumes of a set."""
    tumor = {"brats18": "tumor-mask", "brats13": "tumor-labels"}[volumes]
    return [read_case(path, sequence, tumor) for path in sorted((folder / volumes).iterdir())]


def read_stacks(folder: Path, sequence: str) -> list[Stack]:
    """Return each person's slices of a sequence, at half size, blurred as much."""
    paths: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with (folder / "manifest.csv").open(encoding="utf-8") as opened:
        for row in csv.DictReader(opened):
            if row["sequence"] == sequence:
                paths[row["patient"]].append((row["picture"], row["mask"]))
    return [_stack(folder, name, sorted(pictures)) for name, pictures in sorted(paths.items())]


def _stack(folder: Path, name: str, pictures: list[tuple[str, str]]) -> Stack:
    gray = np.stack([_half(folder / picture) for picture, _ in pictures], axis=2)
    blank = np.zeros(gray.shape[:2], dtype=np.float32)
    tumor = np.stack([_half(folder / mask) if mask else blank for _, mask in pictures], axis=2)
    head = ndimage.gaussian_filter(gray, (2, 2, 0)) > 0.08 * np.percentile(gray, 99)
    slices = np.flatnonzero(head.mean(axis=(0, 1)) > 0.03)
    spacing = np.array([2 * PIXEL, 2 * PIXEL, 165 / len(slices)], dtype=np.float32)
    middle = [np.nonzero(head)[axis].mean() for axis in (0, 1)]
    top = slices[-1] - 80 / spacing[2]
    inner = gray[30:-30, 30:-30, max(0, int(top)) : slices[-1] - 2]
    level = 1.8 * np.median(inner[inner > 0.1 * np.percentile(gray, 99)])
    place = np.array([*middle, top], dtype=np.float32)
    return Stack(name, np.minimum(gray, level), tumor / 255, spacing, place)


def _half(path: Path) -> Array:
    with Image.open(path) as opened:
        gray = np.asarray(opened.convert("L"), dtype=np.float32)
    return gray.reshape(128, 2, 128, 2).mean(axis=(1, 3)).T


def target_of(case: Case) -> Target:
    """Return what a case is compared by."""
    rng = np.random.default_rng(SEED)
    # Around the brain are water and bone, dark in all sequences: else the scalp passes for cortex.
    near = ndimage.binary_dilation(case.brain, iterations=5)
    filled = np.where(case.brain, case.voxels, np.percentile(case.voxels[case.brain], 5))
    points = []
    for blur, count in ((4.0, POINTS // 4), (1.5, POINTS)):
        chosen = rng.choice(np.argwhere(near), count, replace=False)
        blurred = ndimage.gaussian_filter(filled, blur)[tuple(chosen.T)]
        points.append((_centered(chosen), blurred.astype(np.float32)))
    box = tuple(
        slice(part.start, part.stop, STEP)
        for part in ndimage.find_objects(case.brain.astype(int))[0]
    )
    brain = case.brain[box]
    values = _blurred(case.voxels, case.brain, 1.0)[box]
    grid = _centered(np.argwhere(brain) * STEP + [part.start for part in box])
    near = ndimage.gaussian_filter(brain.astype(np.float32), COARSE / STEP)
    target = Target(case, points, grid, brain, case.tumor[box][brain], near, values[brain])
    return replace(target, detail=target.detail_of(target.values))


def _centered(indices: NDArray[np.int64]) -> Array:
    return (indices - np.array([120, 120, 70])).astype(np.float32)


def _blurred(voxels: Array, brain: NDArray[np.bool_], sigma: float) -> Array:
    inside = ndimage.gaussian_filter(brain.astype(np.float32), sigma)
    return ndimage.gaussian_filter(voxels * brain, sigma) / np.maximum(inside, 1e-3) * brain


def matrix_of(pose: Array) -> NDArray[np.float64]:
    """Return the linear part of a map."""
    stretch = np.diag(np.exp(pose[6:9]))
    stretch[[0, 0, 1], [1, 2, 2]] = pose[9:]
    return Rotation.from_rotvec(pose[:3]).as_matrix() @ stretch


def places(stack: Stack, pose: Array, points: Array) -> Array:
    """Return where points of a volume lie in a stack, in its pixels."""
    moved = points @ matrix_of(pose).T.astype(np.float32) + pose[3:6].astype(np.float32)
    return (moved / stack.spacing + stack.middle).T


def sampled(voxels: Array, where: Array, order: int = 1) -> Array:
    """Return interpolated values; nothing outside."""
    return ndimage.map_coordinates(voxels, where, order=order, output=np.float32)


def correlation(one: Array, other: Array | None) -> float:
    """Return Pearson's correlation; none of what is flat."""
    if other is None or min(one.std(), other.std()) < 1e-6:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


class Ladder:
    """A stack at two blurs, each with its slopes: what a map is found on."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.levels: list[list[Array]] = []
        for blur in (4.0, 1.5):
            sigma = [max(0.0, blur**2 - (PIXEL * 2 / 3) ** 2) ** 0.5 / (2 * PIXEL)] * 2
            along = blur / stack.spacing[2] if blur > stack.spacing[2] / 2 else 0.0
            soft = ndimage.gaussian_filter(stack.voxels, (*sigma, along))
            slopes = np.gradient(soft)
            self.levels.append(
                [soft, *(slope / size for slope, size in zip(slopes, stack.spacing, strict=True))]
            )

    def fit(
        self, level: int, pose: Array, points: Array, values: Array, steps: int, trust: float
    ) -> tuple[Array, float]:
        """Return the pose nearby that makes values most alike, and their correlation.

        Args:
            level: Index of the blur.
            pose: Initial pose, shape (12,).
            points: Points of the volume.
            values: The volume's there.
            steps: At most.
            trust: How much a better correlation counts against an unlikely pose.

        Returns:
            Pose and correlation.
        """
        damping = 1e-2
        correlation, slopes, lacking = self._look(level, pose, points, values)
        cost = _cost(correlation, pose, trust)
        for _ in range(steps):
            square = trust * slopes.T @ slopes + np.diag(1 / SPREAD**2)
            push = trust * slopes.T @ lacking - pose / SPREAD**2
            square[np.diag_indices(12)] *= 1 + damping
            tried = pose + np.linalg.solve(square, push)
            new, new_slopes, new_lacking = self._look(level, tried, points, values)
            new_cost = _cost(new, tried, trust)
            if new_cost < cost:
                gained, damping = cost - new_cost, damping / 4
                pose, correlation, cost = tried, new, new_cost
                slopes, lacking = new_slopes, new_lacking
                if gained < 1e-3:
                    break
            elif damping > 1e3:
                break
            else:
                damping *= 8
        return pose, correlation

    def _look(
        self, level: int, pose: Array, points: Array, values: Array
    ) -> tuple[float, Array, Array]:
        """Return the correlation, its slopes by the pose, and the residual of the volume."""
        where = places(self.stack, pose, points)
        gray, *slopes = (sampled(one, where) for one in self.levels[level])
        gray = gray - gray.mean()
        wanted = values - values.mean()
        wanted = wanted / max(float(np.linalg.norm(wanted)), 1e-6)
        length = max(float(np.linalg.norm(gray)), 1e-6)
        unit = gray / length
        correlation = float(unit @ wanted)
        by_matrix = np.concatenate([slope[:, None] * points for slope in slopes], axis=1)
        whole = np.concatenate([by_matrix @ _matrix_slopes(pose), np.stack(slopes, axis=1)], axis=1)
        whole = whole[:, [0, 1, 2, 9, 10, 11, 3, 4, 5, 6, 7, 8]] * (max(correlation, 0.05) / length)
        whole = whole - whole.mean(axis=0)
        whole = whole - unit[:, None] * (unit @ whole)
        return correlation, whole, wanted - correlation * unit


def _cost(correlation: float, pose: Array, trust: float) -> float:
    return trust * (1 - max(correlation, 0.0) ** 2) + float(((pose / SPREAD) ** 2).sum())


def _matrix_slopes(pose: Array) -> Array:
    """Return how the nine numbers of the matrix change with rotation, scales and shears."""
    columns = []
    for index in (0, 1, 2, 6, 7, 8, 9, 10, 11):
        step = np.zeros(12)
        step[index] = 1e-4
        columns.append(((matrix_of(pose + step) - matrix_of(pose - step)) / 2e-4).ravel())
    return np.stack(columns, axis=1).astype(np.float32)


def first_pose(ladder: Ladder, mean: Target) -> Pair:
    """Return how the mean of all volumes lies best in a stack, from many starts."""
    found = []
    for tilt in (-0.35, 0.0, 0.35):
        for lift in (-20.0, 0.0, 20.0):
            for scale in (-0.25, 0.0, 0.25):
                start = np.zeros(12)
                start[[0, 5, 8]] = tilt, lift, scale
                found.append(ladder.fit(0, start, *mean.points[0], 10, 200))
    found.sort(key=lambda one: one[1], reverse=True)
    pairs = [compare(ladder, pose, mean) for pose, _ in _sandbox(found)[:4]]
    return max(pairs, key=lambda pair: pair.whole + pair.detail)


def first_poses(stacks: dict[str, list[Stack]], means: dict[str, Target]) -> Poses:
    """Return poses by person: of T1, where brains look most alike, and others if that is bad."""
    poses: Poses = defaultdict(list)
    laid: set[str] = set()
    for name in ("t1", "t1c", "flair"):
        for stack in stacks[name]:
            if stack.name not in laid:
                pair = first_pose(Ladder(stack), means["flair" if name == "flair" else "t1"])
                poses[stack.name].append(pair.pose)
                if pair.detail > SURELY_LAID:
                    laid.add(stack.name)
    return poses


def _sandbox(found: list[tuple[Array, float]]) -> list[tuple[Array, float]]:
    """Return the first of poses that differ little."""
    kept: list[tuple[Array, float]] = []
    for pose, correlation in found:
        if all(np.abs((pose - other) / SPREAD).max() > 0.2 for other, _ in kept):
            kept.append((pose, correlation))
    return kept


def compare(ladder: Ladder, start: Array, target: Target) -> Pair:
    """Return how alike a case and a person are in the best pose near a start."""
    pose, _ = ladder.fit(0, start, *target.points[0], 12, 600)
    pose, _ = ladder.fit(1, pose, *target.points[1], 15, 2000)
    where = places(ladder.stack, pose, target.grid)
    gray = sampled(ladder.stack.voxels, where)
    gray = np.minimum(gray, np.percentile(gray, 98))
    marked = sampled(ladder.stack.tumor, where) > 0.5
    dice = 2 * float((marked & target.tumor).sum()) / max(1, int(marked.sum() + target.tumor.sum()))
    whole = correlation(gray, target.values)
    detail = correlation(target.detail_of(gray), target.detail)
    return Pair(target.case.name, ladder.stack.name, whole, detail, dice, pose)


def mean_case(cases: list[Case]) -> Case:
    """Return the median of volumes where most have brain: tumors fall out of it."""
    brain = np.mean([case.brain for case in cases], axis=0) > 0.5
    even = [case.voxels / np.median(case.voxels[case.brain]) for case in cases]
    voxels = np.median(np.where(brain, even, 0), axis=0)
    voxels = (voxels + voxels[::-1]) / 2
    brain &= brain[::-1]
    return Case("mean", voxels.astype(np.float32) * brain, brain, np.zeros_like(brain))


def mirrored(stack: Stack) -> Stack:
    """Return a stack with left and right exchanged."""
    middle = stack.middle.copy()
    middle[0] = stack.voxels.shape[0] - 1 - middle[0]
    flipped = np.ascontiguousarray(stack.voxels[::-1])
    tumor = np.ascontiguousarray(stack.tumor[::-1])
    return replace(stack, voxels=flipped, tumor=tumor, middle=middle)


def disguised(stack: Stack, pose: Array, brain: NDArray[np.bool_], seed: int) -> Case:
    """Return a stack as such a volume: turned, scaled, sheared, without skull, other grays.

    Args:
        stack: Slices of a person.
        pose: How the mean of all volumes lies in it.
        brain: Brain mask of some case, to strip the head by.
        seed: Seed of the turn and of the grays.

    Returns:
        A volume with its tumor.
    """
    rng = np.random.default_rng(seed)
    turn = rng.normal(size=12) * np.array([0.08] * 3 + [4.0] * 3 + [0.05] * 3 + [0.02] * 3)
    points = _centered(np.argwhere(np.ones(brain.shape, dtype=bool)))
    points = points @ matrix_of(turn).T.astype(np.float32) + turn[3:6].astype(np.float32)
    where = places(stack, pose, points)
    there = (points + np.array([120, 120, 70], dtype=np.float32)).T
    kept = (sampled(brain.astype(np.float32), there) > 0.5).reshape(brain.shape)
    gray = np.maximum(sampled(stack.voxels, where, order=3).reshape(brain.shape), 0)
    bias = ndimage.zoom(rng.normal(1, 0.15, (3, 3, 3)), np.array(brain.shape) / 3, order=3)
    level = float(np.percentile(gray[kept], 98))
    gray = np.minimum(gray / level, 1.2) ** 0.8 * bias + rng.normal(0, 0.03, brain.shape)
    tumor = (sampled(stack.tumor, where) > 0.5).reshape(brain.shape) & kept
    voxels = np.maximum(gray, 0.01).astype(np.float32) * kept
    return Case(stack.name, voxels, kept, tumor)


def verdict(pairs: list[Pair]) -> dict[str, object]:
    """Return a case's best person, the next, and by how much the best stands out."""
    results: dict[str, object] = {"case": pairs[0].case, "people": len(pairs)}
    for what in ("whole", "detail"):
        ranked = sorted(pairs, key=lambda pair: getattr(pair, what), reverse=True)
        others = np.array([getattr(pair, what) for pair in ranked[1:]])
        best = getattr(ranked[0], what)
        results[what] = {
            "best": ranked[0].person,
            "ncc": round(best, 3),
            "runner-up": ranked[1].person,
            "its ncc": round(float(others[0]), 3),
            "median": round(float(np.median(others)), 3),
            "z": round(float((best - others.mean()) / others.std()), 2),
            "dice of the first three": [round(pair.dice, 2) for pair in ranked[:3]],
        }
    results["best dice"] = round(max(pair.dice for pair in pairs), 2)
    return results


def turned(pose: Array) -> Array:
    """Return a pose in the mirrored stack."""
    return pose * np.array([1, -1, -1, -1, 1, 1, 1, 1, 1, -1, -1, 1])


def starts_of(ladder: Ladder, poses: list[Array], mean: Target) -> list[Array]:
    """Return the poses to try with every case: the best with the mean, or all where that is bad."""
    pairs = [compare(ladder, pose, mean) for pose in poses]
    pairs.sort(key=lambda pair: pair.whole + pair.detail, reverse=True)
    return [pair.pose for pair in pairs[: 1 if pairs[0].detail > SURELY_LAID else None]]


def search(
    cases: list[Case], mean: Target, stacks: list[Stack], poses: Poses, flip: bool = False
) -> dict[str, list[Pair]]:
    """Return every case's pairs, person by person."""
    targets = [target_of(case) for case in cases]
    found: dict[str, list[Pair]] = defaultdict(list)
    for stack in stacks:
        ladder = Ladder(mirrored(stack) if flip else stack)
        tried = [turned(pose) if flip else pose for pose in poses[stack.name]]
        starts = starts_of(ladder, tried, mean)
        for target in targets:
            pairs = [compare(ladder, start, target) for start in starts]
            found[target.case.name].append(max(pairs, key=lambda pair: pair.whole + pair.detail))
    return found


def controls(
    mean: Target, brains: list[Case], sources: list[Stack], stacks: list[Stack], poses: Poses
) -> list[dict[str, object]]:
    """Return whether people in disguise are found, and what is found where they are left out."""
    known = {stack.name for stack in stacks}
    able = [stack for stack in sources if stack.name in known]
    chosen = [able[index] for index in np.linspace(3, len(able) - 4, CONTROLS).astype(int)]
    cases = [
        disguised(
            stack,
            starts_of(Ladder(stack), poses[stack.name], mean)[0],
            brains[number].brain,
            number,
        )
        for number, stack in enumerate(chosen)
    ]
    results = []
    for name, pairs in search(cases, mean, stacks, poses).items():
        without = [pair for pair in pairs if pair.person != name]
        own = next(pair for pair in pairs if pair.person == name)
        row = {"own dice": round(own.dice, 2), "present": verdict(pairs)}
        results.append({"case": name, **row, "left out": verdict(without)})
    return results


def draw(folder: Path, cases: list[Case], stacks: list[Stack], pairs: list[Pair]) -> None:
    """Save a case beside its three best people, in the case's own planes, tumors outlined."""
    case = next(case for case in cases if case.name == pairs[0].case)
    people = {stack.name: stack for stack in stacks}
    heights = np.flatnonzero(case.brain.any(axis=(0, 1)))
    planes = np.quantile(heights, (0.3, 0.45, 0.6, 0.75, 0.88)).astype(int)
    rows = [[_shown(case.voxels[..., z], case.tumor[..., z]) for z in planes]]
    for pair in sorted(pairs, key=lambda one: one.detail, reverse=True)[:3]:
        row, stack = [], people[pair.person]
        for z in planes:
            plane = np.ones((*case.brain.shape[:2], 1), dtype=bool)
            points = _centered(np.argwhere(plane) + np.array([0, 0, z]))
            where = places(stack, pair.pose, points)
            both = [sampled(one, where).reshape(240, 240) for one in (stack.voxels, stack.tumor)]
            row.append(_shown(both[0], both[1] > 0.5))
        rows.append(row)
    picture = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
    Image.fromarray(picture).save(folder / f"{case.name}.png")


def _shown(gray: Array, tumor: NDArray[np.bool_]) -> NDArray[np.uint8]:
    scaled = np.clip(gray / max(float(np.percentile(gray, 99.5)), 1e-6) * 255, 0, 255)
    scaled[tumor & ~ndimage.binary_erosion(tumor)] = 255
    return scaled[25:215, 15:230].T.astype(np.uint8)


def main() -> None:
    """Print and write who is most like whom, and what the controls gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    began, results = time.perf_counter(), {}
    stacks = {name: read_stacks(options.data / "lgg", name) for name in ("flair", "t1", "t1c")}
    known = {name: read_cases(options.data / "volumes", *name) for name in KNOWN}
    means = {name[1]: target_of(mean_case(cases)) for name, cases in known.items()}
    poses = first_poses(stacks, means)
    print(f"laid: {time.perf_counter() - began:.0f} s", flush=True)
    for (volumes, sequence), cases in known.items():
        mean, own = means[sequence], stacks[sequence]
        found = search(cases, mean, own, poses)
        mirror = search(cases[:MIRRORED], mean, own, poses, flip=True)
        other = stacks["t1c"] if sequence == "t1" else own
        again = controls(mean, cases, own, other, poses) if other is not own else []
        results[f"{volumes} {sequence}"] = {
            "cases": [verdict(pairs) for pairs in found.values()],
            "mirrored": [verdict(pairs) for pairs in mirror.values()],
            "controls": controls(mean, cases, own, own, poses),
            **({"controls in t1c": again} if again else {}),
        }
        print(f"{volumes} {sequence}: {time.perf_counter() - began:.0f} s", flush=True)
        for row in results[f"{volumes} {sequence}"]["cases"]:
            print(json.dumps(row), flush=True)
        if options.pictures:
            folder = options.pictures / f"{volumes}-{sequence}"
            folder.mkdir(parents=True, exist_ok=True)
            for pairs in found.values():
                draw(folder, cases, own, pairs)
    options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
