"""The daemon's own folder: what others on the machine see of it."""

import os

import pytest

from stemd.service.folders import make_state


@pytest.fixture
def state(tmp_path):
    before = os.umask(0o022)
    yield tmp_path / "some/where/state"
    os.umask(before)


def test_only_its_user_and_group_can_enter_a_new_state_folder(state):
    make_state(state)
    assert state.stat().st_mode & 0o777 == 0o750


def test_the_rights_of_a_state_folder_that_exists_are_left_as_they_are(state):
    state.mkdir(0o755, parents=True)
    make_state(state)
    assert state.stat().st_mode & 0o777 == 0o755
    assert (state / "work").is_dir()
