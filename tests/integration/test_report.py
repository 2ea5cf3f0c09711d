"""`stemd report` over a real ledger: what it counts, and its three forms."""

import contextlib
import json
import re
import time
from datetime import datetime
from html.parser import HTMLParser

import pytest
from history import History
from typer.testing import CliRunner

from stemd.cli import app
from stemd.config import load
from stemd.errors import StemdError
from stemd.ledger import jobs, open_for_writing
from stemd.model import Finished, Job
from stemd.report import beginning, gather, page, text

EVIL = b"<script>alert(1)</script> & \xff.wav"


MANY = """
    WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 200)
    INSERT INTO job (rule, path, name, size, mtime_ns, ctime_ns, stage, status, twin, created, changed)
    SELECT 'r', x'61', x'61', i, 2, 3, 'retire', iif(i % 4, 'done', 'failed'), iif(i % 4 = 1, 2, NULL), 1, 1 FROM number
"""


def studio(folder):
    (folder / "out").mkdir()
    (folder / "state").mkdir()
    (folder / "config.toml").write_text(
        '[daemon]\nstate_dir = "state"\n[[rule]]\nname = "karaoke"\ninbox = "in"\noutbox = "out"\n'
    )
    return load(folder / "config.toml")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return studio(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def history(settings):
    """A night: four done of which one went on smaller, one to review, one failed, one that waits; and a day before."""
    ledger = open_for_writing(settings.daemon.state_dir)
    now = time.time()
    told = History(ledger, now - 40 * 3600)
    told.done(b"long ago.wav")
    told.failed(b"long ago too.wav")
    told.now = now - 5 * 3600
    first, *_ = [told.done(name) for name in (b"a.wav", b"b.wav", EVIL)]
    jobs.note(ledger, first, "hook tell: ended with status 1", told.now, "hook-failed")
    told.smaller(b"large.wav")
    told.to_review(b"loud.wav")
    told.failed(b"silent.wav")
    told.stuck(b"late.wav")
    yield told
    ledger.close()


def report(settings, history, hours=24):
    now = time.time()
    return gather(settings, history.ledger, now - hours * 3600, now)


def test_a_night_is_counted(settings, history):
    found = report(settings, history)
    assert [each.name for each in found.done] == [
        "a.wav",
        "b.wav",
        "<script>alert(1)</script> & \\xff.wav",
        "large.wav",
    ]
    assert [(each.name, each.score) for each in found.review] == [("loud.wav", -14.2)]
    assert [(each.name, each.what_to_do) for each in found.failed] == [("silent.wav", "export it again")]
    assert [(each.name, each.why) for each in found.stuck] == [("late.wav", "the outbox /out is full")]
    (worse,) = found.degraded
    assert (worse.name, worse.why) == ("large.wav", "memory ran out 2 times; done on cuda:0, batch 1, segment 3.9 s")
    assert (found.audio_seconds, found.delivered_bytes, found.cancelled) == (720.0, 90_000_000, 0)
    (speed,) = found.speeds
    assert (speed.model, speed.device, speed.recordings) == ("htdemucs", "cuda:0", 6)
    assert speed.x_realtime == pytest.approx(1080 / (5 * 180 * 0.05 + 180 * 0.1))
    assert (found.checked, found.flagged, found.bleed_db) == (6, 1, pytest.approx(-32.0))
    assert found.disks[0].total >= found.disks[0].free > 0
    assert [(each.name, each.what_to_do) for each in found.untold] == [("a.wav", "see: stemd why 3")]
    assert not found.daemon


def test_a_longer_report_holds_what_was_before(settings, history):
    assert len(report(settings, history, hours=48).done) == 5
    assert len(report(settings, history, hours=48).failed) == 2
    assert len(report(settings, history, hours=24 * 14).slots) in {14, 15, 16}
    assert len(report(settings, history, hours=24 * 7 * 52).slots) in {52, 53, 54}


def test_every_ending_is_in_one_slot(settings, history):
    found = report(settings, history)
    assert (sum(slot.done for slot in found.slots), sum(slot.failed for slot in found.slots)) == (4, 1)
    assert len(found.slots) in {24, 25}
    assert all(later.at - former.at == 3600 for former, later in zip(found.slots, found.slots[1:], strict=False))


def test_a_double_is_told_apart_from_work(tmp_path):
    settings = studio(tmp_path)
    ledger = open_for_writing(settings.daemon.state_dir)
    told = History(ledger, time.time() - 600)
    told.done(b"a.wav")
    job = told.step(told.arrive(b"again.wav"), Finished(sha256=b"a.wav".hex(), recipe="r"))
    assert job.twin is not None
    told.step(job, Finished())
    found = report(settings, told)
    ledger.close()
    assert (found.doubles, len(found.done), found.audio_seconds) == (1, 1, 180.0)


def test_a_redelivery_that_failed_is_told_as_such(tmp_path):
    settings = studio(tmp_path)
    ledger = open_for_writing(settings.daemon.state_dir)
    told = History(ledger, time.time() - 600)
    told.not_again(told.done(b"a.wav"))
    found = report(settings, told)
    ledger.close()
    assert found.done == ()
    assert [(each.name, each.why) for each in found.failed] == [("a.wav", "not delivered again: 1 Hz is refused")]
    assert found.delivered_bytes == 0


def test_a_long_report_compares_no_recording_with_every_failed_one(tmp_path, monkeypatch):
    config = studio(tmp_path)
    with contextlib.closing(open_for_writing(config.daemon.state_dir)) as ledger:
        ledger.db.execute_sql(MANY)
        compared = []
        monkeypatch.setattr(Job, "__eq__", lambda one, other: compared.append((one.id, other.id)))
        found = gather(config, ledger, 0.0, 100.0)
    assert (len(found.done), found.doubles, len(found.failed)) == (100, 50, 50)
    assert compared == []


def test_days_are_those_of_the_calendar_where_clocks_change(tmp_path, monkeypatch):
    settings = studio(tmp_path)
    ledger = open_for_writing(settings.daemon.state_dir)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        begun, ended = (datetime(2026, *day, 15).timestamp() for day in ((3, 25), (4, 2)))  # noqa: DTZ001 - on the wall
        History(ledger, begun - 60).failed(b"a.wav")
        days = gather(settings, ledger, begun - 3600, ended)
        weeks = gather(settings, ledger, begun - 90 * 86400, ended)
    finally:
        ledger.close()
        monkeypatch.undo()
        time.tzset()
    assert [each.failed for each in days.slots] == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert [slot.failed for slot in weeks.slots][-2:] == [1, 0]
    assert [(later.at - former.at) / 3600 for former, later in zip(days.slots, days.slots[1:], strict=False)] == [
        24, 24, 24, 24, 23, 24, 24, 24
    ]  # fmt: skip
    assert (days.slots[0].at, weeks.slots[-1].at) == (begun - 15 * 3600, ended - (3 * 24 + 15) * 3600)


def test_the_text_begins_with_what_matters(settings, history):
    lines = text(report(settings, history)).splitlines()
    assert lines[1] == "  4 recordings done, 1 to review, 1 failed, 1 waiting"
    assert "  12 min of sound, 90.0 MB delivered" in lines
    assert "  silent.wav (karaoke, job 8): silent.wav holds no audio" in lines
    assert "    -> export it again" in lines
    assert any(line.startswith("disk ") for line in lines)


def test_nothing_is_said_of_a_quiet_night(tmp_path):
    settings = studio(tmp_path)
    ledger = open_for_writing(settings.daemon.state_dir)
    found = gather(settings, ledger, time.time() - 60, time.time())
    ledger.close()
    assert "nothing was done" in text(found)
    assert "<h2>When" not in page(found)


class Page(HTMLParser):
    """Collects a page's elements, and the addresses that it would fetch."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.fetched = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in {"src", "href"}]


def test_the_page_needs_nothing_else_and_runs_nothing(settings, history):
    html = page(report(settings, history))
    parsed = Page(html)
    assert parsed.fetched == []
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"url\(|@import", html)
    assert html.count("<h2>") >= 6


def test_the_command_reads_a_daemons_ledger_and_writes_a_page(settings, history, tmp_path):
    runner = CliRunner()
    given = ["report", "-c", str(settings.path), "--since", "24h"]
    told = runner.invoke(app, [*given, "--json", "--html", str(tmp_path / "report.html")])
    assert told.exit_code == 0, told.output
    assert [each["name"] for each in json.loads(told.output)["review"]] == ["loud.wav"]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert list(tmp_path.glob(".report*")) == []
    assert len(jobs.select(history.ledger)) == 9


NOON = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    "words, hours",
    [
        ("yesterday", 36), ("today", 12), ("12h", 12), ("7d", 168), ("2w", 336), ("90min", 1.5), (" Today ", 12),
        ("2026-11-21T22:00", 14), ("2026-11-21", 36),
    ],
)  # fmt: skip
def test_since_is_read_as_people_write_it(words, hours):
    assert beginning(words, NOON) == NOON - hours * 3600


@pytest.mark.parametrize(
    "words", ["", "last week", "7", "-3d", "2026-11-23", "99:00", "3y", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_moment_is_refused(words):
    with pytest.raises(StemdError, match=r"no moment|not come yet") as refused:
        beginning(words, NOON)
    assert refused.value.code == "usage"
