"""The queue page over a ledger with a long history: what it lists, in which order, and what it says it leaves out."""

import io
import re
import time

import pytest
from history import History
from rich.console import Console

from stemd import flow
from stemd.commands.show import _status_lines as status_lines
from stemd.commands.watch import picture
from stemd.ledger import jobs, open_for_writing
from stemd.model import Finished, Held
from stemd.service.live import counts
from stemd.status import status


@pytest.fixture
def history(house):
    (house.home / "state").mkdir()
    ledger = open_for_writing(house.home / "state")
    yield History(ledger, time.time() - 90_000)
    ledger.close()


def section(house, heading: str) -> str:
    """The words below a heading of the queue page; empty where it is not there."""
    page = house.client().get("/").text
    found = re.search(rf"<h2>{heading}</h2>(.*?)</section>", page, re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[1])) if found else ""


def approve(history: History, number: int) -> None:
    """Approve a held job and deliver it now."""
    history.now = time.time() - 60
    held = jobs.get(history.ledger, number)
    job = jobs.apply(history.ledger, held, flow.approved(held, "anna", 1), history.now)
    history.step(history.step(job, Finished(artifacts=())), Finished())


def test_last_ended_is_what_ended_last(house, history):
    with history.ledger.transaction():
        old = history.to_review(b"take 1.wav")
        for number in range(6):
            history.done(b"song %d.wav" % number)
        approve(history, old.id)
    told = section(house, "Last ended")
    assert told.index("take 1.wav") < told.index("song 5.wav") < told.index("song 4.wav")
    assert "song 1.wav" not in told


def test_failed_ones_are_found_whatever_ended_since(house, history):
    with history.ledger.transaction():
        for number in range(12):
            history.failed(b"broken %d.wav" % number)
        for number in range(6):
            history.done(b"later %d.wav" % number)
    told = section(house, "Failed")
    assert "broken 11.wav holds no audio" in told
    assert told.index("broken 11.wav") < told.index("broken 2.wav")
    assert "broken 1.wav" not in told
    assert "and 2 more; see: stemd jobs --status failed" in told


def test_without_a_failed_one_there_is_no_such_section(house, history):
    history.done(b"song.wav")
    assert section(house, "Failed") == ""


def test_what_is_not_listed_is_counted(house, history):
    with history.ledger.transaction():
        for number in range(53):
            history.to_review(b"flagged %d.wav" % number)
        for number in range(12):
            history.arrive(b"new %d.wav" % number)
    assert "and 3 more" in section(house, "To review")
    lines = list(status_lines(status(house.home / "state", history.ledger)))
    assert "  and 43 more to review; see: stemd review list" in lines
    assert "  and 2 more that wait; see: stemd jobs --status waiting" in lines


def test_what_is_held_for_want_of_memory_is_not_called_to_review(house, history):
    history.pace = 0.0  # the tracks of an album have one age
    history.to_review(b"album/flagged.wav")
    lack = Held(("needs 12.0 GiB RAM, 3.9 free",), code="too-little-memory")
    history.step(history.normalised(b"album/concert.wav"), lack)
    review, held = section(house, "To review"), section(house, "Held for want of memory")
    assert ("flagged.wav" in review, "concert.wav" in review) == (True, False)
    assert ("flagged.wav" in held, "concert.wav" in held) == (False, True)
    facts = status(house.home / "state", history.ledger)
    assert facts["to_review"] == 1
    assert [(job["name"], job["for_review"]) for job in facts["held"]] == [
        ("album/flagged.wav", True), ("album/concert.wav", False),
    ]  # fmt: skip
    lines = list(status_lines(facts))
    assert "  held for want of memory: album/concert.wav (job 2): needs 12.0 GiB RAM, 3.9 free" in lines
    assert sum("to review: " in line for line in lines) == 1
    assert "  album album (rule karaoke): 0 of 2 done, 1 to review, 1 held for want of memory" in lines
    console = Console(file=io.StringIO(), width=120)
    console.print(picture(facts))
    assert "to review (1)" in console.file.getvalue()
    assert "held for want of memory (1)" in console.file.getvalue()


def test_systemd_is_told_what_waits_for_a_listener(house, history):
    history.to_review(b"flagged.wav")
    lack = Held(("needs 12.0 GiB RAM, 3.9 free",), code="too-little-memory")
    history.step(history.normalised(b"concert.wav"), lack)
    assert counts(history.ledger) == "0 running, 0 waiting, 1 to review, 1 held for want of memory"
