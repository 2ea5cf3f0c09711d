"""Pages, API and files of the web process, over a real ledger and a real review folder."""

import os
import re
import threading
from pathlib import Path

import pytest
from history import History

from stemd.files import digest
from stemd.ledger import open_for_writing
from stemd.model import Artifact, Finished, Status
from stemd.service import answers


@pytest.fixture
def client(reading):
    return reading.client()


@pytest.fixture
def stem(client):
    """Where the vocals are, and what is in them."""
    (job,) = client.get("/api/review").json()
    (result,) = client.get(f"/api/review/{job['job']}").json()["results"]
    (found,) = [stem for stem in result["stems"] if stem["name"] == "vocals"]
    return found["url"], (Path(result["folder"]) / "vocals.wav").read_bytes()


@pytest.mark.parametrize("path", ["/", "/fragments/queue", "/jobs/1", "/fragments/jobs/1", "/review/1", "/api"])
def test_every_page_is_whole_and_escapes_names(client, path):
    page = client.get(path)
    assert page.status_code == 200
    assert "<b>song" not in page.text
    assert path == "/api" or "&lt;b&gt;song &amp; dance" in page.text
    assert not re.search(r"<script(?![^>]*\bsrc=\"/static/)|\son\w+=|\sstyle=|https?://", page.text)


def test_the_first_review_is_opened_and_the_browser_is_told_to_be_strict(client):
    answer = client.get("/review")
    assert (answer.status_code, answer.headers["location"]) == (303, "/review/1")
    page = client.get("/review/1")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"


def test_the_review_tells_what_was_measured_and_what_to_hear(client):
    told = client.get("/api/review/1").json()
    assert told["open"] is True
    assert told["next"] is None
    (result,) = told["results"]
    assert {stem["name"] for stem in result["stems"]} == {"vocals", "no_vocals"}
    assert result["quality"]["flags"][0]["start"] == 5.0
    assert result["sum_is_mix"] is True
    assert result["seconds"] == pytest.approx(8, abs=0.01)


def test_stems_are_sent_whole_and_in_ranges(client, stem):
    url, content = stem
    whole = client.get(url)
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, content, "bytes")
    part = client.get(url, headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, content[1000:2000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(content)}"
    tail = client.get(url, headers={"Range": "bytes=-10"})
    assert tail.content == content[-10:]
    assert client.get(url, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    assert client.head(url).status_code in {200, 405}


def test_the_mix_is_sent_while_nobody_has_decided(client, reading):
    mix = client.get("/api/review/1").json()["mix"]
    content = (reading.home / "state/work/1/mix.wav").read_bytes()
    assert mix["bytes"] == len(content)
    part = client.get(mix["url"], headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.content) == (206, content[:100])
    assert client.get("/files/2/mix").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/files/1/1/" + "0" * 64,
        "/files/1/2/{sha}",
        "/files/2/1/{sha}",
        "/files/1/1/..%2f..%2fconfig.toml",
        "/files/1/1/{sha}/../../../../config.toml",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/files/1/1//etc/passwd",
    ],
)
def test_no_other_file_is_ever_sent(client, stem, path):
    answer = client.get(path.replace("{sha}", stem[0].rpartition("/")[2]))
    assert answer.status_code in {404, 422}
    assert b"RIFF" not in answer.content
    assert b"import" not in answer.content


def test_what_is_no_longer_the_published_file_is_not_sent(house):
    house.record("a.wav")
    house.start()
    house.held(1)
    client = house.client()
    (stem, other) = client.get("/api/review/1").json()["results"][0]["stems"]
    folder = house.home / "in/_review/a"
    path, second = (folder / f"{each['name']}.wav" for each in (stem, other))
    secret = house.home / "secret.wav"
    secret.write_bytes(path.read_bytes())
    path.unlink()
    assert client.get(stem["url"]).status_code == 404
    path.symlink_to(secret)
    assert client.get(stem["url"]).status_code == 404
    second.write_bytes(b"longer" * 10)
    assert client.get(other["url"]).status_code == 404
    elsewhere = folder.with_name("elsewhere")
    folder.rename(house.home / "outside")
    folder.symlink_to(house.home / "outside")
    assert client.get(stem["url"]).status_code == 404
    assert not elsewhere.exists()


