"""What is known of models: asked once, and again when a file of the models folder is another."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stemd.children.cards import Cards


@dataclass
class House:
    """A state folder, a folder of models, and an engine that answers with what a weight file holds."""

    root: Path
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.models.mkdir()
        self.weights.write_text("one")

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def weights(self) -> Path:
        return self.models / "mine.th"

    def cards(self) -> Cards:
        return Cards(self.root / "state", str(self.models), self.ask)

    def ask(self, model: str) -> dict[str, Any]:
        self.asked.append(model)
        return {
            "digest": self.weights.read_text(), "sources": ["vocals"], "sample_rate": 44100, "channels": 2,
            "segment": 1.0, "needs": {"vocals": [0]}, "family": "htdemucs", "parameters": 1, "members": [{}],
        }  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_model_is_asked_for_once_after_a_restart_too(house: House) -> None:
    cards = house.cards()
    assert cards.describe("mine") == cards.describe("mine") == cards.known("mine")
    assert house.cards().known("mine") == house.cards().describe("mine") == cards.known("mine")
    assert house.asked == ["mine"]


def test_a_file_written_in_place_is_noticed_while_the_daemon_runs_and_after_a_restart(house: House) -> None:
    cards = house.cards()
    assert cards.describe("mine").digest == "one"
    before = house.models.stat().st_mtime_ns
    house.weights.write_text("another")
    assert house.models.stat().st_mtime_ns == before
    assert house.cards().known("mine") is None
    assert cards.describe("mine").digest == "another"
    assert cards.known("mine") == house.cards().known("mine") == cards.describe("mine")
    assert house.asked == ["mine", "mine"]


def test_a_file_that_is_replaced_and_a_bag_that_is_edited_are_noticed(house: House) -> None:
    cards = house.cards()
    cards.describe("mine")
    (house.root / "new").write_text("two")
    (house.root / "new").replace(house.weights)
    assert cards.describe("mine").digest == "two"
    (house.models / "mine.yaml").write_text("models: ['mine']\n")
    cards.describe("mine")
    (house.models / "notes.txt").write_text("no model")
    cards.describe("mine")
    assert len(house.asked) == 3


def test_what_no_look_at_the_files_tells_is_asked_for_again_once_forgotten(house: House) -> None:
    cards, before = house.cards(), house.weights.stat()
    cards.describe("mine")
    house.weights.write_text("two")
    os.utime(house.weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cards.describe("mine").digest == "one"
    cards.forget("mine")
    assert cards.known("mine") is None
    assert cards.describe("mine").digest == "two"
