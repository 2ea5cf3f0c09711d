"""config.toml: what is right becomes settings, what is wrong is told all at once with key, line and suggestion."""

import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemd.config import ConfigError, find, load, read
from stemd.config.hours import parse
from stemd.config.lines import find_lines
from stemd.config.written import as_toml
from stemd.errors import StemdError
from stemd.model.presets import PRESETS

RULE = '[[rule]]\nname = "a"\ninbox = "in"\noutbox = "out"\n'


@pytest.fixture
def config(tmp_path):
    """Write a text as config.toml and give its path."""

    def write(text):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def problems(config):
    """Give what is wrong with a text."""

    def told(text):
        with pytest.raises(ConfigError) as caught:
            load(config(text))
        assert caught.value.code == "config"
        assert all(problem.message and problem.suggestion and problem.key for problem in caught.value.problems)
        return caught.value.problems

    return told


def only(problems):
    assert len(problems) == 1, problems
    return problems[0]


# -- what is right


def test_a_rule_of_three_lines_is_complete(config, tmp_path):
    settings = load(config(RULE))
    rule = settings.rules[0]
    assert (rule.inbox, rule.outbox) == (tmp_path / "in", tmp_path / "out")
    assert rule.own_folders == (tmp_path / "in/_review", tmp_path / "in/_failed", tmp_path / "in/_done")
    assert (rule.model, rule.shifts, rule.overlap, rule.format, rule.stems) == ("htdemucs", 2, 0.25, "wav", ("all",))
    assert rule.quality.bleed_db == -20
    assert rule.settle is None
    assert settings.daemon.state_dir == Path.home() / ".local/state/stemd"
    assert (settings.daemon.rescan, settings.daemon.models, settings.resources.device) == (30, None, "auto")
    assert settings.rule("a") is rule
    assert settings.rule("b") is None


def test_the_example_of_the_design_is_accepted(config):
    """Word for word, but for the template's key: TOML refuses `name` twice."""
    settings = load(
        config("""
[daemon]
state_dir = "~/.local/state/stemd"   # ledger, work, results: a local disk
results_gb = 50
models = ""                          # a folder of local models in Demucs's format, looked at first
rescan = 30                          # seconds; network mounts: 10
idle_unload = 300

[schedule]
active = []                          # e.g. ["22:00-07:00", "sat", "sun"]; empty: always
yield_cpu_percent = 0                # 0: never yield
yield_gpu_percent = 0

[resources]
device = "auto"                      # auto | cpu | cuda | cuda:1
ram_reserve_gb = 2.0
vram_reserve_gb = 0.5
cpu_jobs = 1                         # normalise, check and encode at a time

[defaults]                           # any key of a rule
settle = 5

[[rule]]
name = "karaoke"
inbox = "/srv/nas/karaoke/in"
outbox = "/srv/nas/karaoke/out"
preset = "standard"                  # draft | standard | best | low-memory | asr | karaoke
model = "htdemucs"                   # any key given here wins over the preset
shifts = 2
overlap = 0.25
stems = ["vocals", "no_vocals"]      # or "all"
format = "flac"                      # wav | flac | mp3 | m4a | opus
bit_depth = 24                       # 16 | 24 | "float32"
bitrate = 320                        # kbit/s, lossy formats; mp3_quality = 2..7
sample_rate = "source"               # or 44100, 16000, ...
channels = "source"                  # or 1, 2
clip = "joint"                       # one gain for all stems, so they still sum | rescale | clamp | none
names = "{track}/{stem}.{ext}"       # {track} {stem} {ext} {model} {rule} {date} {parent}
include = ["*"]
exclude = []
source = "archive"                   # archive | keep | delete
priority = 0

[rule.quality]
bleed_db = -20.0
on_flag = "review"                   # review | deliver

[rule.hook]
delivered = []                       # argv; gets STEMD_MANIFEST, STEMD_TRACK, STEMD_FOLDER
""")
    )
    assert settings.rules[0].stems == ("vocals", "no_vocals")
    assert settings.rules[0].settle == 5


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_makes_a_rule(config, name):
    rule = load(config(RULE + f'preset = "{name}"\n')).rules[0]
    for key, value in PRESETS[name].items():
        assert getattr(rule, key) == value


