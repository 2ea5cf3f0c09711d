"""The ledger on a real SQLite file: guarded transitions, duplicates, recovery, lock, migrations."""

import fcntl
import os
import runpy
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stemd import flow
from stemd.errors import StemdError
from stemd.ledger import (
    LedgerFull,
    Lock,
    arrivals,
    facts,
    figures,
    jobs,
    locked,
    open_for_asking,
    open_for_writing,
    requests,
    stopping,
    store,
)
from stemd.ledger.jobs import Stale
from stemd.model import (
    Arrival,
    Artifact,
    Change,
    Failed,
    Finished,
    Hearing,
    Held,
    Measurement,
    Result,
    Retry,
    Stage,
    Stat,
    Status,
)
from stemd.mounts import FileSystem

NOW = 1_790_000_000.0
SEEN = Stat(1, 2, 3)


@pytest.fixture
def ledger(tmp_path):
    opened = open_for_writing(tmp_path)
    yield opened
    opened.close()


def test_a_ledger_that_another_program_holds_is_a_fault_of_the_surroundings(ledger, tmp_path):
    assert store._PATIENCE < 30  # seconds that a part of the daemon may stand still
    ledger.db.execute_sql("PRAGMA busy_timeout = 10")
    holder = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    reads = () if ledger.db.pragma("journal_mode") == "wal" else (requests.unanswered, jobs.counts)
    for use in (*reads, lambda held: jobs.recover(held, 1.0)):
        with pytest.raises(store.LedgerFull, match="the ledger cannot be used: database is locked"):
            use(ledger)
    holder.execute("ROLLBACK")
    holder.close()
    assert requests.unanswered(ledger) == []


