"""What a bag of models consists of, as its YAML file says. Reads that file; loads no weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from stemd.errors import StemdError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bag:
    """The signatures of its members, and what else it gives.

    weights: one row a member, one column a source. segment: seconds.
    """

    signatures: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...] | None = None
    segment: float | None = None


class _Loader(yaml.SafeLoader):
    """Knows no aliases: no bag needs them, and through them a few lines unfold to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Read the next part of the file."""
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it has an alias (*name)")
        return super().compose_node(parent, index)


def read(file: Path) -> Bag:
    """Read a bag's YAML file. Errors: StemdError "model-damaged"."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe one
        weights, segment = content.get("weights"), content.get("segment")
        return Bag(
            _signatures(content["models"]),
            tuple(tuple(float(weight) for weight in row) for row in weights) if weights else None,
            float(segment) if segment else None,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise StemdError(
            "model-damaged", f"{file} is not a bag of models: {reason}", "restore the file or remove it from the folder"
        ) from error


def _signatures(models: Any) -> tuple[str, ...]:
    if not isinstance(models, list) or not models or not all(isinstance(signature, str) for signature in models):
        raise ValueError("`models` must be a list of signatures, each in quotes")
    return tuple(models)
