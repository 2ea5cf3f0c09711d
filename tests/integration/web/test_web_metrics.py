"""/metrics: what Prometheus reads, over a real ledger and the live facts of a daemon."""

import sqlite3
import time

import pytest
from history import History
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from typer.testing import CliRunner

from stemd import live
from stemd.cli import app
from stemd.config import load
from stemd.ledger import Lock, open_for_writing
from stemd.metrics import Studio as Figures
from stemd.model import Finished
from stemd.web import Rules, Studio, make_app

TOKEN = "correct-horse-battery"
GIB = 1 << 30
LIVE = {
    "pid": 7, "version": "9.9", "paused": "", "closed": "outside hours, next 22:00",
    "running": [{"x_realtime": 12.5, "device": "cuda:0"}, {"x_realtime": None, "device": None}],
    "inboxes": [{"rule": "karaoke", "state": "offline", "settling": 2}],
    "headroom": {
        "ram": 4 * GIB, "ram_total": None, "cpu_percent": 25.0,
        "gpus": [{"index": 0, "name": "RTX", "free": GIB, "total": 8 * GIB, "busy_percent": 50.0}],
        "disks": [{"folder": "/srv/out", "free": 5, "total": 10}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    (folder / "state").mkdir()
    (folder / "config.toml").write_text(
        '[daemon]\nstate_dir = "state"\n[[rule]]\nname = "karaoke"\ninbox = "in"\noutbox = "out"\n'
    )
    ledger = open_for_writing(folder / "state")
    told = History(ledger, time.time() - 3600)
    told.done(b"a.wav")
    told.smaller(b"b.wav")
    told.to_review(b"c.wav")
    told.failed(b"d.wav")
    told.stuck(b"e.wav")
    yield load(folder / "config.toml"), told
    ledger.close()


def client(settings, token=TOKEN):
    studio = Studio(settings.daemon.state_dir, Rules(settings), token)
    return TestClient(make_app(studio), "http://localhost:8340", follow_redirects=False)


def read(client, **headers):
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", **headers})
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_ledger_is_counted(studio):
    told = read(client(studio[0]))
    run = (("device", "cuda:0"), ("model", "htdemucs"))
    assert told["stemd_jobs", ("stage", "retire"), ("status", "done")] == 2
    assert told["stemd_jobs", ("stage", "deliver"), ("status", "held")] == 1
    assert told["stemd_jobs_stuck", ("code", "outbox-full")] == 1
    assert told["stemd_jobs_ended_total", ("status", "done")] == 2
    assert told["stemd_jobs_ended_total", ("status", "held")] == 1
    assert told["stemd_jobs_ended_total", ("status", "failed")] == 1
    assert told["stemd_stage_duration_seconds_count", ("stage", "separate")] == 4  # the two that ran out do not count
    assert told["stemd_stage_duration_seconds_sum", ("stage", "separate")] == pytest.approx(40)
    assert told["stemd_stage_duration_seconds_bucket", ("le", "5"), ("stage", "separate")] == 0
    assert told["stemd_stage_duration_seconds_bucket", ("le", "15"), ("stage", "separate")] == 4
    assert told["stemd_out_of_memory_total", ("code", "out-of-memory")] == 2
    assert told[("stemd_audio_seconds_total", *run)] == 720
    assert told[("stemd_separation_seconds_total", *run)] == pytest.approx(3 * 180 * 0.05 + 180 * 0.1)
    assert told["stemd_separation_realtime_ratio_bucket", run[0], ("le", "10"), run[1]] == 1
    rung = (("batch", "1"), run[0], run[1], ("precision", "auto"), ("segment_seconds", "3.9"))
    assert told[("stemd_separations_total", *rung)] == 1
    assert told["stemd_bleed_decibels_bucket", ("le", "-15")] == 3
    assert told["stemd_bleed_decibels_bucket", ("le", "+Inf")] == 4
    assert told["stemd_results_flagged_total",] == 1
    assert told["stemd_up",] == 0


def test_later_readings_add_what_is_new(studio):
    settings, history = studio
    reader = client(settings)
    before = read(reader)
    assert read(reader) == before
    history.step(history.arrive(b"f.wav"), Finished(sha256="f0", recipe="r"))
    after = read(reader)
    taken = ("stemd_stage_duration_seconds_count", ("stage", "take"))
    assert after[taken] == before[taken] + 1
    assert after["stemd_jobs", ("stage", "normalise"), ("status", "waiting")] == 1
    assert read(client(settings)) == after  # a new process counts the same


def test_a_ledger_that_took_the_others_place_is_counted_from_its_beginning(tmp_path):
    figures = Figures(tmp_path)
    for names in ((b"a.wav", b"b.wav"), (b"c.wav",)):
        for file in tmp_path.glob("ledger.sqlite3*"):
            file.unlink()
        ledger = open_for_writing(tmp_path)
        told = History(ledger, time.time())
        for name in names:
            told.done(name)
        ledger.close()
        families = {family.name: family for family in figures.collect()}
        assert families["stemd_jobs_ended"].samples[0].value == len(names)
        assert families["stemd_results_checked"].samples[0].value == len(names)


def test_the_daemons_own_facts_are_told_while_it_runs(studio):
    settings, _ = studio
    lock = Lock(settings.daemon.state_dir)
    try:
        live.write(settings.daemon.state_dir, LIVE)
        told = read(client(settings))
    finally:
        lock.release()
    assert (told["stemd_up",], told["stemd_paused",], told["stemd_closed",]) == (1, 0, 1)
    assert told["stemd_running_realtime_ratio", ("device", "cuda:0")] == 12.5
    assert told["stemd_inbox_online", ("rule", "karaoke")] == 0
    assert told["stemd_memory_free_bytes",] == 4 * GIB
    assert ("stemd_memory_size_bytes",) not in told
    assert told["stemd_cpu_others_ratio",] == 0.25
    assert told["stemd_gpu_memory_free_bytes", ("device", "cuda:0"), ("name", "RTX")] == GIB
    assert told["stemd_disk_free_bytes", ("folder", "/srv/out")] == 5
    assert read(client(settings))["stemd_up",] == 0


def test_names_follow_prometheus_and_openmetrics_is_valid(studio):
    reader = client(studio[0])
    accept = {"Accept": "application/openmetrics-text; version=1.0.0", "Authorization": f"Bearer {TOKEN}"}
    answer = reader.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    plain = reader.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert plain.headers["content-type"].startswith("text/plain; version=")
    for family in text_string_to_metric_families(plain.text):
        assert family.name.startswith("stemd")
        assert family.documentation.endswith(".")
        assert family.type != "gauge" or not family.name.endswith("_total")


def test_the_token_of_the_pages_guards_it(studio):
    answer = client(studio[0]).get("/metrics")
    assert answer.status_code == 401
    assert client(studio[0], "").get("/metrics").status_code == 200
    assert client(studio[0], "").get("/metrics", headers={"Host": "evil.example"}).status_code == 421


def test_without_a_ledger_the_reason_is_told(studio, tmp_path):
    (tmp_path / "config.toml").write_text(
        '[daemon]\nstate_dir = "state"\n[[rule]]\nname = "r"\ninbox = "in"\noutbox = "out"\n'
    )
    answer = client(load(tmp_path / "config.toml"), "").get("/metrics")
    assert (answer.status_code, answer.json()["code"]) == (503, "no-ledger")


def test_a_redelivery_that_failed_is_no_job_done_and_is_told_by_page_and_command(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "config.toml").write_text(
        '[daemon]\nstate_dir = "state"\n[[rule]]\nname = "karaoke"\ninbox = "in"\noutbox = "out"\n'
    )
    settings = load(tmp_path / "config.toml")
    ledger = open_for_writing(tmp_path / "state")
    told = History(ledger, time.time() - 3600)
    job = told.done(b"again.wav")
    pages = client(settings, "")
    before = read(pages)
    told.not_again(job)
    ledger.close()
    after = read(pages)
    ended = {how: ("stemd_jobs_ended_total", ("status", how)) for how in ("done", "failed")}
    assert after[ended["done"]] == before[ended["done"]]
    assert after[ended["failed"]] == before.get(ended["failed"], 0) + 1
    why = "not delivered again: 1 Hz is refused"
    assert why in pages.get(f"/jobs/{job.id}").text
    story = CliRunner().invoke(app, ["why", str(job.id), "-c", str(settings.path)]).output
    assert f"why: {why} [encode]\n  what to do: choose another sample_rate" in story


def test_what_a_daemon_has_done_is_measured(reading):
    told = read(reading.client(TOKEN))
    run = (("device", "cpu"), ("model", "htdemucs"))
    assert told["stemd_up",] == 1
    assert told[("stemd_audio_seconds_total", *run)] == pytest.approx(8)
    assert told[("stemd_separation_seconds_total", *run)] == pytest.approx(0.8)
    assert told["stemd_jobs_ended_total", ("status", "held")] == 1
    assert (told["stemd_results_checked_total",], told["stemd_results_flagged_total",]) == (1, 1)
    assert told["stemd_bleed_decibels_bucket", ("le", "-40")] == 1
    for stage in ("take", "normalise", "separate", "check", "deliver"):
        assert told["stemd_stage_duration_seconds_count", ("stage", stage)] == 1


STORY = [
    ("take", "waiting"), ("take", "running"), ("normalise", "waiting"), ("normalise", "running"), ("retire", "running"),
    ("retire", "done"),
]  # fmt: skip


def test_many_jobs_cost_a_scrape_little(tmp_path):
    open_for_writing(tmp_path).close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as raw:
        raw.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            "INSERT INTO job(rule, path, name, size, mtime_ns, ctime_ns, stage, status, created, changed) "
            "SELECT 'r', x'00', x'00', 1, 1, 1, 'retire', 'done', 1e9, 1e9 FROM n"
        )
        for place, (stage, status) in enumerate(STORY):
            raw.execute(
                "INSERT INTO event(at, job, stage, status, text) SELECT 1e9 + ?, id, ?, ?, '' FROM job",
                (place, stage, status),
            )
    raw.close()
    figures = Figures(tmp_path)
    figures.collect()
    began = time.process_time()
    families = {family.name: family for family in figures.collect()}
    assert time.process_time() - began < 0.2
    assert families["stemd_jobs"].samples[0].value == 20_000
    assert families["stemd_jobs_ended"].samples[0].value == 20_000
