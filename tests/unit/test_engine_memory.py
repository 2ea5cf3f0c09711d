"""Resident memory of the engine: it stays where the first segments left it, and the heap is tidied where it grows."""

import pytest
import torch

from stemd.engine import memory


@pytest.fixture
def machine(monkeypatch):
    """Lets a test say how many bytes are resident, and counts what is given back."""

    class Machine:
        def __init__(self):
            self.now = self.given = 0
            self.tide = memory.Tide()

        def segments(self, *sizes):
            for self.now in sizes:
                self.tide.after_segment()

        def give_back(self):
            self.given += 1

    made = Machine()
    monkeypatch.setattr(memory, "resident", lambda: made.now)
    monkeypatch.setattr(memory, "give_back", made.give_back)
    return made


def test_memory_that_stays_is_left_alone(machine):
    machine.segments(500, 1000, 1010, *[1020, 990] * 50)
    assert machine.given == 0


def test_a_heap_that_grows_is_tidied_up_once_each_time(machine):
    machine.segments(500, 1000, 1000, 1020, 1040)
    assert machine.given == 1
    machine.segments(950, 960, 970)
    assert machine.given == 1
    machine.segments(1100)
    assert machine.given == 2


def test_what_a_segment_needs_after_that_is_usual_from_then_on(machine):
    machine.segments(1000, 1000, 1000, 1100, 1090, *[1100] * 20)
    assert machine.given == 1


@pytest.fixture
def kept():
    """Fills the heap and frees it, but for its end; gives the resident memory with the free pages in it."""
    blocks = [bytearray(b"x") * 100_000 for _ in range(640)]  # small enough for the heap, which keeps what is freed
    del blocks[:-1]  # the last one holds the heap's end where it is
    yield memory.resident()
    blocks.clear()


def test_free_memory_really_goes_back(kept):
    memory.give_back()
    assert memory.resident() < kept - (40 << 20)


def test_a_peak_holds_nothing_that_an_earlier_run_left_free(kept):
    memory.start(torch.device("cpu"))
    assert memory.peak_ram() < kept - (40 << 20)


@pytest.fixture
def card(monkeypatch):
    """A card that is not there: keeps the names of what torch.cuda is asked, in order."""
    asked = []
    for name in ("init", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: asked.append(name))
    return asked


def test_a_peak_on_a_card_begins_once_cuda_is_there_and_its_cache_is_empty(card):
    memory.start(torch.device("cuda", 0))
    assert card == ["init", "empty_cache", "reset_peak_memory_stats"]


def test_a_peak_on_the_processor_asks_no_card(card):
    memory.start(torch.device("cpu"))
    assert card == []
