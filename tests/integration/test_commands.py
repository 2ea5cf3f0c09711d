"""What people give to commands by mistake, and names that others chose: answered in words, never by a traceback."""

import fcntl
import getpass
import os
import time

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from stemd.cli import EXIT_CODES, app
from stemd.commands import common, review
from stemd.commands.common import user
from stemd.errors import StemdError
from stemd.ledger import jobs, open_for_writing
from stemd.model import Arrival, Change, Stage, Stat, Status


@pytest.fixture
def config(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "in").mkdir()
    path = tmp_path / "config.toml"
    path.write_text(
        '[daemon]\nstate_dir = "state"\n[[rule]]\nname = "a"\ninbox = "in"\noutbox = "out"\nmodel = "demo"\n'
        'exclude = ["*.aiff"]\n'
    )
    open_for_writing(tmp_path / "state").close()
    return path


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def refusal(*words) -> StemdError:
    told = run(*words)
    assert isinstance(told.exception, StemdError), told.exception
    return told.exception


@pytest.mark.parametrize("number", ["9" * 20, "9" * 300, "9" * 5000, "1"])
@pytest.mark.parametrize("command", ["why", "cancel"])
def test_a_number_that_no_job_has_is_no_job(config, command, number):
    assert refusal(command, number, "-c", config).code == "no-such-job"


def test_a_report_is_not_written_onto_a_folder(config, tmp_path):
    for folder in (".", "/", tmp_path, f"{tmp_path}/in/.."):
        assert "is a folder" in refusal("report", "-c", config, "--html", folder).message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "in", "state"]


def test_a_user_without_a_name_may_ask_too(monkeypatch):
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert user() == f"user {os.getuid()}"


@pytest.mark.parametrize(
    "name, words",
    [
        ("take.part", "hidden and unfinished"),
        ("~song.wav", "hidden and unfinished"),
        (".song.wav", "hidden and unfinished"),
        ("song.aiff", 'rule "a" takes no file'),
        ("song.lrc", 'rule "a" takes no file'),
    ],
)
def test_what_the_rule_would_never_take_is_not_submitted(config, tmp_path, name, words):
    (tmp_path / name).write_bytes(b"sound")
    assert words in refusal("submit", tmp_path / name, "-r", "a", "-c", config).message
    assert list((tmp_path / "in").iterdir()) == []


def test_what_the_rule_takes_is_submitted(config, tmp_path):
    (tmp_path / "song.wav").write_bytes(b"sound")
    assert "once it has settled" in run("submit", tmp_path / "song.wav", "-r", "a", "-c", config).output
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["song.wav"]


def test_what_finds_no_inbox_is_to_be_submitted_again(config, tmp_path):
    (tmp_path / "song.wav").write_bytes(b"sound")
    (tmp_path / "in").rmdir()
    told = refusal("submit", tmp_path / "song.wav", "-r", "a", "-c", config)
    assert told.code == "inbox-missing"
    assert told.hint.endswith(f"make it: mkdir -p {tmp_path}/in; then submit it again")
    (tmp_path / "state/ledger.sqlite3").unlink()
    told = refusal("submit", tmp_path / "song.wav", "-r", "a", "-c", config)
    assert told.hint == "start the daemon once: stemd run; then submit it again"


@pytest.mark.parametrize(
    "words", [("models", "list"), ("models", "fetch"), ("models", "verify"), ("separate", "x.wav", "-o", "y")]
)
def test_models_are_looked_for_where_the_configuration_says(tmp_path, words):
    (tmp_path / "x.wav").touch()
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[[rule")
    words = [str(tmp_path / word) if word in {"x.wav", "y"} else word for word in words]
    assert refusal(*words, "-c", wrong).code == "config"


@pytest.fixture
def known(config, tmp_path, monkeypatch):
    """A ledger that knows some files; the commands are given outside every inbox."""
    ledger = open_for_writing(tmp_path / "state")
    for name in (b"song.wav", b"Best/01.wav", b"Best/02.wav", b"Live/01.wav", b"song.wav"):
        path = os.fsencode(tmp_path / "in") + b"/" + name
        jobs.admit(ledger, [(Arrival("a", path, Stat(1, 2, time.time_ns())), name)], 1.0)
    ledger.close()
    monkeypatch.chdir(tmp_path)
    return config


@pytest.mark.parametrize("given, job", [("song.wav", 5), ("02.wav", 3), ("Best/01.wav", 2), ("./Live/01.wav", 4)])
def test_a_file_is_known_by_its_name_alone(known, given, job):
    assert f"job {job})" in run("why", given, "-c", known).output.splitlines()[0]


def test_a_name_that_several_files_have_is_asked_back(known):
    told = refusal("why", "01.wav", "-c", known)
    assert told.message == "01.wav may be Best/01.wav (rule a, job 2), Live/01.wav (rule a, job 4)"
    assert refusal("why", "1.wav", "-c", known).code == "no-such-job"


@pytest.mark.parametrize(
    "name, words",
    [
        ("song.crdownload", "is left alone: what is named *.crdownload is"),
        ("Thumbs.db", "named Thumbs.db"),
        (".hidden/song.wav", "named .* is"),
        ("song.aiff", 'exclude of rule "a"'),
        ("song.lrc", "goes along with"),
        ("song.wav.ready", "a marker"),
        ("Best/cover.jpg", "its album"),
        ("_done/01.wav", "what stemd has put there"),
        ("new.wav", "is taken once it has settled"),
        (".trash", "named .* is"),
        ("Best", "no recording but an album: 0 of 2 done"),
        ("New", "nothing in this folder is taken yet"),
    ],
)
def test_a_file_that_is_no_job_is_told_why(known, tmp_path, name, words):
    path = tmp_path / "in" / name
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if name in {"Best", "New", ".trash"} else path.touch()
    told = refusal("why", path, "-c", known)
    assert (told.code, words in told.message) == ("no-such-job", True), told.message


def leaves(command, *above):
    inside = getattr(command, "commands", None)
    if inside is None:
        yield above, command
    for name, below in (inside or {}).items():
        yield from leaves(below, *above, name)


def test_every_command_takes_the_configuration():
    commands = dict(leaves(get_command(app)))
    assert {("demo",), ("measure",), ("config", "presets"), ("review", "show")} <= commands.keys()
    without = [name for name, command in commands.items() if not any("-c" in each.opts for each in command.params)]
    assert without == []


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "x.wav", "--rule", "nope"),
        ("separate", "x.wav", "-o", "x.wav"),
        ("measure", "x.wav", "--vocals", "x.wav", "--ignore", "nonsense"),
    ],
)
def test_wrong_arguments_are_told_from_failures(config, monkeypatch, words):
    monkeypatch.chdir(config.parent)
    (config.parent / "x.wav").touch()
    assert EXIT_CODES.get(refusal(*words).code) == 2


