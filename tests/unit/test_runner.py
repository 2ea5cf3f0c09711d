"""However often a stage meets the same fault of its surroundings, it gives its job back."""

import queue
from pathlib import Path

from stemd.errors import EnvironmentFault
from stemd.model import Job, Retry, Stage, Stat
from stemd.planner import Start
from stemd.planner.facts import Need
from stemd.service import runner

JOB = Job(1, "r", b"/in/a.wav", b"a.wav", Stat(1, 2, 3))
START = Start(1, "r", Stage.TAKE, Need())


def test_a_fault_of_days_is_looked_at_every_minute(tmp_path: Path, monkeypatch) -> None:
    def take(_work):
        raise EnvironmentFault("inbox-away", "the share is away", "mount it")

    monkeypatch.setitem(runner.STAGES, Stage.TAKE, take)
    ended = queue.SimpleQueue()
    stages = runner.Runner(tmp_path, None, ended.put)
    waits = []
    for _ in range(1_100):
        stages.start(JOB, None, START, 60.0, ())
        end = ended.get(timeout=10)
        stages.finish(end)
        assert isinstance(end.outcome, Retry)
        waits.append(end.outcome.after)
    assert waits[:6] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert set(waits[6:]) == {60.0}
