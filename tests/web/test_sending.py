"""Pixels and heat maps travel packed, and once."""

import gzip

import pytest

from meninx._web.studies.sending import accepts_gzip, has_tag

NAMES = ("0-heat.nii",)


def stored(server, name):
    return server.settings.studies / server.study_id / "shown" / f"{name}.gz"


@pytest.fixture
def browser(scored):
    return scored.browser()


@pytest.mark.parametrize("name", NAMES)
def test_volumes_are_sent_compressed(scored, browser, name):
    packed = stored(scored, name).read_bytes()
    answer = browser.client.get(f"/studies/{scored.study_id}/files/{name}")
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(packed) < len(answer.content)
    assert answer.content == gzip.decompress(packed)
    assert answer.content[344:348] == b"n+1\0"
    plain = browser.client.get(
        f"/studies/{scored.study_id}/files/{name}", headers={"accept-encoding": "identity"}
    )
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content
    # Two codings are two things to a cache.
    assert plain.headers["etag"] != answer.headers["etag"]
    assert {response.headers["vary"] for response in (plain, answer)} == {"Accept-Encoding"}


@pytest.mark.parametrize("name", [*NAMES, "0.slices", "0.png", "0-thumb.png", "heatmap"])
def test_a_cached_file_is_not_sent_again_and_rights_are_checked(scored, name):
    browser = scored.browser()
    address = f"/studies/{scored.study_id}/files/{name}"
    if name == "heatmap":
        address = f"/api/v1/studies/{scored.study_id}/heatmap"
    first = browser.client.get(address)
    assert first.headers["cache-control"] == "private, no-cache"
    known = {"if-none-match": f'"other", W/{first.headers["etag"]}'}
    again = browser.client.get(address, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == first.headers["cache-control"]
    assert browser.client.get(address, headers={"if-none-match": '"other"'}).status_code == 200
    browser.post("/sign-out")
    refused = browser.client.get(address, headers=known, follow_redirects=False)
    assert refused.status_code in (303, 401)


def test_another_volume_under_the_same_name_is_sent(scored, browser):
    address, path = f"/studies/{scored.study_id}/files/0-heat.nii", stored(scored, "0-heat.nii")
    before, known = path.read_bytes(), browser.client.get(address)
    try:
        path.write_bytes(gzip.compress(b"scored anew"))
        response = browser.client.get(address, headers={"if-none-match": known.headers["etag"]})
        assert (response.status_code, response.content) == (200, b"scored anew")
    finally:
        path.write_bytes(before)


def test_uncompressed_files_are_sent(scored, browser):
    path = stored(scored, "0-heat.nii")
    plain = path.with_suffix("")
    packed = path.read_bytes()
    try:
        path.unlink()
        plain.write_bytes(gzip.decompress(packed))
        response = browser.client.get(f"/studies/{scored.study_id}/files/0-heat.nii")
        assert response.content == plain.read_bytes()
        assert "content-encoding" not in response.headers
    finally:
        plain.unlink()
        path.write_bytes(packed)


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("deflate, gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("", False),
        ("x-gzip2, br", False),
        ("*;q=0", False),
    ],
)
def test_gzip_is_sent_to_browsers_that_accept_it(accepted, expected):
    assert accepts_gzip(accepted) is expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [('"a"', True), ('"b", W/"a"', True), ("*", True), ('"ab"', False), ("", False)],
)
def test_tags_are_compared_whole(known, expected):
    assert has_tag(known, '"a"') is expected