def test_a_manifest_that_is_not_the_ledgers_is_told_and_not_believed(house):
    house.record("a.wav")
    house.start()
    house.held(1)
    house.stop()
    client = house.client()
    look = lambda: client.get("/api/review/1").json()["results"][0]  # noqa: E731
    before, left = look(), house.home / "in/_review/a/manifest.json"
    own = left.rename(house.home / "own.json")
    others = {
        "forged": lambda: left.write_bytes(own.read_bytes().replace(b"5.0", b"7.0")),
        "longer": lambda: left.write_bytes(own.read_bytes() + b" "),
        "link": lambda: left.symlink_to(own),
        "endless": lambda: left.symlink_to("/dev/zero"),
        "folder": left.mkdir,
        "pipe": lambda: os.mkfifo(left),
    }
    for kind, put in others.items():
        put()
        told = look()
        assert (told["stems"], told["quality"]) == ([], {}), kind
        assert f"{left} is not what stemd left there" in told["trouble"], kind
        assert "stemd review show 1" in client.get("/jobs/1").text
        left.rmdir() if kind == "folder" else left.unlink()
    assert (look()["stems"], look()["trouble"]) == ([], "")
    own.rename(left)
    assert look() == before


def test_a_picture_that_is_not_the_ledgers_is_not_shown(house):
    config = house.home / "config.toml"
    config.write_text(config.read_text().replace('"r"', '"karaoke"'))
    picture = house.home / "out/quality.png"
    picture.write_bytes(b"drawn")
    (house.home / "state").mkdir()
    ledger = open_for_writing(house.home / "state")
    told = History(ledger, 1e9)
    job = told.checked(b"a.wav", flag="vocal audible")
    told.step(job, Finished(artifacts=(Artifact(os.fsencode(picture), digest(picture), 5),)))
    ledger.close()
    client = house.client()
    url = client.get(f"/api/review/{job.id}").json()["results"][0]["picture"]
    shown = client.get(url)
    assert (shown.status_code, shown.content, shown.headers["content-type"]) == (200, b"drawn", "image/png")
    picture.write_bytes(b"faked")
    faked = client.get(url)
    assert (faked.status_code, faked.json()["code"]) == (404, "changed")
    assert f"{picture} is not what stemd left there" in faked.json()["message"]


def test_a_rule_that_came_with_a_reload_is_known_and_a_mistake_in_the_file_changes_nothing(house):
    house.record("a.wav")
    house.start()
    house.held(1)
    config = house.home / "config.toml"
    right = config.read_text()
    config.write_text(right.replace('name = "r"', 'name = "before"'))
    client = house.client()
    url = client.get("/api/review/1").json()["results"][0]["stems"][0]["url"]
    assert client.get(url).status_code == 404
    config.write_text(right)
    assert client.get(url).status_code == 200
    config.write_text("[[rule")
    assert client.get(url).status_code == 200


def test_a_decision_is_the_daemons_and_told_with_who_made_it(house):
    house.record("a.wav")
    house.start()
    house.held(1)
    client = house.client()
    asked = client.post("/api/jobs/1/approve", json={"who": "Ann"})
    assert asked.status_code == 202
    request = asked.json()["request"]
    answer = house.wait(lambda: (told := client.get(f"/api/requests/{request}").json())["ok"] is not None and told)
    assert answer["ok"] is True
    assert "approved" in answer["answer"]
    house.wait(lambda: house.jobs(Status.DONE))
    assert "approved by Ann (web)" in [event["text"] for event in client.get("/api/jobs/1").json()["events"]]
    late = client.post("/api/jobs/1/reject", json={"reason": "no"})
    assert late.status_code == 409
    assert "does not wait for a review; it is done" in late.json()["message"]
    cancelled = client.post("/api/jobs/1/cancel", json={})
    assert (cancelled.status_code, cancelled.json()["message"]) == (409, "job 1 is done already")
    assert client.get("/review").status_code == 200
    (result,) = client.get("/api/review/1").json()["results"]
    assert result["folder"] == str(house.home / "out/a")
    assert client.get("/api/review/1").json()["mix"] is None
    assert client.get(result["stems"][0]["url"]).status_code == 200


