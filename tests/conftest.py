"""Fixtures for all tests: tiny scans whose sides and spacings all differ, and the real data."""

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from meninx._scan.geometry import Plane, affine_of_stack
from meninx._scan.scan import Scan
from meninx._synthesis.phantom import Grid, grid_of
from meninx._synthesis.phantom_studies import PhantomStudy, make_studies, make_study

# Row and column cosines of an oblique plane, turned about all three axes.
OBLIQUE = np.linalg.qr(np.array([[1.0, 0.1, 0.2], [-0.15, 1.0, 0.1], [-0.2, -0.1, 1.0]]).T)[0].T
OBLIQUE = OBLIQUE * np.sign(np.diag(OBLIQUE))[:, None]

# How long an example takes says how busy the machine is.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def real_scans() -> Path | None:
    """Return the folder of real scans; None where there is none."""
    named = os.environ.get("MENINX_DATA")
    return Path(named) if named and Path(named).is_dir() else None


def pytest_report_header() -> str:
    folder = real_scans()
    if folder is None:
        return "real scans: not here (MENINX_DATA names no folder), so tests on them are left out"
    return f"real scans: {folder}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests on real scans where there are none; that is said above, and no skip."""
    if real_scans() is not None:
        return
    left_out = [item for item in items if "real_data" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Leave what the modules hold out of each garbage collection: a million objects take 0.6 s."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """In CI, which provides what every test needs, a skipped test is a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("MENINX_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although nothing may be: {report.longrepr}"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make what all workers of a run read: the first that needs it makes it, the others wait.

    Args:
        folder: Folder inside `shared`.
        make: Function that fills a folder.

    Returns:
        The folder, filled.
    """
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            part = folder.with_suffix(".part")
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def cheap_training(shared: Path) -> Iterator[None]:
    """Trace a network's structure once a run, and calibrate on coarse heads."""
    if "torch" not in sys.modules:
        yield
        return
    from tests.exporting import SharedExporter

    coarse = partial(make_studies, grid=coarse_grid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.onnx.export", SharedExporter(shared))
        patch.setattr("meninx._synthesis.simulated_scans.make_studies", coarse)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = real_scans()
    assert folder is not None, "left out at collection where there are none"
    return folder


@pytest.fixture(scope="session")
def dciodvfy() -> str:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    return program


def affine_for(orientation: np.ndarray, position=(-11.0, 7.0, 23.0)) -> np.ndarray:
    return affine_of_stack(position, np.asarray(orientation).ravel()[:6], (1.3, 1.1), 2.7)


@pytest.fixture
def tiny_scan() -> Scan:
    """7 x 8 x 9 voxels of 1.1 x 1.3 x 2.7 mm, oblique."""
    voxels = np.random.default_rng(0).integers(0, 4000, (7, 8, 9)).astype(np.float32)
    return Scan("tiny", voxels, affine_for(OBLIQUE), "T2")


@pytest.fixture(scope="session")
def head_grid() -> Grid:
    return grid_of("axial", (104, 120, 9), (1.9, 1.8, 11.0))


def coarse_grid(plane: Plane) -> Grid:
    """An eighth of a usual scan's voxels: for pictures that need only be heads."""
    return grid_of(plane, (80, 96, 12), (2.6, 2.5, 12.0))


@pytest.fixture(scope="session")
def sick(head_grid: Grid) -> PhantomStudy:
    return make_study("sick", 7, "glioma", "T1c", "axial", head_grid)


@pytest.fixture(scope="session")
def healthy(head_grid: Grid) -> PhantomStudy:
    return make_study("healthy", 8, None, "T2", "axial", head_grid)


@pytest.fixture
def errors() -> list:
    return []


@pytest.fixture
def read_all(errors: list) -> Callable[[Path], list[Scan]]:
    from meninx._scan.reading import read_scans

    return lambda path: list(read_scans(path, errors.append))


@pytest.fixture
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands train on 32 pictures an epoch, where what is learned is not tested."""
    from meninx._learn import recipe

    read = recipe.read_recipe

    def shortened(path: Path) -> recipe.Recipe:
        whole = read(path)
        return replace(whole, training=replace(whole.training, pictures_per_epoch=32))

    monkeypatch.setattr(recipe, "read_recipe", shortened)


def stored_otherwise(scan, order, flips):
    """Return a volume with permuted and flipped voxel axes: the same head in space."""
    voxels, affine = scan.voxels.transpose(order), scan.affine[:, [*order, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            voxels = np.flip(voxels, axis)
            affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Scan(scan.name, np.ascontiguousarray(voxels), affine, scan.sequence)
