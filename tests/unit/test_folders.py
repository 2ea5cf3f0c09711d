"""The daemon's own folders: what others on the machine see of them."""

import os

import pytest

from stemd.config.load import load
from stemd.service.folders import prepare

TEXT = """
[daemon]
state_dir = "some/where/state"

[[rule]]
name = "songs"
inbox = "in"
outbox = "out"
"""


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "config.toml").write_text(TEXT)
    before = os.umask(0o022)
    yield load(tmp_path / "config.toml")
    os.umask(before)


def test_only_its_user_and_group_can_enter_a_new_state_folder(settings):
    prepare(settings)
    assert settings.daemon.state_dir.stat().st_mode & 0o777 == 0o750


def test_the_rights_of_a_state_folder_that_exists_are_left_as_they_are(settings):
    settings.daemon.state_dir.mkdir(0o755, parents=True)
    prepare(settings)
    assert settings.daemon.state_dir.stat().st_mode & 0o777 == 0o755
    assert (settings.daemon.state_dir / "work").is_dir()
