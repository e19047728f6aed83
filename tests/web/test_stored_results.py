"""What the database keeps of a scored study goes out of it in types."""

import json
from dataclasses import replace

import pytest

from meninx._detect.findings import Findings
from meninx._render.region import Region
from meninx._web.store.stored_results import SeriesIdentity, Shown, StoredSeries, series_identities
from tests.web.findings import finding

REGION = Region("left", (34, 28, 15), (2, 5), (4, 5, 6), (1.5, 2, 3), ((1, 2, 3), (7, 8, 9)), 0.97)
SHOWN = Shown(
    volume="3.nii",
    shape=(7, 8, 9),
    slice_axis=0,
    geometry=True,
    heat="3-heat.nii",
    picture="3.png",
    thumb="3-thumb.png",
    plane="sagittal",
    regions=(REGION, replace(REGION, extent_mm=None, point_mm=None, side=None)),
    midline_mm=-4.5,
    gray=(-3, 0, 700, 912.5),
    affine=((0, 0, 2.7, -9.1), (1.1, 0, 0, 4), (0, 1.3, 0, -7), (0, 0, 0, 1)),
    spacing_mm=(1.1, 1.3, 2.7),
)


@pytest.mark.parametrize(
    "shown",
    [
        SHOWN,
        replace(SHOWN, regions=(), heat=None, withheld="no place"),
        Shown(volume="0.nii", shape=(240, 256, 1), slice_axis=2, geometry=False),
        None,
    ],
)
def test_a_stored_series_is_read_unchanged(shown):
    findings = Findings.from_json(
        finding(slices=[{"index": 4, "probability": 0.9, "peak": [1, 2, 4]}])
    )
    identity = SeriesIdentity("1.2.3", 7, "t1", "a.nii", "T1c", "axial", 9, "scored")
    series = StoredSeries(findings, identity, shown, "" if shown else "0-preview.png", 3, "why")
    stored = json.loads(json.dumps(series.as_json(), allow_nan=False))
    again = StoredSeries.from_json(stored)
    assert again.as_json() == series.as_json()
    assert (again.shown, again.identity) == (series.shown, identity)
    assert (again.preview, again.objects, again.why) == (series.preview, 3, "why")
    assert again.findings.slice_count == (shown.slices if shown else 5)


def test_a_series_of_the_first_schema_has_no_regions_until_it_is_scored_again():
    stored = StoredSeries(Findings.from_json(finding()), shown=SHOWN).as_json()
    del stored["viewer"]["regions"]
    stored["viewer"]["region"] = {"side": "left", "extent_mm": None, "slices": [1, 2], "others": 0}
    assert StoredSeries.from_json(stored).shown == replace(SHOWN, regions=())


def test_an_identity_without_names_is_empty():
    class Row:
        findings = [finding(series={"uid": "1.2", "number": 3, "description": "Doe", "file": "d"})]

    (identity,) = series_identities(Row)
    assert identity.without_names() == SeriesIdentity()
