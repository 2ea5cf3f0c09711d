"""What is told and when: each thing once, gathered where much happens, silent where nobody asked."""

from dataclasses import replace

import pytest

from stemd.alerts.letter import Letter
from stemd.alerts.look import Line, Seen
from stemd.alerts.memory import CALM, OVER, Memory
from stemd.config import Notify

NOW = 1_790_000_000.0
GIB = 1 << 30
NOTIFY = Notify(command=("tell",), every=300.0, lasting=300.0)
QUIET = Seen(10)
FULL = replace(QUIET, open=3, faults=(("outbox-full", "3 recordings cannot go on: the outbox is full"),))


def line(number, why="holds no audio"):
    return Line(number, "karaoke", f"{number}.wav", why, "export it again")


@pytest.fixture
def memory():
    fresh = Memory()
    fresh.take_in(QUIET, NOW - 1000)
    return fresh


def told(memory, seen, at, notify=NOTIFY):
    """Look at a moment, and send what is due."""
    memory.take_in(seen, NOW + at)
    memory.write(notify, NOW + at)
    letters, memory.letters = memory.letters, ()
    return [(letter.event, letter.text) for letter in letters]


def test_what_was_before_the_first_look_is_not_told():
    memory = Memory()
    assert told(memory, replace(QUIET, review=(line(1),), held=(line(2),)), 0) == []
    assert told(memory, replace(QUIET, review=(line(1),), held=(line(2),)), 400) == []


def test_a_failure_is_told_at_once_and_the_next_ones_together(memory):
    (first,) = told(memory, replace(QUIET, failed=(line(1),), open=1), 0)
    assert first == ("failed", "1.wav failed: holds no audio -> export it again")
    assert told(memory, replace(QUIET, failed=(line(2),), open=1), 10) == []
    assert told(memory, replace(QUIET, failed=(line(3), line(4)), open=1), 20) == []
    assert told(memory, replace(QUIET, open=1), 299) == []
    assert told(memory, replace(QUIET, open=1), 300) == [("failed", "3 recordings failed: 2.wav, 3.wav, 4.wav")]
    assert told(memory, replace(QUIET, open=1), 900) == []


def test_a_command_that_failed_after_a_delivery_is_told_once_and_with_the_failures(memory):
    command = line(7, "hook transcribe: exit status 2 after 0.4 s")
    (only,) = told(memory, replace(QUIET, hooks=(command,), open=1), 0)
    assert only == (
        "failed", "7.wav is delivered, but hook transcribe: exit status 2 after 0.4 s -> export it again"
    )  # fmt: skip
    assert told(memory, replace(QUIET, hooks=(command, line(8)), failed=(line(1),), open=1), 10) == []
    (both,) = told(memory, replace(QUIET, open=1), 300)
    assert both == (
        "failed",
        "1.wav failed: holds no audio -> export it again\n2 recordings delivered whose command failed: 7.wav, 8.wav",
    )
    assert told(memory, replace(QUIET, open=1), 900) == []


def test_a_hundred_failures_are_one_message(memory):
    (only,) = told(memory, replace(QUIET, failed=tuple(map(line, range(100))), open=1), 0)
    assert only[1] == "100 recordings failed: 0.wav, 1.wav, 2.wav, 3.wav, 4.wav and 95 more"


def test_a_result_is_told_once_as_long_as_it_waits(memory):
    waiting = replace(QUIET, review=(line(1, "vocal audible"),), open=1)
    assert told(memory, waiting, 0) == [("review", "1.wav waits for a listener: vocal audible")]
    assert told(memory, waiting, 400) == []
    assert told(memory, replace(QUIET, open=1), 800) == []
    assert told(memory, waiting, 1200) == [("review", "1.wav waits for a listener: vocal audible")]


def test_what_was_decided_before_it_could_be_told_is_not_told(memory):
    told(memory, replace(QUIET, review=(line(1),), open=1), 0)
    assert told(memory, replace(QUIET, review=(line(1), line(2)), open=1), 10) == []
    assert told(memory, replace(QUIET, review=(line(1),), open=1), 20) == []
    assert told(memory, replace(QUIET, review=(line(1),), open=1), 400) == []


def test_a_fault_is_told_once_when_it_lasts(memory):
    assert told(memory, FULL, 0) == []
    assert told(memory, replace(FULL, faults=()), 100) == []  # a moment in which it is tried again
    assert told(memory, FULL, 200) == []
    assert told(memory, FULL, 300) == [("stuck", "3 recordings cannot go on: the outbox is full")]
    for at in range(310, 4000, 100):
        assert told(memory, FULL, at) == []
    assert told(memory, replace(FULL, faults=()), 4000 + OVER) == []
    assert memory.faults == {}
    assert told(memory, FULL, 5000) == []  # another one, which has to last again
    assert len(told(memory, FULL, 5300)) == 1


