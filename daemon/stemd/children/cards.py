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
_OF_MODELS: Final = frozenset({".yaml", ".th", ".safetensors"})


class Cards:
    """The models' cards, by name. May be used by several threads."""

    def __init__(self, folder: Path, models: str, ask: Callable[[str], dict[str, Any]]) -> None:
        """folder: where cards are kept. models: the folder of local models, or "". ask: has the engine describe one."""
        self._folder = folder
        self._models = models
        self._ask = ask
        self._known: dict[str, tuple[ModelCard, list[Any]]] = {}  # each with its origin
        self._missing: dict[str, tuple[EnvironmentFault, float]] = {}
        self._guard = threading.Lock()

    def known(self, model: str) -> ModelCard | None:
        """Tell what is known of a model without asking anybody."""
        if model not in self._known and (kept := self._kept(model, self._origin())) is not None:
            self._known[model] = kept
        card, _ = self._known.get(model, (None, None))
        return card

    def describe(self, model: str) -> ModelCard:
        """Tell what a model needs and gives, as its files are now.

        Raises EnvironmentFault while it is missing, and what asking raises.
        """
        with self._guard:
            origin = self._origin()
            card, of = self._known.get(model) or self._kept(model, origin) or (None, None)
            if card is not None and of == origin:
                self._known[model] = card, origin
                return card
            fault, at = self._missing.get(model, (None, -math.inf))
            if fault is not None and time.monotonic() - at < _ASK_AGAIN:
                raise fault
            try:
                return self._learn(model, origin)
            except EnvironmentFault as missing:
                self._missing[model] = (missing, time.monotonic())
                raise

    def forget(self, model: str) -> None:
        """Have the engine asked again: it has another model under that name than was known."""
        with self._guard:
            self._known.pop(model, None)
            self._file(model).unlink(missing_ok=True)

    def _learn(self, model: str, origin: list[Any]) -> ModelCard:
        answer = self._ask(model)
        card = _card(model, answer)
        self._known[model] = card, origin
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._file(model), {"of": origin, "answer": answer})
        return card

    def _kept(self, model: str, origin: list[Any]) -> tuple[ModelCard, list[Any]] | None:
        """Read the card in the state folder, if it is of this origin."""
        try:
            kept = json.loads(self._file(model).read_text())
            return (_card(model, kept["answer"]), origin) if kept["of"] == origin else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _file(self, model: str) -> Path:
        return self._folder / f"{model.replace('/', '_').replace(':', '_')}.json"

    def _origin(self) -> list[Any]:
        """Give what a card depends on: this program, its own model, and the files of local models."""
        return [__version__, _files(_EMBEDDED), self._models, _files(Path(self._models)) if self._models else []]


def _files(folder: Path) -> list[list[Any]]:
    """Name, size and time of each file of a model; none while the folder cannot be read."""
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix in _OF_MODELS)
        return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    except OSError:
        return []


def _card(model: str, answer: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        name=model, digest=str(answer["digest"]), sources=tuple(answer["sources"]),
        sample_rate=int(answer["sample_rate"]), channels=int(answer["channels"]), segment=float(answer["segment"]),
        needs={stem: tuple(members) for stem, members in answer["needs"].items()},
        family=str(answer["family"]), parameters=int(answer["parameters"]),
        members=len(answer["members"]),
    )  # fmt: skip
