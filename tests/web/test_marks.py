"""Marks that readers make: inside the image, the right way out, kept with whatever is said."""

import pytest

from meninx._web.store.database import AuditEntry
from tests.web.findings import VIEWER, finding
from tests.web.test_reports import pdf_text

SHAPE = VIEWER["shape"]  # 100 x 90 x 24


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ("0,0,0,99,89,23", None),
        ("5,6,7,5,6,7", None),  # one voxel
        ("0,0,0,100,89,23", "outside of the image of 100 x 90 x 24 voxels"),
        ("0,0,0,99,89,24", "outside of the image"),
        ("-1,0,0,99,89,23", "outside of the image"),
        ("50,40,10,40,50,12", "exchange the two"),
        ("5,6,7,5,6", "two corners"),
    ],
)
def test_a_mark_lies_inside_the_image_with_its_corners_in_order(server, stored, region, words):
    study = stored(finding(viewer=VIEWER))
    browser = server.browser()
    address = f"/studies/{study}/opinions"
    answer = browser.post(address, verdict="tumor", box=region)
    response = browser.client.get(f"/api/v1{address}").json()
    assert answer.status_code == (303 if words is None else 400)
    assert len(response) == (words is None)
    if words is not None:
        assert words in answer.text
    numbers = [int(part) for part in region.split(",")]
    body = {"verdict": "tumor", "box": {"from": numbers[:3], "to": numbers[3:]}}
    answer = browser.client.post(f"/api/v1{address}", json=body, headers=browser.headers)
    assert answer.status_code == (201 if words is None else 422 if len(numbers) < 6 else 400)


def test_a_series_without_image_can_not_be_marked(server, stored):
    study = stored(finding(viewer=VIEWER), finding(status="refused", reason="localizer"))
    answer = server.browser().post(
        f"/studies/{study}/opinions", verdict="tumor", box="1,2,3,4,5,6", scan=1
    )
    assert answer.status_code == 400
    assert "no image to mark" in answer.text


def test_agreeing_keeps_the_mark_that_was_made(server, stored):
    study = stored(finding(viewer=VIEWER))
    browser = server.browser()
    browser.post(f"/studies/{study}/opinions", verdict="tumor", box="1,2,3,4,5,6")
    browser.post(f"/studies/{study}/opinions", verdict="no_tumor")
    response = browser.client.get(f"/api/v1/studies/{study}/opinions").json()
    assert [(opinion["verdict"], opinion["box"]) for opinion in response] == [
        ("no_tumor", None),
        ("tumor", {"from": [1, 2, 3], "to": [4, 5, 6]}),
    ]


def measure(browser, study, start, end, **more):
    """Store a length between two voxels; return the answer."""
    body = {"from": start, "to": end} | more
    address = f"/api/v1/studies/{study}/measurements"
    return browser.client.post(address, json=body, headers=browser.headers)


def test_measurements_stay_until_their_authors_delete_them(server, stored):
    study = stored(finding(viewer=VIEWER), finding("T2", viewer=VIEWER))
    rene, ada = server.browser(), server.browser("ada")
    # 3 voxels of 2 mm to the left, 4 of 2.5 mm to the back.
    made = measure(rene, study, [10, 10, 5], [13, 14, 5])
    assert made.status_code == 201
    assert made.json()["words"] == "11.7 mm"
    box = measure(ada, study, [10, 10, 5], [19, 13, 6], kind="box", scan=1).json()
    assert (box["words"], box["scan"], box["user"]) == ("20 x 10 mm", 1, "ada")
    address = f"/api/v1/studies/{study}/measurements"
    response = rene.client.get(address).json()
    assert [(length["user"], length["own"]) for length in response] == [
        ("rene", True),
        ("ada", False),
    ]
    for number in (box["id"], 10**6):
        answer = rene.client.delete(f"{address}/{number}", headers=rene.headers)
        assert answer.status_code == 400
    export = rene.client.get(f"/studies/{study}/finding.json").json()
    assert [measurement["words"] for measurement in export["measurements"]] == [
        "11.7 mm",
        "20 x 10 mm",
    ]
    deleted = rene.client.delete(f"{address}/{response[0]['id']}", headers=rene.headers)
    assert deleted.status_code == 204
    assert [length["id"] for length in ada.client.get(address).json()] == [box["id"]]
    with server.web.sessions() as session:
        actions = [entry.action for entry in session.query(AuditEntry)]
    for action in ("measured: ruler", "measured: box", "measurement deleted"):
        assert action in actions


@pytest.mark.parametrize(
    ("start", "end", "more", "status"),
    [
        ([0, 0, 0], [99.5, 89.5, 23.5], {}, 201),
        ([0, 0, 0], [99.6, 0, 0], {}, 400),
        ([-0.6, 0, 0], [5, 5, 5], {}, 400),
        ([5, 5, 5], [5, 5, 5], {}, 400),
        ([5, 5, 5], [4, 6, 6], {"kind": "box"}, 400),
        ([5, 5, 5], [6, 6, 6], {"scan": 1}, 400),
        ([5, 5, 5], [6, 6, 6], {"kind": "circle"}, 422),
        ([5, 5], [6, 6], {}, 422),
        ([5, 5, "NaN"], [6, 6, 6], {}, 422),
    ],
)
def test_a_measurement_lies_inside_the_image(server, stored, start, end, more, status):
    study = stored(finding(viewer=VIEWER))
    assert measure(server.browser(), study, start, end, **more).status_code == status


def test_pictures_are_measured_in_pixels(server, stored):
    picture = VIEWER | {"spacing_mm": None, "affine": None, "geometry": False, "shape": [64, 64, 1]}
    study = stored(finding("unknown", viewer=picture))
    assert measure(server.browser(), study, [0, 0, 0], [30, 40, 0]).json()["words"] == "50.0 pixels"


def test_measurements_are_in_the_report(server, stored):
    study = stored(finding(viewer=VIEWER, series={"description": "T1 KM"}))
    browser = server.browser()
    measure(browser, study, [10, 10, 5], [13, 14, 5])
    text = pdf_text(browser.client.get(f"/studies/{study}/report.pdf"))
    assert "length 11.7 mm T1 KM, slice 6 of 24 rene" in " ".join(text.split())