def test_a_clock_that_is_set_back_silences_nothing(memory):
    month = 30 * 86_400
    assert len(told(memory, replace(FULL, failed=(line(1),)), 0)) == 1
    assert told(memory, replace(FULL, failed=(line(2),)), -month) == []
    later = told(memory, FULL, 300 - month)
    assert [event for event, _ in later] == ["failed", "stuck"]
    assert told(memory, QUIET, 300 + OVER - month) == []
    assert memory.faults == {}


def test_the_end_of_all_work_is_told_though_the_clock_is_set_back(memory):
    assert told(memory, replace(QUIET, done=1), 0) == []
    assert told(memory, QUIET, -86_400) == []
    assert told(memory, QUIET, CALM - 86_400) == [("done", "nothing is left to do: 1 recording done")]


def test_a_job_held_for_memory_is_stuck(memory):
    lacking = replace(QUIET, held=(line(1, "needs 5.1 GiB GPU, 3.2 free"),))
    assert told(memory, lacking, 0) == [("stuck", "1.wav held: needs 5.1 GiB GPU, 3.2 free -> export it again")]
    assert told(memory, lacking, 1000) == []


def test_the_end_of_all_work_is_told_once_with_what_came_of_it(memory):
    assert told(memory, replace(QUIET, open=3), 0) == []
    assert told(memory, replace(QUIET, open=1, done=2), 100) == []
    last = replace(QUIET, done=1, failed=(line(9),), review=(line(8),))
    assert [event for event, _ in told(memory, last, 200)] == ["failed", "review"]
    waiting = replace(QUIET, review=(line(8),))
    assert told(memory, waiting, 200 + CALM - 1) == []
    assert told(memory, waiting, 200 + CALM) == [
        ("done", "nothing is left to do: 3 recordings done, 1 to review, 1 failed")
    ]
    assert told(memory, waiting, 5000) == []


def test_a_result_that_was_approved_before_the_end_does_not_wait(memory):
    told(memory, replace(QUIET, review=(line(1), line(2)), open=9), 0)
    told(memory, replace(QUIET, review=(line(2),), open=9, done=1), 600)
    last = replace(QUIET, review=(line(2),))
    assert told(memory, replace(last, done=9), 3600) == []
    assert told(memory, last, 3600 + CALM) == [("done", "nothing is left to do: 10 recordings done, 1 to review")]


def test_between_two_files_of_a_copy_nothing_is_done_yet(memory):
    for at in range(0, 600, 20):
        assert told(memory, replace(QUIET, open=at % 40 // 20, done=1), at) == []


def test_a_job_that_came_and_went_between_two_looks_is_told(memory):
    assert told(memory, replace(QUIET, done=1), 0) == []
    assert told(memory, QUIET, CALM) == [("done", "nothing is left to do: 1 recording done")]


def test_work_that_was_only_cancelled_is_no_news(memory):
    told(memory, replace(QUIET, open=1), 0)
    assert told(memory, QUIET, 10) == []
    assert told(memory, QUIET, 500) == []


def test_only_what_was_asked_for_is_told(memory):
    only = replace(NOTIFY, events=("review",))
    seen = replace(FULL, failed=(line(1),), review=(line(2),), done=1, open=0)
    assert [event for event, _ in told(memory, seen, 0, only)] == ["review"]
    assert told(memory, seen, 400, replace(NOTIFY, events=())) == []


def test_every_receiver_gets_a_letter_and_those_not_sent_become_one(memory):
    both = replace(NOTIFY, webhook="https://h.example/")
    memory.take_in(replace(QUIET, failed=(line(1),), open=1), NOW)
    memory.write(both, NOW)
    memory.letters = tuple(replace(letter, attempts=2, due=NOW + 60) for letter in memory.letters)
    memory.take_in(replace(QUIET, failed=(line(2),), open=1), NOW + 300)
    memory.write(both, NOW + 300)
    assert [letter.channel for letter in memory.letters] == ["command", "webhook"]
    first = memory.letters[0]
    assert [line.job for line in first.lines] == [1, 2]
    assert first.text.count("\n") == 1
    assert (first.attempts, first.due) == (2, NOW + 60)
    memory.write(NOTIFY, NOW + 301)  # the webhook is not in the configuration any more
    assert [letter.channel for letter in memory.letters] == ["command"]


def test_letters_do_not_grow_without_end():
    letter = Letter("webhook", "failed", "0", NOW)
    for number in range(200):
        letter = letter.and_then(Letter("webhook", "failed", str(number), NOW, (line(number),)))
    assert len(letter.text.splitlines()) == len(letter.lines) == 40
    assert letter.text.endswith("199")
