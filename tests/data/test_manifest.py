import pytest
from PIL import Image

from meninx.data.manifest import COLUMNS, read_manifest
from meninx.errors import DataError

GOOD = [
    {"id": "a", "picture": "a.png", "mask": "a.png", "tumor": "1", "tumor_type": "glioma",
     "group": "g1", "fold": "1", "source": "s"},
    {"id": "b", "picture": "b.png", "mask": "", "tumor": "0", "tumor_type": "none",
     "group": "g2", "fold": "2", "source": "s"},
    {"id": "c", "picture": "c.png", "mask": "", "tumor": "1", "tumor_type": "unknown",
     "group": "g1", "fold": "1", "source": "s"},
]  # fmt: skip


def write(folder, rows, columns=COLUMNS):
    for name in "abc":
        Image.new("L", (8, 9)).save(folder / f"{name}.png")
    lines = [",".join(columns)] + [",".join(row[column] for column in columns) for row in rows]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_rows_become_pictures(tmp_path):
    write(tmp_path, GOOD)
    manifest = read_manifest(tmp_path)
    a, b, c = manifest.pictures
    assert (a.tumor, a.tumor_type, a.mask) == (True, "glioma", tmp_path / "a.png")
    assert (b.tumor, b.tumor_type, b.mask) == (False, None, None)
    assert (c.tumor, c.tumor_type) == (True, None)
    assert manifest.fold(1) == (a, c)
    assert manifest.without_fold(1) == (b,)
    assert len(manifest.sha256) == 64


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, {"picture": "gone.png"}, "gone.png does not exist"),
        (0, {"tumor": "yes"}, "tumor is 'yes'"),
        (0, {"tumor": "0"}, "tumor is 0 but tumor_type is 'glioma'"),
        (0, {"tumor_type": "gliom"}, "tumor_type is 'gliom'"),
        (1, {"id": "a"}, "id a appears twice"),
        (2, {"fold": "2"}, "group g1 lies in the folds 1 and 2"),
        (2, {"fold": "x"}, "fold is 'x'"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, index, change, message):
    rows = [dict(row) for row in GOOD]
    rows[index] |= change
    write(tmp_path, rows)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_missing_columns_and_manifest(tmp_path):
    with pytest.raises(DataError, match="no manifest"):
        read_manifest(tmp_path)
    write(tmp_path, GOOD, COLUMNS[:-2])
    with pytest.raises(DataError, match="fold, source are missing"):
        read_manifest(tmp_path)
