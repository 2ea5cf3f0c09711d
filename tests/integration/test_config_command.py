"""`stemd config` as a person sees it, and the commented example in the checkout."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stemd.commands.config import app
from stemd.config import ConfigError, Daemon, Notify, Resources, Schedule, load, read
from stemd.model import Hook, Rule, Thresholds

EXAMPLE = Path(__file__).parents[2] / "config.toml"
RULE = '[[rule]]\nname = "a"\ninbox = "in"\noutbox = "out"\n'


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(f'[daemon]\nstate_dir = "state"\n{RULE}')
    return path


def stemd_config(*args):
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=True)
    if isinstance(result.exception, ConfigError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_check_names_rules_and_folders(config, tmp_path):
    (tmp_path / "in").mkdir()
    output = stemd_config("check", "-c", config)
    assert "all right, 1 rule" in output
    assert str(tmp_path / "in") in output
    assert str(tmp_path / "out") in output
    assert "warning" not in output
    assert "note" not in output


def test_check_warns_of_an_inbox_that_is_not_there(config):
    assert "is not there yet" in stemd_config("check", "-c", config)
    config.write_text(config.read_text().replace('"in"', '"/mnt/no-such-share/in"'))
    assert "the rule waits for it" in stemd_config("check", "-c", config)


def test_check_warns_of_a_file_where_a_folder_should_be(config, tmp_path):
    (tmp_path / "in").touch()
    (tmp_path / "out").touch()
    output = stemd_config("check", "-c", config)
    assert f"inbox {tmp_path}/in is not a folder" in output
    assert f"{tmp_path}/out is not a folder" in output


def test_check_warns_of_a_hook_whose_program_is_not_there(config):
    config.write_text(config.read_text() + "[rule.hook]\ndelivered = ['true']\n")
    assert "its hook" not in stemd_config("check", "-c", config)
    config.write_text(config.read_text().replace("'true'", "'no-such-program'"))
    assert "its hook no-such-program is not there" in stemd_config("check", "-c", config)


def test_check_says_every_mistake(config):
    config.write_text(config.read_text() + "shfts = 3\nformat = 'fla'\n")
    with pytest.raises(ConfigError) as caught:
        stemd_config("check", "-c", config)
    assert len(caught.value.problems) == 2


def test_show_prints_a_configuration_that_loads(config, tmp_path):
    shown = tmp_path / "shown.toml"
    shown.write_text(stemd_config("show", "-c", config))
    assert load(shown).rules == load(config).rules
    assert load(shown).daemon == load(config).daemon


def test_presets_print_their_keys_as_toml():
    output = stemd_config("presets")
    blocks = [tomllib.loads(block.partition("\n")[2]) for block in output.strip().split("\n\n")]
    assert len(blocks) == 6
    assert {"model": "htdemucs", "shifts": 2, "overlap": 0.25, "format": "wav"} in blocks


# -- the example


def test_the_example_works_as_it_stands():
    settings, remarks = read(EXAMPLE).settings, read(EXAMPLE).remarks
    assert not remarks
    rule = settings.rules[0]
    assert (rule.inbox, rule.outbox) == (EXAMPLE.parent / "inbox", EXAMPLE.parent / "outbox")
    assert rule.model == "demo"


def test_the_example_has_every_key_with_its_default(tmp_path):
    """Each comment of the form `# key = value` is made a key; the result loads and changes nothing."""
    text = re.sub(r"^# (\w+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    table = tomllib.loads(text)
    tables = [
        (table["daemon"], Daemon),
        (table["schedule"], Schedule),
        (table["resources"], Resources),
        (table["notify"], Notify),
        (table["rule"][0], Rule),
        (table["rule"][0]["quality"], Thresholds),
        (table["rule"][0]["hook"], Hook),
    ]
    for given, kind in tables:
        assert set(given) == {field.name for field in fields(kind)} - ({"settle", "ready"} if kind is Rule else set())
    assert table["defaults"] == {"settle": 5, "ready": "settle"}

    for example in ("settle", "segment", "mp3_quality", "delivered", "command", "webhook"):
        text = re.sub(rf"^{example} = .*$", "", text, flags=re.MULTILINE)
    path = tmp_path / "config.toml"
    path.write_text(text)
    plain = tmp_path / "plain.toml"
    plain.write_text(EXAMPLE.read_text())
    uncommented, example = load(path), load(plain)
    assert uncommented.rules == example.rules
    assert uncommented.daemon == example.daemon
    assert (uncommented.schedule, uncommented.resources) == (example.schedule, example.resources)
    assert uncommented.notify == example.notify
