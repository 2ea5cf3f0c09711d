"""What is known of models: asked of the engine once, kept in the state folder, asked again when the model changed."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stemd import __version__
from stemd.errors import EnvironmentFault
from stemd.files import write_json
from stemd.model import ModelCard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ASK_AGAIN: Final = 15.0  # seconds for which a model that is missing is not asked for again
_EMBEDDED: Final = Path(__file__).parents[1] / "demo"


class Cards:
    """The models' cards, by name. May be used by several threads."""

    def __init__(self, folder: Path, models: str, ask: Callable[[str], dict[str, Any]]) -> None:
        """folder: where cards are kept. models: the folder of local models, or "". ask: has the engine describe one."""
        self._folder = folder
        self._models = models
        self._ask = ask
        self._known: dict[str, ModelCard] = {}
        self._missing: dict[str, tuple[EnvironmentFault, float]] = {}
        self._guard = threading.Lock()

    def known(self, model: str) -> ModelCard | None:
        """Tell what is known of a model without asking anybody."""
        if model not in self._known and (kept := self._kept(model)) is not None:
            self._known[model] = kept
        return self._known.get(model)

    def describe(self, model: str) -> ModelCard:
        """Tell what a model needs and gives. Raises EnvironmentFault while it is missing, and what asking raises."""
        with self._guard:
            if (card := self.known(model)) is not None:
                return card
            fault, at = self._missing.get(model, (None, -math.inf))
            if fault is not None and time.monotonic() - at < _ASK_AGAIN:
                raise fault
            try:
                return self._learn(model)
            except EnvironmentFault as missing:
                self._missing[model] = (missing, time.monotonic())
                raise

    def _learn(self, model: str) -> ModelCard:
        answer = self._ask(model)
        self._known[model] = _card(model, answer)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._file(model), {"of": self._origin(), "answer": answer})
        return self._known[model]

    def _kept(self, model: str) -> ModelCard | None:
        """Read the card in the state folder, if it is of this program and of the models as they are."""
        try:
            kept = json.loads(self._file(model).read_text())
            return _card(model, kept["answer"]) if kept["of"] == self._origin() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _file(self, model: str) -> Path:
        return self._folder / f"{model.replace('/', '_').replace(':', '_')}.json"

    def _origin(self) -> list[Any]:
        """Give what a card depends on: this program, its own model, and the folder of local models."""
        return [__version__, _changed(_EMBEDDED), self._models, _changed(Path(self._models)) if self._models else 0]


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _card(model: str, answer: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        name=model, digest=str(answer["digest"]), sources=tuple(answer["sources"]),
        sample_rate=int(answer["sample_rate"]), channels=int(answer["channels"]), segment=float(answer["segment"]),
        needs={stem: tuple(members) for stem, members in answer["needs"].items()},
        family=str(answer["family"]), parameters=int(answer["parameters"]),
        members=len(answer["members"]),
    )  # fmt: skip
