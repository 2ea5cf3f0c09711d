"""Who plays: programs and drum kits of sound fonts (through FluidSynth) or our own synthesiser."""

import struct
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from songs import room, synth, tools
from songs.room import Sound
from songs.score import Note
from songs.seeds import Purpose

FLUID, MUSESCORE = "sf2/FluidR3_GM.sf2", "sf3/MuseScore_General_Full.sf3"
OPL, TIM, CSOUND = "sf2/OPL-3_FM_128M.sf2", "sf2/TimGM6mb.sf2", "sf2/sf_GMbank.sf2"
ZEPPELIN, PEARL = "sf2/Red_Zeppelin_4_LV2.sf2", "sf2/Black_Pearl_4_LV2.sf2"
OWN = "synth"
DRUM_CHANNEL = 9

# General MIDI programs that can carry a part; choirs and voices are left out, as they would be
# neither `vocals` nor clearly `other`.
BASSES = (*range(32, 40), *range(32, 40), 43, 58, 87)
OTHERS = (
    *(0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23),
    *(24, 25, 26, 27, 28, 29, 30, 31, 24, 25, 26, 27, 29, 30, 40, 41, 42, 44, 45, 46, 48, 49),
    *(50, 51, 56, 57, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75),
    *(78, 79, 80, 81, 82, 83, 84, 86, 88, 89, 90, 92, 93, 94, 95, 96, 98, 99, 100),
    *(104, 105, 106, 107, 108, 109, 110, 111),
)
FLUID_KITS = (*range(17), 24, 25, 32, 33, 40, 48)


@dataclass(frozen=True)
class Instrument:
    """A preset of a sound font, or of our synthesiser (`font` is `synth`, `program` its seed)."""

    font: str
    program: int

    def as_json(self) -> dict[str, object]:
        """Return the instrument for song.json."""
        return asdict(self)


def draw_kit(dice: np.random.Generator, purpose: Purpose) -> Instrument:
    """Draw a drum kit of the purpose's palette."""
    if purpose is Purpose.TRAINING:
        font = str(dice.choice([FLUID, MUSESCORE, OPL, ZEPPELIN, OWN], p=[0.3, 0.15, 0.08, 0.17, 0.3]))
        kits = {FLUID: FLUID_KITS, MUSESCORE: (*FLUID_KITS, 56)}
        return Instrument(font, own_or(dice, font, kits.get(font, (0,)), low=0))
    font = str(dice.choice([TIM, CSOUND, PEARL], p=[0.4, 0.3, 0.3]))
    kits = {TIM: (0, 8, 16, 24, 25, 32, 40), CSOUND: (0, 8, 16, 24, 25, 32, 40)}
    return Instrument(font, int(dice.choice(kits.get(font, (0,)))))


def draw_bass(dice: np.random.Generator, purpose: Purpose) -> Instrument:
    """Draw a bass of the purpose's palette."""
    return draw_instrument(dice, purpose, BASSES)


def draw_other(dice: np.random.Generator, purpose: Purpose) -> Instrument:
    """Draw an instrument of the accompaniment of the purpose's palette."""
    return draw_instrument(dice, purpose, OTHERS)


def draw_instrument(dice: np.random.Generator, purpose: Purpose, programs: tuple[int, ...]) -> Instrument:
    """Draw a pitched instrument among these General MIDI programs."""
    if purpose is Purpose.TRAINING:
        font = str(dice.choice([FLUID, MUSESCORE, OPL, OWN], p=[0.4, 0.25, 0.1, 0.25]))
    else:
        font = str(dice.choice([TIM, CSOUND]))
    return Instrument(font, own_or(dice, font, programs, low=0))


def own_or(dice: np.random.Generator, font: str, programs: tuple[int, ...], low: int) -> int:
    """Return a seed for our own synthesiser, else one of a font's programs."""
    return int(dice.integers(low, 10_000)) if font == OWN else int(dice.choice(programs))


def play(instrument: Instrument, notes: tuple[Note, ...], frames: int, *, drums: bool) -> Sound:
    """Render notes, (2, frames); silence where there are none."""
    if not notes:
        return np.zeros((2, frames))
    if instrument.font == OWN:
        return (synth.drums if drums else synth.tones)(instrument.program, notes, frames)
    with tempfile.TemporaryDirectory(prefix="song-") as folder:
        score, wav = Path(folder, "score.mid"), Path(folder, "played.wav")
        melodic = not drums or instrument.font in {ZEPPELIN, PEARL}
        channel = 0 if melodic else DRUM_CHANNEL
        score.write_bytes(midi(notes, channel, instrument.program))
        options = ["-q", "-n", "-i", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(room.RATE)]
        font = str(tools.font(instrument.font))
        dynamic = ["-o", "synth.dynamic-sample-loading=1"]
        target = ["-O", "float", "-T", "wav", "-F", str(wav)]
        tools.call(["fluidsynth", *options, *dynamic, *target, font, str(score)])
        sound, _ = soundfile.read(wav, dtype="float64", always_2d=True)
    return np.asarray(np.pad(sound.T[:, :frames], ((0, 0), (0, max(frames - len(sound), 0)))))


def midi(notes: tuple[Note, ...], channel: int, program: int) -> bytes:
    """Return a standard MIDI file of one track, one tick a millisecond."""
    events = [(0, bytes([0xC0 | channel, program]))]
    for note in notes:
        on, off = round(note.start * 1000), round((note.start + note.length) * 1000)
        events.append((on, bytes([0x90 | channel, note.pitch, note.velocity])))
        events.append((max(off, on + 1), bytes([0x80 | channel, note.pitch, 0])))
    events.sort()
    track, now = bytearray(b"\x00\xff\x51\x03\x07\xa1\x20"), 0
    for at, message in events:
        track += variable_length(at - now) + message
        now = at
    track += b"\x8f\x50\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 500)
    return header + b"MTrk" + struct.pack(">I", len(track)) + bytes(track)


def variable_length(number: int) -> bytes:
    """Return a MIDI variable-length quantity: seven bits a byte, the highest first."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))
