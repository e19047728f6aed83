"""Marks that readers make: inside the image, the right way out, kept with whatever is said."""

import pytest

from tests.web.findings import VIEWER, finding

SHAPE = VIEWER["shape"]  # 100 x 90 x 24


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ("0,0,0,99,89,23", None),
        ("5,6,7,5,6,7", None),  # one voxel
        ("0,0,0,100,89,23", "outside of the image of 100 x 90 x 24 voxels"),
        ("0,0,0,99,89,24", "outside of the image"),
        ("-1,0,0,99,89,23", "outside of the image"),
        ("50,40,10,40,50,12", "inside out"),
        ("5,6,7,5,6", "two corners"),
    ],
)
def test_a_mark_lies_inside_the_image_and_is_not_inside_out(server, stored, region, words):
    study = stored(finding(viewer=VIEWER))
    browser = server.browser()
    address = f"/studies/{study}/opinions"
    answer = browser.post(address, verdict="region", region=region)
    told = browser.client.get(f"/api/v1{address}").json()
    assert answer.status_code == (303 if words is None else 400)
    assert len(told) == (words is None)
    if words is not None:
        assert words in answer.text
    numbers = [int(part) for part in region.split(",")]
    body = {"verdict": "region", "region": {"from": numbers[:3], "to": numbers[3:]}}
    answer = browser.client.post(f"/api/v1{address}", json=body, headers=browser.headers)
    assert answer.status_code == (201 if words is None else 422 if len(numbers) < 6 else 400)


def test_a_series_without_image_can_not_be_marked(server, stored):
    study = stored(finding(viewer=VIEWER), finding(status="refused", reason="localizer"))
    answer = server.browser().post(
        f"/studies/{study}/opinions", verdict="region", region="1,2,3,4,5,6", scan=1
    )
    assert answer.status_code == 400
    assert "no image to mark" in answer.text


def test_agreeing_keeps_the_mark_that_was_made(server, stored):
    study = stored(finding(viewer=VIEWER))
    browser = server.browser()
    browser.post(f"/studies/{study}/opinions", verdict="agree", region="1,2,3,4,5,6")
    browser.post(f"/studies/{study}/opinions", verdict="disagree")
    told = browser.client.get(f"/api/v1/studies/{study}/opinions").json()
    assert [(one["verdict"], one["region"]) for one in told] == [
        ("disagree", None), ("agree", {"from": [1, 2, 3], "to": [4, 5, 6]}),
    ]  # fmt: skip
