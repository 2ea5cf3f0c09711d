"""RETIRE on real folders: a source is archived once, and an inbox that is away is waited for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from stemd.errors import EnvironmentFault
from stemd.files.presence import check_present, remember_folder
from stemd.inbox import stat_of
from stemd.model import Finished, Stage
from stemd.stages import retire, take
from stemd.stages.work import Work


@pytest.fixture
def inbox(studio) -> Path:
    return studio.root / "in"


def saved(inbox: Path, name: str = "song.wav", content: bytes = b"sound") -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def taken(studio, source: Path, job=None, **keys) -> Work:
    """The job of a source, after TAKE has read it."""
    name = os.fsencode(source.relative_to(studio.root / "in"))
    facts = {"stat": stat_of(source.lstat()), "sha256": "", **(job or {})}
    outcome = take.run(studio.work(name=name, job=facts, **keys))
    assert isinstance(outcome, Finished)
    return studio.work(name=name, job=facts | {"stage": Stage.RETIRE, "sha256": outcome.sha256}, **keys)


def test_a_source_is_archived_with_its_folder(studio, inbox):
    source = saved(inbox, "album/01.wav")
    outcome = retire.run(taken(studio, source))
    assert outcome.path == os.fsencode(inbox / "_done/album/01.wav")
    assert not source.exists()


def test_a_source_that_was_taken_away_is_dealt_with(studio, inbox):
    source = saved(inbox)
    work = taken(studio, source)
    source.unlink()
    assert "no longer the file" in retire.run(work).note


@pytest.mark.parametrize("failing", [False, True])
def test_an_inbox_that_is_not_mounted_is_waited_for(studio, inbox, failing):
    facts = {"code": "damaged", "reason": "it is damaged", "hint": "mend it"} if failing else {}
    work = taken(studio, saved(inbox), facts)
    away = inbox.rename(studio.root / "elsewhere")
    inbox.mkdir()  # what is seen of a mount point while nothing is mounted
    (inbox / "_review/other").mkdir(parents=True)
    (inbox / "_review/other/vocals.wav").write_bytes(b"a copy that was published meanwhile")
    with pytest.raises(EnvironmentFault) as caught:
        retire.run(work)
    assert caught.value.code == "inbox-offline"
    assert not (inbox / "_done").exists()
    shutil.rmtree(inbox)
    with pytest.raises(EnvironmentFault) as caught:
        retire.run(work)
    assert caught.value.code == "inbox-missing"
    away.rename(inbox)
    outcome = retire.run(work)
    assert outcome.path == os.fsencode(inbox / ("_failed" if failing else "_done") / "song.wav")


def test_an_inbox_that_was_replaced_and_is_in_use_is_not_waited_for(studio, inbox):
    work = taken(studio, saved(inbox))
    shutil.rmtree(inbox)
    saved(inbox, "another.wav")
    assert "no longer the file" in retire.run(work).note


def test_what_is_noted_of_a_folder_outlasts_what_happens_in_it(tmp_path):
    folder, note = tmp_path / "in", tmp_path / "note"
    folder.mkdir()
    remember_folder(note, folder)
    saved(folder, "a.wav").unlink()
    check_present(note, folder, but=folder / "_review")
    (tmp_path / "damaged").write_text("{")
    check_present(tmp_path / "damaged", folder, but=folder / "_review")
