"""The log as the journal gets it: fields, priorities, one event a line; and how loud each end of a stage is."""

import io
import socket
import warnings
from dataclasses import replace

import pytest
from loguru import logger

from stemd import flow
from stemd.log import journal, set_up
from stemd.model import Failed, Finished, Held, Job, Retry, Stage, Stat, Status, Withdrawn
from stemd.service.logbook import severity

JOB = Job(7, "r", b"/in/a.wav", b"a.wav", Stat(1, 2, 3), Stage.SEPARATE, Status.RUNNING, attempts=1)


@pytest.fixture
def sent(tmp_path):
    """Log to a journal of our own; gives what arrived there."""
    address = tmp_path / "socket"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(address))
    listener.setblocking(False)
    logger.remove()
    number = logger.add(journal.Journal(address), format="{message}", backtrace=False, diagnose=False)

    def read():
        return parse(listener.recv(1 << 20))

    yield read
    logger.remove(number)
    listener.close()


def parse(raw):
    """Read a datagram as journald does (https://systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    fields, stream = {}, io.BytesIO(raw)
    while line := stream.readline():
        name, equals, value = line.rstrip(b"\n").partition(b"=")
        if not equals:
            value = stream.read(int.from_bytes(stream.read(8), "little"))
            assert stream.read(1) == b"\n"
        fields[name.decode()] = value.decode()
    return fields


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
@pytest.mark.filterwarnings("default")
def test_a_librarys_warning_is_a_debug_line(capsys, monkeypatch, level):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    set_up("human", level)
    warnings.warn("Callback with id '7' already exists", RuntimeWarning, stacklevel=1)
    told = capsys.readouterr().err
    assert ("DEBUG" in told and "RuntimeWarning" in told and "already exists" in told) == (level == "DEBUG")
    assert told == "" or level == "DEBUG"


def test_an_event_is_one_datagram_with_its_fields(sent):
    logger.bind(job=7, rule="karaoke", stage="take", seconds=1.5, code="no-audio").error("a.wav: {} = {}", "x", "y")
    told = sent()
    assert told["MESSAGE"] == "[job 7 karaoke take] a.wav: x = y (1.5 s)"
    assert (told["PRIORITY"], told["SYSLOG_IDENTIFIER"]) == ("3", "stemd")
    assert (told["STEMD_JOB"], told["STEMD_RULE"], told["STEMD_STAGE"]) == ("7", "karaoke", "take")
    assert told["STEMD_CODE"] == "no-audio"
    assert told["CODE_FILE"].endswith("test_log.py")
    assert told["CODE_FUNC"] == "test_an_event_is_one_datagram_with_its_fields"
    with pytest.raises(BlockingIOError):
        sent()


def test_a_name_with_line_breaks_forges_no_field(sent):
    logger.bind(job=7).warning("arrived: {}", "a\nPRIORITY=0\n.wav")
    told = sent()
    assert told["PRIORITY"] == "4"
    assert "PRIORITY=0" in told["MESSAGE"]


def test_a_traceback_belongs_to_its_event(sent):
    logger.opt(exception=ValueError("no such thing")).error("unexpected")
    told = sent()
    assert told["MESSAGE"] == "unexpected\nValueError: no such thing"


def test_without_a_journal_an_event_is_a_line_with_its_priority(monkeypatch, capsys):
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")  # of another file than standard error: that goes to a file, say
    set_up("auto")
    logger.bind(job=7).success("two\nlines")
    logger.opt(exception=ValueError("no such thing")).error("unexpected")
    logger.remove()
    first, second = capsys.readouterr().err.splitlines()
    assert first == "<5>[job 7] two | lines"
    assert second == "<3>unexpected | ValueError: no such thing"


def test_what_the_journal_does_not_take_is_a_line(tmp_path, capsys):
    logger.remove()
    number = logger.add(journal.Journal(tmp_path / "nobody"), format="{message}")
    logger.warning("heard all the same")
    logger.remove(number)
    assert capsys.readouterr().err == "<4>heard all the same\n"


FAILING = {"stage": Stage.RETIRE, "code": "no-audio", "failing": True}


@pytest.mark.parametrize(
    "outcome, keys, level",
    [
        (Finished(), {}, "INFO"),
        (Finished(), {"stage": Stage.DELIVER, "reasons": ("loud",)}, "SUCCESS"),
        (Held(("loud",)), {"stage": Stage.CHECK}, "INFO"),
        (Held(("needs 5.1 GiB",)), {}, "SUCCESS"),
        (Withdrawn("gone", "the file is gone"), {"stage": Stage.TAKE}, "INFO"),
        (Failed("no-audio", "no audio", "export"), {}, "ERROR"),
        (Failed("x", "cannot be moved", "move"), {"stage": Stage.RETIRE}, "ERROR"),
        (Retry(2, "child died", counts=True, code="child-died"), {}, "WARNING"),
        (Retry(2, "child died", counts=True, code="child-died"), {"attempts": 3}, "ERROR"),
        (Retry(2, "full", counts=False, code="outbox-full"), {}, "WARNING"),
        (Retry(2, "full", counts=False, code="outbox-full"), {"code": "outbox-full"}, "DEBUG"),
        (Retry(2, "gone", counts=False, code="outbox-missing"), {"code": "outbox-full"}, "WARNING"),
        (Retry(2, "gone", counts=False, code="outbox-missing"), FAILING, "WARNING"),
        (Retry(2, "gone", counts=False, code="outbox-missing"), FAILING | {"due": 1e9}, "DEBUG"),
        (Retry(2, "unexpected ValueError", counts=True, code="internal"), {}, "DEBUG"),
        (Retry(2, "unexpected ValueError", counts=True, code="internal"), {"attempts": 3}, "ERROR"),
        (Retry(0, "separate was interrupted", counts=False), {}, "INFO"),
    ],
)
def test_warnings_are_what_an_administrator_should_see(outcome, keys, level):
    job = replace(JOB, **keys)
    assert severity(job, outcome, flow.after(job, outcome)) == level


def test_a_cancelled_job_is_no_warning():
    outcome = Retry(0, "interrupted", counts=False, code="killed")
    assert severity(JOB, outcome, flow.cancelled(JOB, "cancelled by ann")) == "INFO"
