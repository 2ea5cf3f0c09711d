"""Pages of recordings whose share hangs for real: they say so soon, and nothing else waits for them."""

import threading
import time

import pytest
from hanging import hanging


@pytest.fixture
def client(house):
    """The pages of one held job; its daemon does not run."""
    house.record("a.wav")
    house.start()
    house.held(1)
    house.stop()
    return house.client()


def test_a_page_says_that_the_share_hangs_and_is_whole_once_it_answers(house, client):
    (before,) = client.get("/api/review/1").json()["results"]
    url = before["stems"][0]["url"]
    review = house.home / "in/_review"
    with hanging(review):
        began = time.monotonic()
        page = client.get("/jobs/1")
        assert page.status_code == 200
        assert f"{review} does not answer: its share hangs" in page.text
        (result,) = client.get("/api/review/1").json()["results"]
        assert (result["stems"], "does not answer" in result["trouble"]) == ([], True)
        stem = client.get(url)
        assert (stem.status_code, stem.json()["code"]) == (503, "share-hangs")
        assert time.monotonic() - began < 10
    deadline = time.monotonic() + 10
    while client.get("/api/review/1").json()["results"] != [before]:
        assert time.monotonic() < deadline
    assert client.get(url).status_code == 200


def test_looks_at_a_hanging_share_do_not_pile_up(house, client):
    with hanging(house.home / "in/_review"):
        client.get("/jobs/1")
        before = threading.active_count()
        began = time.monotonic()
        for _ in range(60):
            client.get("/fragments/jobs/1")
        assert threading.active_count() < before + 10  # of 60; the server has a few of its own
        assert time.monotonic() - began < 30
        assert client.get("/").status_code == 200
        assert client.get("/metrics").status_code == 200


def test_a_file_is_sent_though_the_rules_other_folder_hangs(house, client):
    url = client.get("/api/review/1").json()["results"][0]["stems"][0]["url"]
    with hanging(house.home / "out"):
        assert client.get(url).status_code == 200
