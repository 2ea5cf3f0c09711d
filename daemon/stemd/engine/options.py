"""What may be asked of a separation, and on which device. Refuses what is out of range; computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stemd.engine.models import Model


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `Separator.separate`, which describes them.

    offsets: None to draw them, else frames for each shift: one row for all members, or a row a member.
    """

    stems: Sequence[str] | str
    shifts: int
    overlap: float
    segment: float | None
    seed: int
    residual: str
    batch: int
    offsets: Sequence[int] | Sequence[Sequence[int]] | None

    def given_offsets(self, members: int) -> list[list[int]] | None:
        """Return the given offsets, a row a member; None where they are to be drawn."""
        if self.offsets is None:
            return None
        rows = [list(row) if isinstance(row, (list, tuple)) else None for row in self.offsets]
        if rows and rows[0] is not None:
            return [[int(offset) for offset in row or ()] for row in rows]
        return [[int(str(offset)) for offset in self.offsets] for _ in range(members)]


def check(options: Options, model: Model) -> None:
    """Refuse what is out of range. Errors: StemdError "segment-too-long", "out-of-range".

    A segment beyond the training length would be no better, and a transformer cannot take it.
    """
    if options.segment is not None and options.segment > model.segment:
        trained = f"{model.segment:g} s that {model.name} was trained on"
        raise StemdError(
            "segment-too-long",
            f"a segment of {options.segment:g} s is longer than the {trained}",
            f"use {model.segment:g} or less, or leave segment out",
        )
    furthest = int(0.5 * model.sample_rate)
    rows = options.given_offsets(len(model.members)) if options.shifts else []
    ranges = {
        "segment": options.segment is None or options.segment * model.sample_rate >= 1,
        "overlap": 0 <= options.overlap < 1,
        "shifts": options.shifts >= 0,
        "batch": options.batch >= 1,
        "offsets": not rows
        or (
            len(rows) == len(model.members)
            and all(len(row) == options.shifts and all(0 <= offset <= furthest for offset in row) for row in rows)
        ),
    }
    for name, fine in ranges.items():
        if not fine:
            hint = f"0 <= overlap < 1, shifts >= 0, batch >= 1, as many offsets as shifts, each 0 to {furthest}"
            raise StemdError("out-of-range", f"{name} {getattr(options, name)} is out of range", hint)


def pick_device(name: str) -> torch.device:
    """Return the torch device for "auto", "cpu", "cuda" or "cuda:N". Errors: StemdError "no-gpu", "unknown-device"."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if name not in ("auto", "cuda") and not (name.startswith("cuda:") and name[5:].isdigit()):
        raise StemdError("unknown-device", f'there is no device "{name}"', "use auto, cpu, cuda or cuda:N")
    index = int(name[5:]) if name.startswith("cuda:") else 0
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise StemdError(
            "no-gpu", f"{name} was asked for, and torch sees {count} GPUs", "use cpu, or see `stemd doctor`"
        )
    return torch.device("cuda", index)