@pytest.mark.parametrize(
    "words", [("-c", "gone.toml", "status"), ("status", "-c", "gone.toml"), ("-c", "gone.toml", "review", "list")]
)
def test_a_configuration_that_is_not_there_is_told_of_whoever_named_it(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEMD_CONFIG", raising=False)
    assert "the option --config names it" in str(refusal(*words))
    assert "STEMD_CONFIG" not in os.environ
    monkeypatch.setenv("STEMD_CONFIG", "gone.toml")
    assert "$STEMD_CONFIG names it" in str(refusal("status"))


def test_the_configuration_named_after_the_command_wins(config):
    assert run("-c", config.with_name("gone.toml"), "status", "-c", config).exit_code == 0
    assert run("-c", config, "status").exit_code == 0


def test_only_where_no_daemon_runs_does_a_rerun_look_for_its_model_itself(config, tmp_path, monkeypatch):
    monkeypatch.setattr(common, "_ANSWER_WITHIN", 0)
    monkeypatch.setattr(review, "ask_engine", lambda _: {"models": []})
    ledger = open_for_writing(tmp_path / "state")
    (job,) = jobs.admit(ledger, [(Arrival("a", b"/in/a.wav", Stat(1, 2, 3)), b"a.wav")], 1.0)
    jobs.apply(ledger, job, Change(Stage.DELIVER, Status.HELD, "waits for a listener", reasons=("bleed",)), 2.0)
    ledger.close()
    with (tmp_path / "state/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "the daemon is busy" in run("review", "rerun", job.id, "-c", config).output
    assert refusal("review", "rerun", job.id, "-c", config).code == "model-missing"


def test_names_do_not_steer_a_terminal(config, tmp_path):
    ledger = open_for_writing(tmp_path / "state")
    name = b"a\x1b[2Jb\xc2\x9b1m.wav"
    (job,) = jobs.admit(ledger, [(Arrival("a", b"/in/" + name, Stat(1, 2, 3)), name)], time.time())
    ledger.close()
    for words in (("jobs",), ("status",), ("why", job.id)):
        told = run(*words, "-c", config).output
        assert "a\\x1b[2Jb\\x9b1m.wav" in told
        assert not {"\x1b", "\x9b"} & set(told)


@pytest.mark.parametrize("folder", ["in", "in/X", "in/_review", "in/_failed", "in/_done", "out", "out/song"])
def test_a_file_is_known_by_whichever_links_lead_to_its_folder(config, tmp_path, monkeypatch, folder):
    real, nas = tmp_path / "real", tmp_path / "nas"
    (real / folder).mkdir(parents=True)
    nas.symlink_to(real)
    config.write_text(config.read_text().replace('"in"', '"nas/in"').replace('"out"', '"nas/out"'))
    ledger = open_for_writing(tmp_path / "state")
    arrival = Arrival("a", os.fsencode(nas / folder / "song.wav"), Stat(1, 2, 3))
    jobs.admit(ledger, [(arrival, b"song.wav")], time.time())
    ledger.close()
    (real / folder / "song.wav").touch()
    (real / folder / "link.wav").symlink_to("song.wav")
    monkeypatch.chdir(nas / folder)
    for path in ("song.wav", real / folder / "song.wav", nas / folder / "song.wav"):
        assert "song.wav (rule a, job 1)" in run("why", path, "-c", config).output
    assert refusal("why", "link.wav", "-c", config).code == "no-such-job"
