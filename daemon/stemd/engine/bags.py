"""What a bag of models consists of, as its YAML file says. Reads that file; loads no weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def read(file: Path) -> Bag:
    """Read a bag's YAML file. Errors: StemdError "model-damaged"."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        weights, segment = content.get("weights"), content.get("segment")
        return Bag(
            tuple(str(signature) for signature in content["models"]),
            tuple(tuple(float(weight) for weight in row) for row in weights) if weights else None,
            float(segment) if segment else None,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise StemdError(
            "model-damaged", f"{file} is not a bag of models: {reason}", "restore the file or remove it from the folder"
        ) from error