def test_a_second_result_is_shown_beside_the_first_and_either_can_be_chosen(house):
    house.record("a.wav")
    house.start()
    house.held(1)
    client = house.client()
    client.post("/api/jobs/1/rerun", json={"preset": "best"})
    house.wait(lambda: [job for job in house.jobs(Status.HELD) if job.result == 2])
    first, second = client.get("/api/review/1").json()["results"]
    assert (first["made_with"], second["made_with"]) == ("as the rule says", "preset best")
    assert (first["model"], second["model"]) == ("htdemucs", "htdemucs_ft")
    assert {stem["url"] for stem in first["stems"]}.isdisjoint(stem["url"] for stem in second["stems"])
    assert (house.home / "in/_review/a (best)/vocals.wav").exists()
    assert client.post("/api/jobs/1/approve", json={"result": 1}).status_code == 202
    house.wait(lambda: house.jobs(Status.DONE))
    assert [path.name for path in (house.home / "out").iterdir()] == ["a"]
    assert list((house.home / "in/_review").iterdir()) == []


def test_a_second_result_is_refused_at_once_where_its_model_is_missing(house):
    house.record("a.wav")
    house.start()
    house.held(1)
    house.service.pool.missing.add("htdemucs_ft")
    client = house.client()
    request = client.post("/api/jobs/1/rerun", json={"preset": "best"}).json()["request"]
    answer = house.wait(lambda: (told := client.get(f"/api/requests/{request}").json())["ok"] is not None and told)
    assert (answer["ok"], answer["answer"]) == (False, "model htdemucs_ft is not on this machine yet; fetch it")
    (job,) = house.jobs(Status.HELD)
    assert job.result == 1


def test_a_second_result_is_begun_while_nobody_knows_whether_its_model_is_there(house, monkeypatch):
    house.record("a.wav")
    house.start()
    house.held(1)
    found = threading.Event()
    monkeypatch.setattr(answers, "_FINDING", 0.1)
    monkeypatch.setattr(house.service.pool, "check", lambda _: found.wait(60))
    house.client().post("/api/jobs/1/rerun", json={"preset": "best"})
    house.wait(lambda: [job for job in house.jobs(Status.HELD) if job.result == 2])
    found.set()


def test_a_decision_already_asked_for_is_not_asked_twice(house):
    house.record("a.wav")
    house.start()
    house.held(1)
    house.stop()
    client = house.client()
    assert client.post("/api/jobs/1/approve", json={"who": "Ann"}).status_code == 202
    second = client.post("/api/jobs/1/reject", json={"who": "Bob"})
    assert second.status_code == 409
    assert "Ann (web) has asked to approve job 1 already" in second.json()["message"]
    assert "not running" in client.get("/").text


def test_what_does_not_exist_is_said_in_the_readers_language(client):
    told = client.get("/api/jobs/99").json()
    assert (told["code"], told["hint"]) == ("no-such-job", "see the numbers: stemd jobs")
    page = client.get("/jobs/99", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert "there is no job 99" in page.text
    assert client.get("/api/requests/99").status_code == 404
    assert client.get("/api/jobs/0").status_code == 422
    assert client.get(f"/api/jobs/{2**70}").status_code == 422
    assert client.post("/api/jobs/1/explode", json={}).status_code == 422
    assert client.post("/api/jobs/1/reject", json={"reason": "x" * 3000}).status_code == 422
    assert client.post("/api/jobs/1/reject", json={"who": "a\nb"}).status_code == 422


def test_the_api_describes_itself(client):
    spec = client.get("/api/openapi.json").json()
    assert {"/api/status", "/api/jobs/{job}", "/api/review/{job}", "/api/jobs/{job}/{verb}"} <= set(spec["paths"])
    assert "/files/{job}/{result}/{sha256}" in spec["paths"]
    assert all(told.get("description") for methods in spec["paths"].values() for told in methods.values())


def test_before_the_daemons_first_start_the_pages_say_so(house):
    answer = house.client().get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 503
    assert "start the daemon once" in answer.text
