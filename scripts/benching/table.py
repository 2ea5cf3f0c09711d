"""What was measured, as a table for people."""

from __future__ import annotations

from typing import Any


def of(case: str, result: dict[str, Any]) -> str:
    """Lay one case out."""
    lines = [f"\n{case}"]
    if "memory" in result:
        for name, run in result["memory"].items():
            lines.append(f"  {name:<20}{run['peak_ram_bytes'] / 1e9:>8.2f} GB{run['seconds']:>10.1f} s")
    for name, seconds in result.get("seconds", {}).items():
        fastest = min(run["seconds"] for run in result["runs"][name])
        lines.append(f"  {name:<20}{seconds:>10.1f} s   best {fastest:.1f}   {_ratio(result['ratios'].get(name))}")
    for name, figure in result.get("x_realtime", {}).items():
        lines.append(f"  {name:<20}{figure:>10.0f} x realtime, {result['share_of_peak'][name]:.1%} of the card's peak")
    return "\n".join(lines)


def _ratio(found: dict[str, Any] | None) -> str:
    if not found:
        return ""
    goal = found["goal"]
    return f"ratio {found['ratio']:.3f}" + (
        f" (goal {goal}: {'met' if found['ratio'] <= goal else 'missed'})" if goal else ""
    )
