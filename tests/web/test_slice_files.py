"""Volumes are sent slice by slice, whole or around one slice, and read again as they were."""

import zlib

import numpy as np
import pytest

from meninx._scan.scan import Scan
from meninx._web.studies.scoring import _as_stored, _gray_values
from meninx._web.studies.slice_files import read_slices, slice_order, write_slices

SHAPE = (9, 7, 5)
KINDS = {
    "8 bits": np.arange(315) % 256,
    "16 bits": np.arange(315) * 90 - 9000,
    "32 bits": np.arange(315) * 0.37,
}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_written_volume_is_read_unchanged(tmp_path, axis, kind):
    values = KINDS[kind].astype(np.float32).reshape(SHAPE)
    stored = _as_stored(values)
    assert stored.itemsize * 8 == int(kind.split()[0])
    write_slices(stored, Scan("s", values, np.eye(4), slice_axis=axis), tmp_path / "0.slices", 2)
    read = read_slices(tmp_path / "0.slices", SHAPE, axis)
    assert read.dtype == stored.dtype
    assert (read == stored).all()


def test_slices_follow_by_their_distance_from_the_first():
    assert slice_order(1, 5) == [1, 2, 0, 3, 4]
    assert slice_order(4, 5) == [4, 3, 2, 1, 0]


def test_the_window_has_the_tissue_and_never_is_empty():
    voxels = np.zeros((8, 8, 8), np.float32)
    assert _gray_values(voxels) == (0, 0, 0, 0)
    voxels[3, 3, 3] = 500
    assert _gray_values(voxels) == (0, 0, 500, 500)
    voxels[:] = np.arange(512).reshape(8, 8, 8)
    lowest, low, high, highest = _gray_values(voxels)
    assert lowest == 0 < low < high < highest == 511


def sent(browser, address, **query):
    """Return the header and the indices of the slices that are sent."""
    answer = browser.client.get(address, params=query)
    assert int(answer.headers["content-length"]) == len(answer.content)
    content = zlib.decompress(answer.content, -15)
    columns, rows = np.frombuffer(content[42:46], "<i2").tolist()
    size = 4 + columns * rows * int(np.frombuffer(content[72:74], "<i2")[0]) // 8
    parts = [content[at : at + 4] for at in range(352, len(content), size)]
    return content[:352], [int.from_bytes(part, "little") for part in parts]


def test_the_slices_near_one_are_sent_alone(scored):
    browser = scored.browser()
    address = f"/studies/{scored.study_id}/files/0.slices"
    header, all_slices = sent(browser, address)
    assert header[344:348] == b"n+1\0"
    (finding,) = browser.client.get(f"/api/v1/studies/{scored.study_id}/finding").json()
    hottest = max(finding["slices"], key=lambda scored: scored["probability"])["index"]
    assert all_slices[0] == hottest
    assert sorted(all_slices) == list(range(len(all_slices)))
    assert sent(browser, address, near=0, most=2) == (header, [0, 1])
    assert sent(browser, address, near=10**6, most=1) == (header, [len(all_slices) - 1])
    tags = {
        browser.client.get(address, params=query).headers["etag"]
        for query in ({}, {"near": 0}, {"near": 1})
    }
    assert len(tags) == 3
    assert browser.client.get(address, params={"near": 0, "most": 65}).status_code == 422
