"""Names are legal everywhere, and no two tracks ever become one."""

from __future__ import annotations

import os

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from stemd.config.names import FIELDS as KNOWN
from stemd.config.names import mistakes
from stemd.files import names

LIMITS = st.integers(40, 255)
TEXT = st.one_of(
    st.text(max_size=300),
    st.binary(max_size=300).map(os.fsdecode),
    st.sampled_from(["CON", "nul.wav", "com1.tar.gz", "...", " ", "..", ".stemd-7", "a" * 400 + ".flac", "é" * 200]),
).filter(lambda name: "\0" not in name and "/" not in name)
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


@given(TEXT, LIMITS)
@example("CON .txt", 255)
@example("con." + "x" * 251, 255)
@example("a." + "b" * 15 + " ", 255)
def test_a_legal_name_is_legal_everywhere_and_stays_so(name: str, longest: int) -> None:
    legal = names.legal(name, longest)
    assert legal
    assert len(os.fsencode(legal)) <= longest
    assert not set(legal) & set('<>:"/\\|?*')
    assert all(ord(character) >= 32 and ord(character) != 127 for character in legal)
    assert legal[-1] not in " ."
    assert legal[0] not in " ."
    assert legal.split(".")[0].rstrip().lower() not in DEVICES
    assert names.legal(legal, longest) == legal


@pytest.mark.parametrize(
    "name, legal",
    [
        ("Song", "Song"),
        ("AC/DC: Live?", "AC_DC_ Live_"),
        ("Mr.", "Mr"),
        ("...And Justice", "_..And Justice"),
        ("nul", "nul_"),
        ("Aux.wav", "Aux_.wav"),
        ("..", "_"),
        ("", "_"),
        ("tab\there", "tab_here"),
        ("Ünïcode, ok", "Ünïcode, ok"),
        (os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe9")),
    ],
)
def test_legal(name: str, legal: str) -> None:
    assert names.legal(name) == legal


def test_a_cut_keeps_the_extension_and_whole_characters() -> None:
    legal = names.legal("é" * 200 + ".flac")
    assert legal.endswith("é.flac")
    assert len(legal.encode()) in {254, 255}
    assert names.cut("ae\u0301", 3) == "a"
    assert names.cut("👨\u200d👩", 10) == "👨"[: names.cut("👨\u200d👩", 10).count("👨")]


@given(st.lists(TEXT, min_size=2, max_size=12), st.booleans(), LIMITS)
@example(["Song", "song", "SONG", "song (2)"], True, 255)
@example(["e\u0301", "é", "É"], False, 255)
@example(["a" * 300, "a" * 299 + "b"], False, 255)
def test_no_two_tracks_become_one(tracks: list[str], folder: bool, longest: int) -> None:
    taken: set[str] = set()
    for track in tracks:
        name = names.legal(track, longest)
        number = names.free([name], taken.__contains__, folder=folder, longest=longest)
        final = names.numbered(name, number, folder=folder, longest=longest)
        assert names.fold(final) not in taken
        assert len(os.fsencode(final)) <= longest
        taken.add(names.fold(final))


@pytest.mark.parametrize(
    "name, folder, numbered",
    [("song", True, "song (2)"), ("Vol. 1.5", True, "Vol. 1.5 (2)"), ("a.b.flac", False, "a.b (2).flac")],
)
def test_numbers_stand_before_the_extension_of_files_only(name: str, folder: bool, numbered: str) -> None:
    assert names.numbered(name, 2, folder=folder) == numbered


FIELDS = {"track": "Song", "ext": "flac", "model": "htdemucs", "rule": "karaoke", "date": "2026-11-22"}


def place(template: str, stem: str = "vocals", below: tuple[str, ...] = (), **fields: str) -> str:
    found = names.places(template, [stem], FIELDS | fields, below)[stem]
    return "/".join([*found.folders, ("[" + "/".join(found.unit) + "]") if found.unit else "", found.name])


@pytest.mark.parametrize(
    "template, below, expected",
    [
        ("{track}/{stem}.{ext}", (), "[Song]/vocals.flac"),
        ("{track}/{stem}.{ext}", ("A", "B"), "A/B/[Song]/vocals.flac"),
        ("{parent}/{track}/{stem}.{ext}", ("A", "B"), "A/B/[Song]/vocals.flac"),
        ("{rule}/{parent} - {track}/{stem}.{ext}", ("A", "B"), "karaoke/[B - Song]/vocals.flac"),
        ("{parent} - {track}/{stem}.{ext}", (), "[Song]/vocals.flac"),
        ("{track} ({stem}).{ext}", ("A",), "A//Song (vocals).flac"),
        ("{stem}/{track}.{ext}", (), "vocals//Song.flac"),
        ("{date}/{track}/{model}/{stem}", (), "2026-11-22/[Song/htdemucs]/vocals.flac"),
        ("{stem}.{ext}", (), "[Song]/vocals.flac"),
        ("../../etc/{track}.{ext}", (), "etc//Song.flac"),
    ],
)
def test_templates(template: str, below: tuple[str, ...], expected: str) -> None:
    assert place(template, below=below) == expected


def test_one_stem_needs_no_name_but_its_papers_do() -> None:
    found = names.places("{track}.{ext}", ["no_vocals"], FIELDS, (), papers=["manifest"])
    assert {stem: place.name for stem, place in found.items()} == {
        "no_vocals": "Song.flac",
        "manifest": "Song (manifest).flac",
    }


def test_a_track_cannot_lead_out_of_the_outbox() -> None:
    assert place("{track}/{stem}.{ext}", track="../../etc", below=("..", ".")) == "_/_/[_._.._etc]/vocals.flac"


STEMS = ["vocals", "no_vocals", "drums", "manifest"]


@given(TEXT, st.sampled_from(["{track}/{stem}.{ext}", "{track} ({stem}).{ext}", "{track}.{ext}", "x.{ext}"]), LIMITS)
def test_every_stem_has_its_own_place_and_keeps_its_name(track: str, template: str, longest: int) -> None:
    found = names.places(template, STEMS, FIELDS | {"track": track}, (), longest)
    paths = {names.fold("/".join([*place.folders, *place.unit, place.name])) for place in found.values()}
    assert len(paths) == len(STEMS)
    for stem, place in found.items():
        assert stem in place.name
        assert place.name.endswith(".flac")
        assert len(os.fsencode(place.name)) <= longest
    assert len({place.unit for place in found.values()}) == 1


PIECES = st.sampled_from([*(f"{{{field}}}" for field in KNOWN), "{stem}", " - ", ".", "a", "é", "{{", "}}", "{", "{x}"])
PARTS = st.lists(PIECES, min_size=1, max_size=4).map("".join)


@given(st.lists(PARTS, min_size=1, max_size=3).map("/".join), st.booleans())
def test_what_the_configuration_accepts_gives_every_stem_a_place(template: str, several: bool) -> None:
    assume(not mistakes(template, several=several))
    stems = ["vocals", "no_vocals"] if several else ["vocals"]
    found = names.places(template, stems, FIELDS, ("A", "B"), papers=["manifest"])
    assert len({(place.folders, place.unit, names.fold(place.name)) for place in found.values()}) == len(stems) + 1
