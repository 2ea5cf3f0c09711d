"""What a starting daemon finds in its work folder, over a real ledger."""

import tracemalloc

import pytest

from stemd.ledger import jobs, open_for_writing, store
from stemd.model import Status
from stemd.service.folders import left_over, tidy

MANY = """
    WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 5000)
    INSERT INTO job (rule, path, name, size, mtime_ns, ctime_ns, stage, status, created, changed)
    SELECT 'songs', x'61', x'61', i, 2, 3, 'retire', iif(i = 7, 'waiting', 'done'), 1, 1 FROM number
"""


@pytest.fixture
def state(tmp_path):
    for name in ("7", "8", "4999", "5001", "008", "\u0668", "9" * 40, "notes"):
        (tmp_path / "work" / name).mkdir(parents=True)
    (tmp_path / "results/a.tmp").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def ledger(state):
    opened = open_for_writing(state)
    opened.db.execute_sql(MANY)
    yield opened
    opened.close()


def test_folders_of_jobs_stay_and_others_go_whatever_the_ledger_holds(state, ledger):
    tracemalloc.start()
    tidy(state, ledger)
    ended = left_over(state, ledger)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {folder.name for folder in (state / "work").iterdir()} == {"7", "8", "4999"}
    assert [(job.id, job.status) for job in ended] == [(8, Status.DONE), (4999, Status.DONE)]
    assert not list((state / "results").iterdir())
    assert peak < 2 << 20


def test_while_the_ledger_cannot_be_read_no_folder_is_taken_for_a_stranger(state, ledger, monkeypatch):
    monkeypatch.setattr(jobs, "rows", unreadable)
    with pytest.raises(store.LedgerFull):
        tidy(state, ledger)
    assert (state / "work/7").is_dir()


def unreadable(_):
    raise store.LedgerFull("locked")