def test_presets_are_those_of_the_design():
    figures = {name: (keys["model"], keys["shifts"], keys["overlap"], keys["format"]) for name, keys in PRESETS.items()}
    assert figures == {
        "draft": ("htdemucs", 1, 0.25, "mp3"),
        "standard": ("htdemucs", 2, 0.25, "wav"),
        "best": ("htdemucs_ft", 5, 0.5, "wav"),
        "low-memory": ("mdx_q", 1, 0.1, "mp3"),
        "asr": ("htdemucs", 1, 0.25, "wav"),
        "karaoke": ("htdemucs", 1, 0.25, "mp3"),
    }
    assert PRESETS["best"]["bit_depth"] == "float32"
    assert PRESETS["asr"]["stems"] == ("vocals",)
    assert (PRESETS["asr"]["sample_rate"], PRESETS["asr"]["channels"]) == (16000, 1)
    assert PRESETS["karaoke"]["stems"] == ("vocals", "no_vocals")


@pytest.mark.parametrize(
    "defaults, rule, shifts",
    [
        ("", "", 2),
        ("", 'preset = "best"', 5),
        ("shifts = 3", "", 3),
        ("shifts = 3", 'preset = "best"', 5),
        ("shifts = 3", 'preset = "best"\nshifts = 7', 7),
        ('preset = "best"', "", 5),
        ('preset = "best"\nshifts = 3', "", 3),
        ('preset = "best"\nshifts = 3', 'preset = "draft"', 1),
    ],
)
def test_who_wins(config, defaults, rule, shifts):
    assert load(config(f"[defaults]\n{defaults}\n{RULE}{rule}\n")).rules[0].shifts == shifts


def test_another_preset_leaves_nothing_of_the_default_one(config):
    rule = load(config(f'[defaults]\npreset = "asr"\n{RULE}preset = "standard"\n')).rules[0]
    assert (rule.stems, rule.sample_rate, rule.channels) == (("all",), "source", "source")


def test_inner_tables_mix_key_by_key(config):
    text = f'[defaults.quality]\nbleed_db = -30\non_flag = "deliver"\n{RULE}[rule.quality]\nbleed_db = -10\n'
    quality = load(config(text)).rules[0].quality
    assert (quality.bleed_db, quality.on_flag) == (-10, "deliver")


def test_a_presets_float32_gives_way_to_a_chosen_flac(config):
    assert load(config(RULE + 'preset = "best"\nformat = "flac"\n')).rules[0].bit_depth == 24


