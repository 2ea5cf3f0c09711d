"""Answers to requests on a real ledger: one is there as soon as what was asked is, and not before."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from stemd import flow
from stemd.ledger import jobs, open_for_writing, requests
from stemd.model import Arrival, Finished, Held, Stage, Stat, Status
from stemd.service.answers import Asked, answer

NOW = 1_790_000_000.0
VERBS = {
    "approve": (Status.WAITING, Stage.DELIVER),
    "reject": (Status.WAITING, Stage.RETIRE),
    "cancel": (Status.CANCELLED, Stage.DELIVER),
}


@pytest.fixture
def ledger(tmp_path):
    opened = open_for_writing(tmp_path)
    yield opened
    opened.close()


def running(ledger):
    (job,) = jobs.admit(ledger, [(Arrival("r", b"/in/song.wav", Stat(1, 2, 3)), b"song.wav")], NOW)
    return jobs.claim(ledger, job, NOW)


def held(ledger):
    """A job that waits for a listener."""
    job = running(ledger)
    while job.status is not Status.HELD:
        outcome = Held(("vocal audible",)) if job.stage is Stage.CHECK else Finished(sha256="ab", recipe="cd")
        job = jobs.apply(ledger, job, flow.after(job, outcome), NOW)
        job = jobs.claim(ledger, job, NOW) if job.status is Status.WAITING else job
    return job


def asked(ledger, verb, job):
    requests.ask(ledger, verb, who="ann", now=NOW, job=job.id)
    (request,) = requests.unanswered(ledger)
    return Asked(SimpleNamespace(ledger=ledger, endings=Mock(), runner=Mock()), request, NOW)


@pytest.mark.parametrize("verb", VERBS)
def test_an_answer_is_written_with_what_it_tells_of(ledger, verb):
    request = asked(ledger, verb, held(ledger))
    told = answer(request)
    assert requests.unanswered(ledger) == []
    written = requests.find(ledger, request.request.id)
    assert (written.ok, written.answer) == (True, told)
    job = jobs.get(ledger, 1)
    assert (job.status, job.stage) == VERBS[verb]
    requests.answer(ledger, request.request, ok=False, text="something else", now=NOW)
    assert requests.find(ledger, request.request.id).answer == told


@pytest.mark.parametrize("verb", VERBS)
def test_without_its_answer_nothing_is_done(ledger, verb, monkeypatch):
    job = held(ledger)
    monkeypatch.setattr(requests, "answer", lambda *_, **__: sys.exit("killed"))
    with pytest.raises(SystemExit):
        answer(asked(ledger, verb, job))
    assert jobs.get(ledger, 1) == job


def test_a_running_job_is_stopped_once_that_is_written_down(ledger):
    request = asked(ledger, "cancel", running(ledger))
    assert "job 1 stops" in answer(request)
    assert requests.find(ledger, request.request.id).ok
    request.service.runner.stop.assert_called_once_with(1)