def test_nobody_is_told_to_move_a_ledger_away_that_another_program_holds_for_a_while(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_PATIENCE", 0.01)
    ledger.db.pragma("journal_mode", "delete")
    holder = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    for opening in (store.open_for_asking, store.open_for_writing):
        with pytest.raises(store.LedgerFull, match="database is locked"):
            opening(tmp_path)
    holder.close()


def arrive(ledger, name=b"caf\xe9.wav", stat=SEEN, rule="r"):
    return jobs.admit(ledger, [(Arrival(rule, b"/in/" + name, stat), name)], NOW)


def test_a_version_of_a_file_becomes_one_job(ledger):
    (job,) = arrive(ledger)
    assert (job.name, job.stage, job.status) == (b"caf\xe9.wav", Stage.TAKE, Status.WAITING)
    assert arrive(ledger) == []
    (other,) = arrive(ledger, stat=Stat(1, 2, 4))
    assert other.id != job.id
    assert dict(arrivals.known(ledger, "r")) == {b"/in/caf\xe9.wav": Stat(1, 2, 4)}


def test_a_transition_hits_the_row_it_was_made_for_and_leaves_its_event(ledger):
    (job,) = arrive(ledger)
    running = jobs.claim(ledger, job, NOW + 1)
    assert (running.status, running.attempts) == (Status.RUNNING, 1)
    with pytest.raises(Stale):
        jobs.claim(ledger, job, NOW + 2)
    done = jobs.apply(ledger, running, flow.after(running, Finished("taken", sha256="ab", recipe="cd")), NOW + 3)
    with pytest.raises(Stale):
        jobs.apply(ledger, running, flow.after(running, Finished()), NOW + 4)
    assert (done.stage, done.sha256) == (Stage.NORMALISE, "ab")
    assert [event.text for event in jobs.events(ledger, job.id)] == ["arrived", "take started", "taken"]


def test_a_job_that_cannot_be_read_back_is_not_set_to_work(ledger, monkeypatch):
    """Nobody would run it: the daemon goes on when another program holds the ledger for a moment."""
    (job,) = arrive(ledger)

    def held(_ledger, _number):
        raise LedgerFull("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "get", held)
        with pytest.raises(LedgerFull):
            jobs.claim(ledger, job, NOW)
    assert jobs.get(ledger, job.id) == job


def test_a_fault_that_lasts_is_one_line_of_the_story_however_often_it_is_met(ledger):
    (job,) = arrive(ledger)
    now = NOW

    def tried(job, outcome):
        nonlocal now
        now += 60
        job = jobs.claim(ledger, job, now)
        assert (job.status, job.attempts) == (Status.RUNNING, 1)
        return jobs.apply(ledger, job, flow.after(job, outcome), now + 1)

    for code in ("share-gone", "share-gone", "share-gone", "disk-full", "disk-full"):
        job = tried(job, Retry(60.0, f"{code} at {now:.0f}", counts=False, code=code))
        assert (job.code, job.reason, job.due) == (code, f"{code} at {now - 60:.0f}", now + 61)
    job = tried(job, Finished(sha256="ab", recipe="x", note="taken"))
    assert [(event.at - NOW, event.status, event.text, event.code) for event in jobs.events(ledger, job.id)] == [
        (0, Status.WAITING, "arrived", ""),
        (60, Status.RUNNING, "take started", ""),
        (61, Status.WAITING, f"share-gone at {NOW:.0f}", "share-gone"),
        (240, Status.RUNNING, "take started", ""),
        (241, Status.WAITING, f"disk-full at {NOW + 180:.0f}", "disk-full"),
        (360, Status.RUNNING, "take started", ""),
        (361, Status.WAITING, "taken", ""),
    ]


def test_every_lack_of_memory_and_every_rung_is_a_line_of_the_story(ledger):
    job = taken(ledger, b"a")
    for stage in (Stage.NORMALISE, Stage.SEPARATE):
        for code in ("out-of-memory", "out-of-memory"):
            job = jobs.claim(ledger, job, NOW, f"{stage} started")
            job = jobs.apply(ledger, job, flow.after(job, Retry(0.0, "full", counts=False, code=code)), NOW)
        assert [event.text for event in jobs.events(ledger, job.id)][-4:] == [f"{stage} started", "full"] * 2
        job = jobs.apply(ledger, (claimed := jobs.claim(ledger, job, NOW)), flow.after(claimed, Finished()), NOW)


def test_an_arrow_that_does_not_exist_is_refused(ledger):
    (job,) = arrive(ledger)
    with pytest.raises(StemdError, match="cannot go from waiting to failed"):
        jobs.apply(ledger, job, Change(Stage.RETIRE, Status.FAILED, "cheat"), NOW)


def test_events_can_only_be_added(ledger, tmp_path):
    arrive(ledger)
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as raw, pytest.raises(sqlite3.IntegrityError):
        raw.execute("UPDATE event SET text = 'never happened'")
    raw.close()


def taken(ledger, name, content="ab", rule="r"):
    (job,) = arrive(ledger, name, rule=rule)
    running = jobs.claim(ledger, job, NOW)
    return jobs.apply(ledger, running, flow.after(running, Finished(sha256=content, recipe="cd")), NOW)


def test_the_same_content_under_the_same_rule_and_recipe_has_one_job(ledger):
    first, second, elsewhere = taken(ledger, b"a"), taken(ledger, b"b"), taken(ledger, b"c", rule="other")
    assert (second.twin, second.stage, second.sha256) == (first.id, Stage.RETIRE, "ab")
    assert first.twin is None
    assert elsewhere.twin is None


def test_a_content_that_failed_may_be_tried_anew(ledger):
    first = taken(ledger, b"a")
    running = jobs.claim(ledger, first, NOW)
    failing = jobs.apply(ledger, running, flow.after(running, Failed("x", "broken", "mend it")), NOW)
    running = jobs.claim(ledger, failing, NOW)
    failed = jobs.apply(ledger, running, flow.after(running, Finished()), NOW)
    assert (failed.status, failed.code, failed.reason) == (Status.FAILED, "x", "broken")
    assert taken(ledger, b"b").twin is None


def test_a_duplicate_takes_over_when_what_was_made_is_gone(ledger):
    first = taken(ledger, b"a")
    while first.status is not Status.DONE:
        running = jobs.claim(ledger, first, NOW)
        first = jobs.apply(ledger, running, flow.after(running, Finished()), NOW)
    second = taken(ledger, b"b")
    new = jobs.supersede(ledger, first, second, NOW)
    assert (new.twin, new.stage, new.status) == (None, Stage.TAKE, Status.WAITING)
    assert jobs.get(ledger, first.id).twin == second.id
    running = jobs.claim(ledger, new, NOW)
    assert jobs.apply(ledger, running, flow.after(running, Finished(sha256="ab", recipe="cd")), NOW).twin is None


def test_a_vanished_file_that_is_back_gets_its_job_back(ledger):
    (job,) = arrive(ledger)
    jobs.apply(ledger, job, flow.cancelled(job, "gone", "vanished"), NOW)
    (back,) = arrive(ledger)
    assert (back.id, back.status) == (job.id, Status.WAITING)
    jobs.apply(ledger, back, flow.cancelled(back, "cancelled by ann"), NOW)
    assert arrive(ledger) == []  # a person's decision holds


def test_what_a_dead_daemon_left_running_goes_on(tmp_path):
    ledger = open_for_writing(tmp_path)
    (job,) = arrive(ledger)
    jobs.claim(ledger, job, NOW)
    ledger.close()
    ledger = open_for_writing(tmp_path)
    (recovered,) = jobs.recover(ledger, NOW + 9)
    assert (recovered.stage, recovered.status, recovered.attempts) == (Stage.TAKE, Status.WAITING, 1)
    assert "stopped during take" in jobs.events(ledger, job.id)[-1].text
    assert jobs.recover(ledger, NOW) == []
    ledger.close()


def test_a_job_that_was_asked_to_stop_is_cancelled_though_the_daemon_died(tmp_path):
    ledger = open_for_writing(tmp_path)
    (job,) = arrive(ledger)
    running = jobs.claim(ledger, job, NOW)
    jobs.note(ledger, running, "a line of another kind", NOW)
    assert stopping.asked(ledger, job.id) == ""
    jobs.note(ledger, running, "cancelled by ann", NOW, stopping.STOPPING)
    jobs.note(ledger, running, "a later line", NOW)
    ledger.close()
    ledger = open_for_writing(tmp_path)
    (recovered,) = jobs.recover(ledger, NOW + 9)
    assert (recovered.status, recovered.reason) == (Status.CANCELLED, "cancelled by ann")
    again = jobs.claim(ledger, jobs.apply(ledger, recovered, flow.retried("once more"), NOW), NOW)
    assert stopping.asked(ledger, again.id) == ""  # it was asked of another life
    ledger.close()


def test_facts_come_back_as_they_went_in(ledger):
    job = taken(ledger, b"a")
    cost = Measurement("demo", "cpu", "auto", 1, 4.0, 5, 0, 0.25, 20.0, 3)
    files = (Artifact(b"/out/\xff/vocals.wav", "ee", 7),)
    running = jobs.claim(ledger, job, NOW)
    jobs.apply(ledger, running, flow.after(running, Finished(artifacts=files, measurement=cost)), NOW)
    assert tuple(facts.artifacts(ledger, job.id)) == files
    assert list(facts.measurements(ledger)) == [cost]
    assert list(ledger.db.execute_sql("SELECT job, path, sha256, bytes FROM artifact")) == [(1, files[0].path, "ee", 7)]
    assert [found.id for found in jobs.by_path(ledger, b"/out/\xff/vocals.wav")] == [job.id]
    facts.remember(ledger, "paused", "ann")
    facts.remember(ledger, "paused", "")
    assert facts.setting(ledger, "paused", "default") == ""


def test_figures_are_read_in_their_order_and_from_any_on(ledger):
    job = jobs.claim(ledger, taken(ledger, b"a"), NOW + 1)
    job = jobs.apply(ledger, job, flow.after(job, Finished(seconds=181.5)), NOW + 2)
    assert job.seconds == 181.5
    cost = Measurement("demo", "cuda:0", "auto", 4, 7.8, 5, 6, 0.25)
    job = jobs.claim(ledger, job, NOW + 3)
    job = jobs.apply(ledger, job, flow.after(job, Finished(measurement=cost)), NOW + 4)
    job = jobs.claim(ledger, job, NOW + 5)
    held = Held(("loud",), hearing=Hearing(-14.2, -15.0, 1))
    job = jobs.apply(ledger, job, flow.after(job, held), NOW + 6)
    assert (job.reasons, job.seconds) == (("loud",), 181.5)

    told = list(figures.steps(ledger))
    assert [(step.job, step.stage, step.status) for step in told[-2:]] == [
        (job.id, Stage.CHECK, Status.RUNNING), (job.id, Stage.DELIVER, Status.WAITING)
    ]  # fmt: skip
    assert list(figures.steps(ledger, after=told[-2].id)) == told[-1:]
    assert list(figures.steps(ledger, since=NOW + 5)) == told[-2:]
    assert list(figures.steps(ledger, codes=("killed",))) == []
    (spent,) = figures.costs(ledger)
    assert (spent.device, spent.batch, spent.seconds_per_audio_second, spent.audio) == ("cuda:0", 4, 0.25, 181.5)
    assert list(figures.costs(ledger, after=spent.id)) == list(figures.costs(ledger, since=NOW + 5)) == []
    (heard,) = figures.hearings(ledger)
    assert (heard.job, heard.result, heard.score, heard.bleed_db, heard.flags) == (job.id, 1, -14.2, -15.0, 1)
    assert figures.delivered_bytes(ledger, NOW) == 0


@pytest.mark.parametrize(
    "read", [figures.steps, lambda read: store.rows(read.job.select())], ids=["figures", "a select"]
)
def test_who_reads_much_does_not_keep_the_daemon_from_writing(ledger, tmp_path, monkeypatch, read):
    monkeypatch.setattr(figures, "_PIECE", 2)
    ledger.db.pragma("journal_mode", "delete")
    ledger.db.execute_sql("PRAGMA busy_timeout = 10")
    names = [b"%d" % number for number in range(1, 6)]
    for name in names:
        arrive(ledger, name)
    asking = open_for_asking(tmp_path)
    found = read(asking)
    first = next(found)
    facts.remember(ledger, "paused", "ann")
    arrive(ledger, b"6")
    rest = list(found)
    assert rest[:4] == list(read(asking))[1:5]
    assert first == next(read(asking))
    asking.close()


def test_figures_come_piece_by_piece_and_all_of_them(ledger, monkeypatch):
    for name in (b"a", b"b", b"c", b"d"):
        arrive(ledger, name)
    numbers = [step.id for step in figures.steps(ledger)]
    for size in (1, 2, 3, 4, 5):
        monkeypatch.setattr(figures, "_PIECE", size)
        assert [step.id for step in figures.steps(ledger)] == numbers == [1, 2, 3, 4]
        assert [step.id for step in figures.steps(ledger, after=2, since=NOW)] == [3, 4]


def test_requests_are_answered_once(ledger, tmp_path):
    asking = open_for_asking(tmp_path)
    number = requests.ask(asking, "retry", who="ann", now=NOW, job=None, details={"preset": "best"})
    (request,) = requests.unanswered(ledger)
    assert (request.verb, request.who, request.details, request.ok) == ("retry", "ann", {"preset": "best"}, None)
    requests.answer(ledger, request, ok=False, text="not now", now=NOW)
    assert requests.unanswered(ledger) == []
    assert requests.find(asking, number).answer == "not now"
    asking.close()


def test_a_second_daemon_is_refused_also_from_another_process(tmp_path):
    assert not locked(tmp_path)
    lock = Lock(tmp_path)
    assert locked(tmp_path)
    code = f"from pathlib import Path; from stemd.ledger import Lock; Lock(Path({str(tmp_path)!r}))"
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another stemd (pid" in second.stderr
    lock.release()
    assert not locked(tmp_path)


def test_a_daemon_starts_though_somebody_looks_whether_one_runs(tmp_path):
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        threading.Timer(0.3, fcntl.flock, (looked_at, fcntl.LOCK_UN)).start()
        Lock(tmp_path).release()


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A user to whom the state folder, here the present one, does not belong."""
    if os.geteuid() != 0:
        pytest.skip("only root may act as another user")
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    lock = Lock(tmp_path)
    os.seteuid(65534)
    yield
    os.seteuid(0)
    lock.release()


def test_who_may_only_read_sees_that_the_daemon_runs(stranger):
    assert locked(Path())
    with pytest.raises(StemdError, match="cannot be written"):
        Lock(Path())


def test_who_may_not_even_read_is_not_told_that_no_daemon_runs(stranger, tmp_path):
    os.seteuid(0)
    (tmp_path / "lock").chmod(0)
    os.seteuid(65534)
    with pytest.raises(StemdError, match="cannot be read"):
        locked(Path())


def test_the_ledger_of_a_newer_stemd_is_refused(tmp_path):
    open_for_writing(tmp_path).close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as raw:
        raw.execute("INSERT INTO schema_migration(name, applied) VALUES ('9999_future', '2030-01-01')")
    raw.close()
    for opening in (open_for_writing, open_for_asking):
        with pytest.raises(StemdError) as refusal:
            opening(tmp_path)
        assert refusal.value.code == "ledger-newer"


def test_an_older_ledger_is_copied_before_it_is_migrated(tmp_path, monkeypatch):
    ledger = open_for_writing(tmp_path)
    arrive(ledger)
    ledger.close()
    more = tmp_path / "migrations"
    more.mkdir()
    for file in store.MIGRATIONS.glob("0*.py"):
        (more / file.name).write_bytes(file.read_bytes())
    (more / "0999_more.py").write_text("def up(m, db):\n    db.execute_sql('CREATE TABLE more (x)')\n")
    monkeypatch.setattr(store, "MIGRATIONS", more)
    with pytest.raises(StemdError, match="of an older stemd"):
        open_for_asking(tmp_path)
    open_for_writing(tmp_path).close()
    (copy,) = tmp_path.glob("ledger.before-0999_more.*")
    with sqlite3.connect(copy) as raw:
        assert raw.execute("SELECT count(*) FROM job").fetchone() == (1,)
    raw.close()


KILLED_WHILE_COPYING = """
import os, signal, sys
from pathlib import Path
from stemd.ledger import open_for_writing, store

state, connect = Path(sys.argv[1]), store._connect

def lethal():
    if any(file.stat().st_size for file in state.iterdir() if not file.name.startswith("ledger.sqlite3")):
        os.kill(os.getpid(), signal.SIGKILL)
    return 0

def opened(*where):
    db = connect(*where)
    db.connection().set_progress_handler(lethal, 1)
    return db

store._connect = opened
open_for_writing(state)
"""


def test_a_copy_that_was_cut_off_does_not_look_like_one(tmp_path):
    ledger = open_for_writing(tmp_path)
    arrive(ledger)
    ledger.db.execute_sql("ALTER TABLE artifact RENAME COLUMN bytes TO size")
    ledger.db.execute_sql("DELETE FROM schema_migration WHERE name = '0010_bytes'")
    facts.remember(ledger, "ballast", "." * (8 << 20))
    ledger.close()
    before = {file.name for file in tmp_path.iterdir()}
    for _ in range(2):
        ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_COPYING, str(tmp_path)], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert not list(tmp_path.glob("ledger.before-*"))
    open_for_writing(tmp_path).close()
    (copy,) = (file for file in tmp_path.iterdir() if file.name not in before)
    assert copy.name.startswith("ledger.before-0010")
    with sqlite3.connect(copy) as raw:
        assert raw.execute("SELECT count(*) FROM job").fetchone() == (1,)
    raw.close()


@pytest.mark.parametrize(
    "status, code, failing",
    [
        ("waiting", "not-audio", True), ("waiting", "archive-full", False), ("running", "inbox-offline", False),
        ("failed", "damaged", True), ("done", "outbox-full", False), ("waiting", "", False),
    ],
)  # fmt: skip
def test_of_jobs_in_an_older_ledger_only_those_whose_file_is_at_fault_are_failing(ledger, status, code, failing):
    (job,) = arrive(ledger)
    ledger.db.execute_sql("UPDATE job SET stage = 'retire', status = ?, code = ?", (status, code))
    ledger.db.execute_sql("ALTER TABLE job DROP COLUMN failing")
    for statement in runpy.run_path(str(store.MIGRATIONS / "0007_failing.py"))["STATEMENTS"]:
        ledger.db.execute_sql(statement)
    assert jobs.get(ledger, job.id).failing is failing


def test_a_damaged_ledger_is_named(tmp_path):
    (tmp_path / "ledger.sqlite3").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StemdError) as refusal:
        open_for_writing(tmp_path)
    assert refusal.value.code == "ledger-damaged"


def test_a_state_folder_on_a_network_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "filesystem", lambda path: FileSystem("nfs4", path))
    with pytest.raises(StemdError) as refusal:
        open_for_writing(tmp_path)
    assert refusal.value.code == "state-network"


def test_ten_thousand_files_are_admitted_without_ado(ledger, record_property):
    many = [(Arrival("r", b"/in/%d" % n, Stat(n, 2, 3)), b"%d" % n) for n in range(10_000)]
    began = time.process_time()
    assert len(jobs.admit(ledger, many, NOW)) == 10_000
    record_property("files_per_cpu_second", round(10_000 / (time.process_time() - began)))
    assert len(jobs.waiting(ledger, 200)) == 200


def test_who_waits_is_found_at_the_same_cost_however_many_rules_there_are(tmp_path):
    costs = {}
    for rules in (1, 20):
        (tmp_path / str(rules)).mkdir()
        ledger = open_for_writing(tmp_path / str(rules))
        ledger.db.execute_sql(MANY_WAITING, (rules,))
        steps = []
        ledger.db.connection().set_progress_handler(lambda steps=steps: steps.append(1), 100)
        assert len(jobs.waiting(ledger, 5)) == 5 * rules
        costs[rules] = len(steps)
        ledger.close()
    assert costs[20] < 2 * costs[1]


MANY_WAITING = """
    WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 4000)
    INSERT INTO job (rule, path, name, size, mtime_ns, ctime_ns, stage, status, created, changed)
    SELECT 'r' || (i % ?), x'61', x'61', i, 2, 3, 'take', 'waiting', 1, 1 FROM number
"""


def test_a_ledger_of_before_several_results_is_copied_and_goes_on(ledger, tmp_path):
    ledger.close()
    old = tmp_path / "old"
    old.mkdir()
    first = next(path for path in store.MIGRATIONS.glob("0001*.py"))
    with sqlite3.connect(old / "ledger.sqlite3") as raw:
        statements = runpy.run_path(str(first))["STATEMENTS"]
        for statement in statements:
            raw.execute(statement)
        raw.execute(
            "INSERT INTO job (rule, path, name, size, mtime_ns, ctime_ns, stage, status, created, changed)"
            " VALUES ('r', x'61', x'61', 1, 2, 3, 'deliver', 'held', 1, 1)"
        )
        raw.execute("INSERT INTO artifact VALUES (1, x'62', 'ab', 9)")
        raw.execute("INSERT INTO measurement VALUES (1, 1, 'demo', 'cpu', 'auto', 1, 4.0, 5, 0, 0.25)")
    raw.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as new, sqlite3.connect(old / "ledger.sqlite3") as raw:
        (table,) = new.execute("SELECT sql FROM sqlite_master WHERE name LIKE '%migration%'").fetchone()
        raw.execute(table)
        name = new.execute("SELECT name FROM sqlite_master WHERE name LIKE '%migration%'").fetchone()[0]
        columns = [row[1] for row in new.execute(f"PRAGMA table_info({name})")]
        row = new.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchone()
        raw.execute(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", row)
    new.close()
    raw.close()
    opened = open_for_writing(old)
    try:
        job = jobs.get(opened, 1)
        assert (job.result, job.preset, job.model, job.others) == (1, "", "", ())
        assert facts.artifacts(opened, 1) == [Artifact(b"b", "ab", 9, 1)]
        assert list(facts.measurements(opened)) == [
            Measurement("demo", "cpu", "auto", 1, 4.0, 5, 0, 0.25, 1.0, lanes=0)
        ]
    finally:
        opened.close()
    assert list(old.glob("ledger.before-0002*.sqlite3"))


def test_several_results_and_their_files_come_back_as_they_were(ledger):
    (job,) = arrive(ledger)
    running = jobs.claim(ledger, job, NOW)
    first = Result(1, key="k1", reasons=("vocal audible",))
    change = Change(Stage.NORMALISE, Status.WAITING, "again", present=Result(2, "best", "mine"), others=(first,))
    again = jobs.apply(ledger, running, change, NOW)
    assert again.results == (first, Result(2, "best", "mine"))
    assert jobs.needed_keys(ledger) == {"k1"}
    files = (Artifact(b"/r/a", "ab", 1), Artifact(b"/r/a (best)", "cd", 2, 2))
    running = jobs.claim(ledger, again, NOW)
    held = jobs.apply(ledger, running, Change(Stage.DELIVER, Status.HELD, "", facts=Finished(artifacts=files)), NOW)
    assert tuple(facts.artifacts(ledger, job.id)) == files
    approved = jobs.apply(ledger, held, flow.approved(held, "ann", 1), NOW)
    assert (approved.key, approved.reasons, approved.approved) == ("k1", ("vocal audible",), True)