def test_folders_begin_at_the_files_folder_or_at_home(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    text = '[daemon]\nstate_dir = "state"\nmodels = "~/m"\n[[rule]]\nname = "a"\ninbox = "~/in"\noutbox = "../out"\n'
    settings = load(config(text))
    assert settings.daemon.state_dir == tmp_path / "state"
    assert settings.daemon.models == Path("/home/ada/m")
    assert settings.rules[0].inbox == Path("/home/ada/in")
    assert settings.rules[0].outbox == tmp_path.resolve().parent / "out"


def test_all_is_a_word_or_a_list(config):
    assert load(config(RULE + 'stems = "all"\n')).rules[0].stems == ("all",)
    assert load(config(RULE + 'stems = ["all"]\n')).rules[0].stems == ("all",)


def test_editors_on_windows_do_no_harm(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + RULE.replace("\n", "\r\n").encode())
    assert load(path).rules[0].name == "a"


def test_local_models_may_have_stems_that_nobody_knows(config):
    settings = load(config(f'[daemon]\nmodels = "models"\n{RULE}stems = ["speech", "no_speech"]\n'))
    assert settings.rules[0].stems == ("speech", "no_speech")


# -- what is wrong


@pytest.mark.parametrize(
    "text, key, word",
    [
        (RULE + "shfts = 2", 'rule[0] "a".shfts', 'did you mean "shifts"?'),
        ("[deamon]\n" + RULE, "deamon", 'did you mean "daemon"?'),
        ("shifts = 2\n" + RULE, "shifts", "[[rule]]"),
        ("[daemon]\nshifts = 2\n" + RULE, "daemon.shifts", "[[rule]]"),
        (RULE + "state_dir = 'x'", 'rule[0] "a".state_dir', "[daemon]"),
        ("[defaults]\nname = 'x'\n" + RULE, "defaults.name", "its own"),
        (RULE + 'shifts = "2"', 'rule[0] "a".shifts', "from 0 to 20"),
        (RULE + "shifts = 2.5", 'rule[0] "a".shifts', "whole number"),
        (RULE + "shifts = true", 'rule[0] "a".shifts', "not true"),
        (RULE + "channels = true", 'rule[0] "a".channels', "not true"),
        (RULE + "shifts = 21", 'rule[0] "a".shifts', "from 0 to 20"),
        (RULE + "overlap = 1.0", 'rule[0] "a".overlap', "from 0 below 1"),
        (RULE + "overlap = nan", 'rule[0] "a".overlap', "nan"),
        (RULE + "segment = 0", 'rule[0] "a".segment', "above 0"),
        (RULE + "settle = -1", 'rule[0] "a".settle', "above 0"),
        (RULE + "settle = inf", 'rule[0] "a".settle', "inf"),
        (RULE + 'format = "fla"', 'rule[0] "a".format', 'did you mean "flac"?'),
        (RULE + 'preset = "bets"', 'rule[0] "a".preset', 'did you mean "best"?'),
        (RULE + "bit_depth = 32", 'rule[0] "a".bit_depth', '16, 24 or "float32"'),
        (RULE + 'include = "*.wav"', 'rule[0] "a".include', "a list of texts"),
        (RULE + "include = [1]", 'rule[0] "a".include', "a list of texts"),
        (RULE + "include = []", 'rule[0] "a".include', '["*"]'),
        (RULE + "stems = []", 'rule[0] "a".stems', "no stem"),
        (RULE + 'stems = ["all", "vocals"]', 'rule[0] "a".stems', "alone"),
        (RULE + 'stems = ["bass", "bass"]', 'rule[0] "a".stems', "twice"),
        (RULE + 'stems = ["Vocals"]', 'rule[0] "a".stems', 'did you mean "vocals"?'),
        (RULE + 'stems = ["no_vocal"]', 'rule[0] "a".stems', 'did you mean "no_vocals"?'),
        (RULE + 'stems = ["piano"]', 'rule[0] "a".stems', "no stem"),
        (RULE + 'stems = ["../vocals"]', 'rule[0] "a".stems', "cannot be"),
        (RULE + 'format = "flac"\nbit_depth = "float32"', 'rule[0] "a".bit_depth', "bit_depth = 24"),
        (RULE + 'format = "mp3"\nsample_rate = 96000', 'rule[0] "a".sample_rate', "48000"),
        (RULE + 'format = "opus"\nsample_rate = 44100', 'rule[0] "a".sample_rate', "48000"),
        (RULE + 'format = "mp3"\nbitrate = 400', 'rule[0] "a".bitrate', "bitrate = 320"),
        (RULE + "mp3_quality = 8", 'rule[0] "a".mp3_quality', "from 2 to 7"),
        (RULE + 'names = "{trak}/{stem}"', 'rule[0] "a".names', 'did you mean "track"?'),
        (RULE + 'names = "{track}.wav"', 'rule[0] "a".names', "{stem}"),
        (RULE + 'names = "../{stem}"', 'rule[0] "a".names', "'..'"),
        (RULE + 'names = "/srv/{stem}"', 'rule[0] "a".names', "outside the outbox"),
        (RULE + 'names = "{stem"', 'rule[0] "a".names', "{ and }"),
        (RULE + 'names = "{stem!r}"', 'rule[0] "a".names', "just {stem}"),
        (RULE + 'names = "{stem:>9}"', 'rule[0] "a".names', "just {stem}"),
        (RULE + "names = '{track}\\{stem}'", 'rule[0] "a".names', "'/'"),
        (RULE + 'names = ".{track}/{stem}"', 'rule[0] "a".names', "hidden"),
        (RULE + "[rule.quality]\nbleed_db = 3", 'rule[0] "a".quality.bleed_db', "up to 0"),
        (RULE + "[rule.quality]\nbleed = 3", 'rule[0] "a".quality.bleed', 'did you mean "bleed_db"?'),
        (RULE + "[rule.quality]\nsecond_look = 1", 'rule[0] "a".quality.second_look', "must be true or false, not 1"),
        (RULE + "[rule.quality]\ndc = true", 'rule[0] "a".quality.dc', "must be a number above 0 to 1"),
        (RULE + '[rule.quality]\nignore = ["dc", "cliping"]', 'rule[0] "a".quality.ignore', 'did you mean "clipping"?'),
        (RULE + "quality = 3", 'rule[0] "a".quality', "must be a table"),
        (RULE + '[rule.hook]\ndelivered = "ls -l"', 'rule[0] "a".hook.delivered', "a list of texts"),
        (RULE + '[rule.hook]\ndelivered = [""]', 'rule[0] "a".hook.delivered', "no program"),
        (RULE + '[rule.hook]\ndelivered = ["./tell"]', 'rule[0] "a".hook.delivered', "the whole path"),
        (RULE + "[rule.hook]\ntimeout = 0", 'rule[0] "a".hook.timeout', "above 0"),
        ('[schedule]\nactive = ["25:00-07:00"]\n' + RULE, "schedule.active", "25:00"),
        ('[schedule]\nactive = ["22:00"]\n' + RULE, "schedule.active", "neither hours nor a day"),
        ('[schedule]\nactive = ["son"]\n' + RULE, "schedule.active", "no day"),
        ("[schedule]\nyield_cpu_percent = 101\n" + RULE, "schedule.yield_cpu_percent", "to 100"),
        ('[resources]\ndevice = "gpu"\n' + RULE, "resources.device", 'no device did you mean "cuda"?'),
        ('[resources]\ndevice = "GPU:1"\n' + RULE, "resources.device", 'did you mean "cuda:1"?'),
        ('[resources]\ndevice = "cpus"\n' + RULE, "resources.device", 'did you mean "cpu"?'),
        ('[resources]\ndevice = "cuda:x"\n' + RULE, "resources.device", "no device"),
        ("[resources]\ncpu_jobs = 0\n" + RULE, "resources.cpu_jobs", "from 1 to 64"),
        ('[daemon]\nstate_dir = ""\n' + RULE, "daemon.state_dir", "no folder"),
        ('[daemon]\nstate_dir = "in/state"\n' + RULE, "daemon.state_dir", 'the inbox of rule "a"'),
        ('[daemon]\nmodels = "in/models"\n' + RULE, "daemon.models", 'the inbox of rule "a"'),
        ("daemon = 3\n" + RULE, "daemon", "must be a table"),
        ('[rule]\nname = "a"\ninbox = "in"\noutbox = "out"', "rule", "two brackets"),
        ("", "rule", "[[rule]]"),
        ("rule = 3", "rule", "[[rule]]"),
        (RULE.replace('"a"', '"a/b"'), 'rule[0] "a/b".name', "cannot be"),
        (RULE.replace('"a"', '""'), "rule[0].name", "not empty"),
        (RULE.replace("outbox", "# outbox"), 'rule[0] "a"', "lacks outbox"),
        (RULE.replace('"out"', '"~nobody-has-this-name/out"'), 'rule[0] "a".outbox', "home"),
        (RULE.replace('"in"', '"smb://nas/in"'), 'rule[0] "a".inbox', "is an address"),
        (RULE.replace('"in"', '"nas.local:/in"'), 'rule[0] "a".inbox', "is an address"),
        (RULE.replace('"out"', "'\\\\nas\\out'"), 'rule[0] "a".outbox', "where it is mounted"),
        (RULE.replace('"out"', '"//nas/out"'), 'rule[0] "a".outbox', "is an address"),
        (RULE.replace('"out"', '"C:/Music"'), 'rule[0] "a".outbox', "is an address"),
        (RULE.replace('"out"', r"'C:\Music'"), 'rule[0] "a".outbox', "is an address"),
        (RULE + 'archive = "file:///srv/done"', 'rule[0] "a".archive', "is an address"),
        (RULE.replace('"out"', r'"o\u0000ut"'), 'rule[0] "a".outbox', "no folder"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_to_do(problems, text, key, word):
    problem = only(problems(text))
    assert problem.key == key
    assert word in f"{problem.message} {problem.suggestion}"


@pytest.mark.parametrize(
    "second, key",
    [
        ('name = "a"\ninbox = "in2"\noutbox = "out2"', "name"),
        ('name = "b"\ninbox = "in"\noutbox = "out2"', "inbox"),
        ('name = "b"\ninbox = "in/sub"\noutbox = "out2"', "inbox"),
        ('name = "b"\ninbox = "./in/../in"\noutbox = "out2"', "inbox"),
        ('name = "b"\ninbox = "link"\noutbox = "out2"', "inbox"),
        ('name = "b"\ninbox = "link/sub"\noutbox = "out2"', "inbox"),
        ('name = "b"\ninbox = "in2"\noutbox = "in/out"', "outbox"),
        ('name = "b"\ninbox = "in2"\noutbox = "in2/out"', "outbox"),
        ('name = "b"\ninbox = "in2"\noutbox = "in2"', "outbox"),
        ('name = "b"\ninbox = "in2"\noutbox = "link/out"', "outbox"),
        ('name = "b"\ninbox = "in2"\noutbox = "out2"\nreview = "out"', "review"),
        ('name = "b"\ninbox = "in2"\noutbox = "out2"\nfailed = "out2/failed"', "failed"),
        ('name = "b"\ninbox = "in2"\noutbox = "out2"\narchive = "in/done"', "archive"),
        ('name = "b"\ninbox = "in2"\noutbox = "out2"\narchive = "in2"', "archive"),
    ],
)
def test_folders_that_would_feed_each_other_are_refused(problems, tmp_path, second, key):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    assert only(problems(f"{RULE}[[rule]]\n{second}\n")).key.endswith(f".{key}")


@pytest.mark.parametrize("key", ["review", "failed", "archive"])
@pytest.mark.parametrize("inbox, own", [("nas/in", "real/in/old"), ("real/in", "nas/in/old"), ("real/in", "link/old")])
def test_an_own_folder_that_a_link_leads_into_the_inbox_is_refused_unless_it_is_named_by_the_inbox(
    problems, config, tmp_path, key, inbox, own
):
    (tmp_path / "real/in").mkdir(parents=True)
    (tmp_path / "nas").symlink_to("real")
    (tmp_path / "link").symlink_to("real/in")
    rule = f'[[rule]]\nname = "a"\ninbox = "{inbox}"\noutbox = "out"\n'
    problem = only(problems(f'{rule}{key} = "{own}"\n'))
    path = tmp_path / inbox / "old"
    assert (problem.key, problem.suggestion) == (f'rule[0] "a".{key}', f'write {key} = "{path}"')
    assert getattr(load(config(f'{rule}{key} = "{path}"\n')).rules[0], key) == path


def test_a_default_folder_that_is_a_link_to_another_in_the_inbox_is_refused_and_one_to_elsewhere_is_fine(
    problems, config, tmp_path
):
    (tmp_path / "in/old").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in/_failed").symlink_to(tmp_path / "elsewhere")
    assert len(load(config(RULE)).rules) == 1
    (tmp_path / "in/_done").symlink_to("old")
    assert only(problems(RULE)).suggestion == f'write archive = "{tmp_path / "in/old"}"'


def test_an_inbox_inside_an_outbox_is_refused(problems):
    first = '[[rule]]\nname = "a"\ninbox = "x/out/in"\noutbox = "x/out"\n'
    assert "contains" in only(problems(first)).message


def test_folders_side_by_side_are_fine(config):
    settings = load(
        config(
            '[[rule]]\nname = "a"\ninbox = "x/in"\noutbox = "x/out"\n'
            '[[rule]]\nname = "b"\ninbox = "x/in2"\noutbox = "x/out"\nreview = "x/review"\narchive = "x/in2/old"\n'
        )
    )
    assert len(settings.rules) == 2


def test_a_mistake_in_defaults_is_told_there_and_once(problems):
    text = '[defaults]\nnames = "{track}"\n' + RULE + '[[rule]]\nname = "b"\ninbox = "in2"\noutbox = "out"\n'
    problem = only(problems(text))
    assert (problem.key, problem.line) == ("defaults.names", 2)


def test_everything_is_told_at_once_in_the_files_order(problems):
    found = problems(
        '[daemon]\nrescn = 3\n[schedule]\nactive = [\n  "25:00-07:00",\n]\n'
        '[[rule]]\nname = "a"\ninbox = "in"\n[rule.quality]\nbleed_db = 3\n'
        '[[rule]]\nname = "a"\ninbox = "in"\noutbox = "in/out"\nformat = "wave"\n'
    )
    assert [(problem.line, problem.key) for problem in found] == [
        (2, "daemon.rescn"),
        (4, "schedule.active"),
        (7, 'rule[0] "a"'),
        (11, 'rule[0] "a".quality.bleed_db'),
        (13, 'rule[1] "a".name'),
        (14, 'rule[1] "a".inbox'),
        (15, 'rule[1] "a".outbox'),
        (15, 'rule[1] "a".outbox'),
        (16, 'rule[1] "a".format'),
    ]


def test_the_error_names_the_file_and_every_line(config):
    path = config(RULE + "shfts = 2\nformat = 3\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert str(path) in text
    assert "2 mistakes" in text
    assert "line 5" in text
    assert "line 6" in text
    assert caught.value.hint


@pytest.mark.parametrize(
    "content, line, word",
    [
        (b"a = 1\nb = \n", 2, "value"),
        (b"[[rule]]\nname = 'a'\nname = '{track}'\n", 3, "names"),
        (b"a = 1\nb = '\xff'\n", 2, "UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_names_its_line(tmp_path, content, line, word):
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    problem = only(caught.value.problems)
    assert problem.line == line
    assert word in f"{problem.message} {problem.suggestion}"


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


# -- where it is looked for


def test_the_option_wins_then_the_variable_then_the_present_folder(tmp_path, monkeypatch):
    for name in ("option.toml", "variable.toml", "config.toml"):
        (tmp_path / name).write_text(RULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMD_CONFIG", str(tmp_path / "variable.toml"))
    assert find(tmp_path / "option.toml") == tmp_path / "option.toml"
    assert find(None) == tmp_path / "variable.toml"
    monkeypatch.delenv("STEMD_CONFIG")
    assert find(None).resolve() == tmp_path / "config.toml"


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_named_file_that_is_missing_is_not_replaced_by_another(tmp_path, monkeypatch, how):
    (tmp_path / "config.toml").write_text(RULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMD_CONFIG", str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        find(tmp_path / "gone.toml" if how == "option" else None)


def test_without_any_file_the_error_says_where_it_was_looked_for(tmp_path, monkeypatch):
    if Path("/etc/stemd/config.toml").exists():
        pytest.skip("this machine has /etc/stemd/config.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEMD_CONFIG", raising=False)
    with pytest.raises(StemdError, match="/etc/stemd"):
        find(None)


# -- remarks


@pytest.mark.parametrize(
    "keys, word",
    [
        ('format = "mp3"\nbit_depth = 16', "no bit depth"),
        ('format = "flac"\nbitrate = 128', "lossless"),
        ('model = "htdemucs_6s"', "piano"),
        ('model = "htdemcus"', 'did you mean "htdemucs"?'),
    ],
)
def test_what_has_no_effect_or_is_unwise_is_said(config, keys, word):
    remark = only(read(config(f"{RULE}{keys}\n")).remarks)
    assert word in str(remark)


# -- lines


def test_lines_of_every_kind_of_key():
    text = """# a comment
top = "[[rule]]"
[daemon] # with a comment
"quoted" = 1
long = \"\"\"
[rule]
x = 1 # \"\"\"
list = [ # ]
  "a = 1", [
  ]
]
after = 1
[[rule]]
name = 'a'
quality.bleed_db = 1
[rule.hook]
delivered = []
[[rule]]
name = 'b'
[rule.quality]
on_flag = 1
"""
    assert find_lines(text) == {
        ("top",): 2,
        ("daemon",): 3,
        ("daemon", "quoted"): 4,
        ("daemon", "long"): 5,
        ("daemon", "list"): 8,
        ("daemon", "after"): 12,
        ("rule", 0): 13,
        ("rule", 0, "name"): 14,
        ("rule", 0, "quality", "bleed_db"): 15,
        ("rule", 0, "hook"): 16,
        ("rule", 0, "hook", "delivered"): 17,
        ("rule", 1): 18,
        ("rule", 1, "name"): 19,
        ("rule", 1, "quality"): 20,
        ("rule", 1, "quality", "on_flag"): 21,
    }


VALUES = st.sampled_from(
    [
        "1",
        "'x'",
        '"[t]"',
        '"""\n[t]\nx = 1\n"""',
        "'''\n# '''",
        "[\n  1, # ]\n  2\n]",
        "{a = 1}",
        "[['['], []] # [",
        "'\"'",
    ]
)


@given(st.lists(st.lists(VALUES, max_size=4), max_size=5), st.lists(VALUES, max_size=3))
def test_lines_are_those_on_which_the_keys_were_written(rules, top):
    lines, expected = [], {}

    def add(place, text):
        expected[place] = len(lines) + 1
        lines.extend(text.split("\n"))

    for number, value in enumerate(top):
        add((f"k{number}",), f"k{number} = {value}")
    for number, values in enumerate(rules):
        add(("rule", number), "[[rule]]")
        for key, value in enumerate(values):
            add(("rule", number, f"k{key}"), f"k{key} = {value}")
    text = "\n".join(lines)
    tomllib.loads(text)
    assert find_lines(text) == expected


# -- hours


@pytest.mark.parametrize(
    "text, inside, outside",
    [
        ("22:00-07:00", ["mon 23:00", "tue 06:59", "mon 22:00"], ["mon 07:00", "mon 21:59"]),
        ("08:00-20:00", ["sun 08:00", "sun 19:59"], ["sun 20:00", "sun 07:59"]),
        ("sat", ["sat 00:00", "sat 23:59"], ["fri 23:59", "sun 00:00"]),
        ("Fri 22:00-07:00", ["fri 22:00", "sat 06:00"], ["fri 06:00", "sat 22:00"]),
        ("fri-mon 20:00-24:00", ["sun 23:59", "mon 20:00"], ["tue 20:00", "mon 00:00"]),
        ("sunday 22:00-02:00", ["mon 01:00"], ["sun 01:00"]),
    ],
)
def test_hours(text, inside, outside):
    hours = parse(text)
    assert [when for when in inside if _at(when) not in hours] == []
    assert [when for when in outside if _at(when) in hours] == []


def _at(text):
    day, clock = text.split()
    number = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].index(day)
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, 6, 1 + number, hour, minute)  # noqa: DTZ001 - the clock on the wall


@pytest.mark.parametrize(
    "text", ["", " ", "24:01-07:00", "10:60-11:00", "10:00-10:00", "mo", "montag", "-", "sat 10:00"]
)
def test_what_is_no_hours(text):
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


# -- written again

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
NAMES = TEXTS.filter(lambda text: text.isprintable() and "/" not in text and text[0] not in ". ")
FOLDERS = TEXTS.map(lambda text: text.replace("/", "_").replace(".", "_").replace("~", "_"))
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "preset": st.sampled_from(list(PRESETS)),
        "model": TEXTS,
        "shifts": st.integers(0, 20),
        "overlap": st.floats(0, 1, exclude_max=True),
        "segment": st.floats(0.001, 1e6),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "stems": st.sampled_from([["vocals"], ["no_bass", "drums"], "all"]),
        "bit_depth": st.sampled_from([16, 24]),
        "include": st.lists(TEXTS, min_size=1),
        "exclude": st.lists(TEXTS),
        "priority": st.integers(-100, 100),
        "settle": st.floats(0.1, 100),
        "channels": st.sampled_from(["source", 1, 2]),
        "source": st.sampled_from(["archive", "keep", "delete"]),
    },
)


def _toml(value):
    if isinstance(value, str):
        return '"' + "".join(char if char.isalnum() else f"\\U{ord(char):08x}" for char in value) + '"'
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else repr(value)


@given(NAMES, FOLDERS, KEYS, KEYS)
def test_settings_that_are_shown_load_back_the_same(tmp_path_factory, name, folder, keys, defaults):
    folder_of = tmp_path_factory.mktemp("config")
    lines = ["[defaults]", *(f"{key} = {_toml(value)}" for key, value in defaults.items())]
    lines += ["[[rule]]", f"name = {_toml(name)}", f"inbox = {_toml(folder + '-in')}", 'outbox = "the/out"']
    lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
    first = folder_of / "first.toml"
    first.write_text("\n".join(lines))
    settings = load(first)
    second = folder_of / "second.toml"
    second.write_text(as_toml(settings))
    assert replace(load(second), path=first) == settings


def test_what_is_flagged_is_set_one_by_one(config):
    text = 'null_db = -30\nreverse_db = -40.5\nseam_db = 12\ndc = 0.1\nignore = ["clipping", "nan"]\nsecond_look = true'
    first = load(config(f"{RULE}[rule.quality]\n{text}\n"))
    quality = first.rules[0].quality
    assert (quality.null_db, quality.reverse_db, quality.seam_db, quality.dc) == (-30, -40.5, 12, 0.1)
    assert (quality.ignore, quality.second_look) == (("clipping", "nan"), True)
    assert load(config(as_toml(first))).rules == first.rules


def test_nothing_is_left_to_defaults_when_shown(config):
    shown = tomllib.loads(as_toml(load(config(RULE))))
    assert set(shown) == {"daemon", "schedule", "resources", "notify", "rule"}
    unset = {"segment", "mp3_quality", "settle"}
    assert set(shown["rule"][0]) == set(load(config(RULE)).rules[0].__dataclass_fields__) - unset


def test_the_daemon_needs_neither_numpy_nor_torch_for_it():
    code = "import sys, stemd.config, stemd.config.written; print(*{'numpy', 'torch'} & set(sys.modules))"
    env = {**os.environ, "PYTHONPATH": ""}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout.strip() == b""


# -- who is told


def test_nobody_is_told_unless_somebody_is_named(config):
    notify = load(config(RULE)).notify
    assert not notify.anybody
    assert notify.events == ("failed", "stuck", "review", "done")
    named = load(
        config(f'[notify]\nwebhook = "https://h.example/x?y=1"\nevents = ["review"]\nevery = 60\n{RULE}')
    ).notify
    assert named.anybody
    assert (named.events, named.every) == (("review",), 60.0)


@pytest.mark.parametrize(
    "line, words",
    [
        ('events = ["reviews"]', '"review"'),
        ('webhook = "chat.example.org/hooks"', "no address"),
        ('webhook = "file:///etc/passwd"', "no address"),
        ('webhook = "https://a.example/ b"', "no address"),
        ('webhook = "https://a.example:port/"', "no address"),
        ('command = [""]', "no program"),
        ("every = 0", "from 1"),
        ('webhok = "https://h.example/"', '"webhook"'),
    ],
)
def test_a_mistake_in_notify_is_told(problems, line, words):
    problem = only(problems(f"[notify]\n{line}\n{RULE}"))
    assert problem.key.startswith("notify")
    assert problem.line == 2
    assert words in str(problem)
