"""The figures as the Markdown table of the README."""

from typing import Any

from bleed.figures import FALSE_ALARMS, LIMIT, Figure


def table(found: dict[str, Any]) -> str:
    """Give the tables: by level, by hard case, and on real separations if there were any."""
    songs = found["songs"]
    lines = [
        f"Thresholds from {songs['calibration']} songs, figures on {songs['told']} others; in brackets 90 % intervals.",
        "",
        f"| leak | ROC area | found at {FALSE_ALARMS:.0%} false alarms | level within 2 dB | bias | time overlap |",
        "|---|---|---|---|---|---|",
    ]
    for level, row in found["levels"].items():
        lines.append(
            f"| {level} dB | {_plain(row['area'], 3)} | {_share(row['recall'])} | {_share(row['within_2_db'])} "
            f"| {row['bias'][0]:+.1f} dB | {_plain(row['ranges'], 2)} |"
        )
    lines += [
        "",
        _sentence(found),
        "",
        _long(found["in_long_songs"]),
        "",
        f"| hard case | clean, over {found['border_db']:.1f} dB | clean, over {LIMIT:g} dB | leak of -20 dB found |",
        "|---|---|---|---|",
    ]
    for name, row in found["hard"].items():
        shares = [_share(row[each]) for each in ("false_alarms", "false_alarms_at_limit", "recall")]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    if "real" in found:
        lines += ["", *_real(found["real"])]
    return "\n".join(lines) + "\n"


def _sentence(found: dict[str, Any]) -> str:
    return (
        f"At -20 dB and above: level within 2 dB for {_share(found['level_within_2_db'])}, time overlap "
        f"{_plain(found['ranges'], 2)}. Clean stems over the default threshold of {LIMIT:g} dB: "
        f"{_share(found['false_alarms_at_limit'])}; over the 5 % border ({found['border_db']:.1f} dB): "
        f"{_share(found['false_alarms_at_border'])}."
    )


def _long(shares: dict[int, Figure]) -> str:
    told = ", ".join(f"{_share(share)} of those of {level} dB" for level, share in shares.items())
    return f"Leaks that fill 20 s of four minutes, over the default threshold: {told}."


def _real(real: dict[str, Any]) -> list[str]:
    text = (
        f"On {real['songs']} real separations of the embedded model, Spearman's rank correlation with the true bleed: "
        f"score {_plain(real['score'], 2)}, level {_plain(real['level'], 2)}, second look {_plain(real['second'], 2)}, "
        f"the higher of both looks {_plain(real['both'], 2)}, RMS-envelope correlation {_plain(real['envelope'], 2)}."
    )
    return [text]


def _share(figure: Figure) -> str:
    if figure[0] != figure[0]:
        return ""
    return f"{figure[0]:.0%} ({figure[1]:.0%} to {figure[2]:.0%})"


def _plain(figure: Figure, digits: int) -> str:
    if figure[0] != figure[0]:
        return ""
    return f"{figure[0]:.{digits}f} ({figure[1]:.{digits}f} to {figure[2]:.{digits}f})"
