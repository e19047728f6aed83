"""Make gray pictures that are no brain MRI: noise, gradients, shapes, photographs, other organs.

Photographs and drawings come with scikit-image, scikit-learn and Matplotlib, other modalities with
pydicom; the rest is drawn here. All by seed, so that two runs see the same.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import skimage
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from scipy import ndimage
from sklearn import datasets

Picture = NDArray[np.float32]
SIDE = 256
# Photographs, textures, drawings and text; pictures of color lose it here.
PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
DRAWINGS = (
    "chessboard_GRAY.png",
    "color.png",
    "horse.png",
    "logo.png",
    "page.png",
    "phantom.png",
    "text.png",
)
OTHER_MODALITIES = (
    "CT_small.dcm",
    "JPEG2000.dcm",
    "examples_overlay.dcm",
    "693_J2KI.dcm",
    "examples_jpeg2k.dcm",
)


def all_kinds(seed: int = 0, each: int = 40) -> dict[str, list[Picture]]:
    """Return pictures by kind.

    Args:
        seed: Seed of the random draws.
        each: Pictures of every kind that is drawn by code.

    Returns:
        Gray pictures of all sizes, any intensities.
    """
    rng = np.random.default_rng(seed)
    drawn = {
        "noise": _noise,
        "gradients": _gradient,
        "shapes": _shapes,
        "chest": _chest,
        "abdomen": _abdomen,
        "limb": _limb,
    }
    kinds = {name: [make(rng) for _ in range(each)] for name, make in drawn.items()}
    kinds["photographs"] = [part for path in _photographs() for part in _parts(rng, _gray(path))]
    kinds["drawings"] = [part for path in _drawings() for part in _parts(rng, _gray(path))]
    kinds["other modalities"] = list(_other_modalities())
    return kinds


def _photographs() -> Iterator[Path]:
    folder = Path(skimage.__file__).parent / "data"
    yield from (folder / name for name in PHOTOGRAPHS)
    yield Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"
    images = Path(datasets.__file__).parent / "images"
    yield from sorted(images.glob("*.jpg"))


def _drawings() -> Iterator[Path]:
    folder = Path(skimage.__file__).parent / "data"
    yield from (folder / name for name in DRAWINGS)


def _gray(path: Path) -> Picture:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("L"), dtype=np.float32)


def _parts(rng: np.random.Generator, image: Picture) -> Iterator[Picture]:
    """Yield a picture whole, a square part, and its middle in a round window on black."""
    yield image
    side = min(image.shape)
    row, column = (int(rng.integers(length - side + 1)) for length in image.shape)
    square = image[row : row + side, column : column + side]
    yield square
    y, x = np.ogrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    yield np.where(x**2 + (y * 0.85) ** 2 < 0.7, square, 0).astype(np.float32)


def _other_modalities() -> Iterator[Picture]:
    for name in OTHER_MODALITIES:
        path = get_testdata_file(name, download=False)
        if path is None:
            continue
        values = pydicom.dcmread(path).pixel_array.astype(np.float32)
        while values.ndim > 2:
            values = values[0] if values.shape[-1] > 4 else values.mean(axis=-1)
        yield values


def _noise(rng: np.random.Generator) -> Picture:
    values = rng.choice([rng.normal, rng.uniform])(size=(SIDE, SIDE))
    smoothness = float(rng.choice((0.0, 0.7, 2.0, 5.0, 12.0)))
    if smoothness:
        values = ndimage.gaussian_filter(values, smoothness)
    values = (values - values.min()) / np.ptp(values) * 255
    if rng.random() < 0.3:
        values = values * _ellipse((0, 0), (0.7, 0.85))
    return values.astype(np.float32)


def _gradient(rng: np.random.Generator) -> Picture:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    around = np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.5))
    values = (
        along,
        around,
        np.sin(rng.uniform(3, 25) * along),
        np.sin(rng.uniform(3, 25) * around),
    )
    chosen = values[int(rng.integers(len(values)))]
    return ((chosen - chosen.min()) / np.ptp(chosen) * 255).astype(np.float32)


def _ellipse(
    center: tuple[float, float], radius: tuple[float, float], angle: float = 0.0
) -> NDArray[np.bool_]:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    x, y = x - center[0], y - center[1]
    cos, sin = np.cos(angle), np.sin(angle)
    inner = ((x * cos + y * sin) / radius[0]) ** 2 + ((y * cos - x * sin) / radius[1]) ** 2
    return np.asarray(inner < 1)


def _shapes(rng: np.random.Generator) -> Picture:
    image = np.full((SIDE, SIDE), rng.uniform(0, 60))
    for _ in range(int(rng.integers(1, 9))):
        level = rng.uniform(40, 255)
        if rng.random() < 0.5:
            size = (rng.uniform(0.05, 0.7), rng.uniform(0.05, 0.7))
            image[_ellipse(tuple(rng.uniform(-0.7, 0.7, 2)), size, rng.uniform(0, 3))] = level
        else:
            row, column = rng.integers(0, SIDE - 40, 2)
            height, width = rng.integers(20, SIDE // 2, 2)
            image[row : row + height, column : column + width] = level
    return _grained(rng, image)


def _grained(rng: np.random.Generator, image: NDArray[np.float64], sigma: float = 4.0) -> Picture:
    """Return a picture a little blurred, with noise, so that it has hundreds of gray levels."""
    blurred = ndimage.gaussian_filter(image, rng.uniform(0.5, 1.5))
    return np.clip(blurred + rng.normal(0, sigma, image.shape), 0, 255).astype(np.float32)


def _body(rng: np.random.Generator) -> tuple[NDArray[np.float64], float, float]:
    """Return a trunk with fat under its skin, and its half axes."""
    width, height = rng.uniform(0.75, 0.95), rng.uniform(0.5, 0.7)
    image = np.zeros((SIDE, SIDE))
    image[_ellipse((0, 0), (width, height))] = rng.uniform(120, 230)
    image[_ellipse((0, 0), (width - 0.07, height - 0.07))] = rng.uniform(70, 130)
    spine = rng.uniform(140, 255)
    image[_ellipse((0, height * 0.62), (0.11, 0.10))] = spine
    image[_ellipse((0, height * 0.62 + 0.13), (0.035, 0.04))] = rng.uniform(20, 240)
    return image, width, height


def _chest(rng: np.random.Generator) -> Picture:
    image, width, height = _body(rng)
    lung = rng.uniform(0, 25)
    for side in (-1, 1):
        tilt = side * rng.uniform(0, 0.3)
        image[_ellipse((side * width * 0.45, -0.05), (width * 0.33, height * 0.62), tilt)] = lung
    heart = _ellipse((rng.uniform(0, 0.2), -0.1), (0.26, 0.22), rng.uniform(-0.5, 0.5))
    image[heart] = rng.uniform(80, 200)
    image[_ellipse((0.05, height * 0.35), (0.06, 0.06))] = rng.uniform(60, 255)
    for x, y in rng.uniform(-0.5, 0.5, (30, 2)):
        image[_ellipse((x, y * 0.8), (0.008, 0.008))] += rng.uniform(10, 90)
    return _grained(rng, image)


def _abdomen(rng: np.random.Generator) -> Picture:
    image, width, height = _body(rng)
    image[_ellipse((-width * 0.45, -0.1), (0.36, 0.30), rng.uniform(-0.4, 0.4))] = rng.uniform(
        60, 200
    )
    image[_ellipse((width * 0.55, 0.0), (0.15, 0.2), rng.uniform(-0.6, 0.6))] = rng.uniform(60, 220)
    for side in (-1, 1):
        image[_ellipse((side * 0.33, height * 0.5), (0.11, 0.13))] = rng.uniform(90, 240)
    image[_ellipse((0.04, height * 0.35), (0.055, 0.055))] = rng.uniform(10, 255)
    for x, y in rng.uniform(-0.35, 0.35, (14, 2)):
        image[_ellipse((x, y * 0.6 - 0.15), (0.07, 0.06))] = rng.uniform(20, 220)
    return _grained(rng, image)


def _limb(rng: np.random.Generator) -> Picture:
    """Return a thigh or a knee: muscle around bone, once or twice."""
    image = np.zeros((SIDE, SIDE))
    centers = [(-0.48, 0.0), (0.48, 0.0)] if rng.random() < 0.5 else [(0.0, 0.0)]
    reach = 0.44 if len(centers) == 2 else 0.8
    fat, muscle, bone = rng.uniform(150, 255), rng.uniform(60, 130), rng.uniform(0, 40)
    for x, y in centers:
        image[_ellipse((x, y), (reach, reach))] = fat
        image[_ellipse((x, y), (reach * 0.85, reach * 0.85))] = muscle
        for _ in range(5):
            dx, dy = rng.uniform(-0.4, 0.4, 2) * reach
            image[_ellipse((x + dx, y + dy), (reach * 0.02, reach * 0.35), rng.uniform(0, 3))] = fat
        image[_ellipse((x, y), (reach * 0.24, reach * 0.24))] = bone
        image[_ellipse((x, y), (reach * 0.16, reach * 0.16))] = rng.uniform(120, 255)
    return _grained(rng, image)
