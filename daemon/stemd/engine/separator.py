"""The engine as a library: load a model once, separate any number of recordings of any length."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from stemd.engine import faults, memory, source, stems, stream, views
from stemd.engine import models as repository
from stemd.engine import precision as verdicts
from stemd.engine.network import Network, draws
from stemd.engine.options import Options, check, pick_device
from stemd.engine.outputs import stem_files
from stemd.engine.separation import Progress, Separation, Task
from stemd.errors import StemdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from stemd.engine.separation import Write
    from stemd.wav import Block


@dataclass(frozen=True, slots=True)
class Separated:
    """What a separation gave.

    files: stem -> file name in the folder. frames: per channel. precision: "float32", "float16" or "bfloat16", the one
    used. segment, seconds: in seconds. x_realtime: seconds of audio per second. peak_ram_bytes: highest resident memory
    of this process; peak_vram_bytes: highest memory reserved on the card. reruns_float32: segments computed once more
    for a not-a-number. silent_segments: segments of digital silence that were not computed.
    """

    files: dict[str, str]
    frames: int
    sample_rate: int
    device: str
    precision: str
    batch: int
    segment: float
    seconds: float
    x_realtime: float
    peak_ram_bytes: int
    peak_vram_bytes: int
    reruns_float32: int
    silent_segments: int


class Separator:
    """Separates recordings with one Demucs model, equal to demucs.api in float32, in the memory of about one segment.

    model: a name that `stemd models list` shows, an `hf://` name, or a signature. models: a folder of local models,
    looked at first. device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N". precision: "auto" takes bfloat16
    or float16 where the machine is fast at it and the model was measured to stay within -40 dB of float32, and leaves
    digital silence silent; "float32" computes everything exactly. cache: folder for that measurement; default
    ~/.cache/stemd.

    Errors: StemdError, with code and hint: "unknown-model", "model-missing", "model-damaged", "model-refused",
    "no-gpu".
    """

    def __init__(
        self,
        model: str | repository.Model = "htdemucs",
        models: Path | str | None = None,
        device: str = "auto",
        precision: str = "auto",
        cache: Path | str | None = None,
    ) -> None:
        if precision not in ("auto", "float32"):
            raise StemdError("unknown-precision", f'there is no precision "{precision}"', 'use "auto" or "float32"')
        self.asked_device = device
        self.device = pick_device(device)
        self.precision = precision
        self.model = _load(model, models or None) if isinstance(model, str) else model
        self._cache = Path(cache) if cache else None
        self._networks: dict[tuple[object, ...], Network] = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems of the model, in its order. `no_<stem>` names the rest."""
        return self.model.sources

    @property
    def sample_rate(self) -> int:
        """Hz, of the mix and of every stem."""
        return self.model.sample_rate

    @property
    def channels(self) -> int:
        """Channels of every stem."""
        return self.model.channels

    def separate(  # noqa: PLR0913 - the options of one separation, all by name and with defaults
        self,
        path_in: Path | str,
        folder_out: Path | str,
        *,
        stems: Sequence[str] | str = "all",
        shifts: int = 1,
        overlap: float = 0.25,
        segment: float | None = None,
        seed: int = 0,
        residual: str = "minus",
        batch: int = 1,
        offsets: Sequence[int] | Sequence[Sequence[int]] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        convert: bool = True,
    ) -> Separated:
        """Separate one recording into `<folder_out>/<stem>.wav`, float32, at the model's rate, as long as it is.

        path_in: WAV or RF64 at the model's sample rate is read in blocks, however long; anything else that libsndfile
        reads is converted in memory first, unless convert is False ("wrong-rate", "not-a-wav"). folder_out: made if
        missing; existing stems in it are replaced when the new ones are complete, and nothing incomplete is left
        behind. stems: names of sources, `no_<source>`, or "all". shifts: 0 for none, else how many shifted runs are
        averaged. overlap: of neighbouring segments, 0 <= overlap < 1. segment: seconds, at most the training length,
        default that. seed: draws the shifts' offsets, as `random.seed(seed)` does for stock Demucs. residual: "minus"
        makes `no_vocals` the mix minus vocals, "add" the sum of the other sources. batch: segments at a time (a GPU
        gains, a CPU does not). offsets: instead of drawing: `shifts` frames from 0 to half a second, for all members or
        one row for each. on_progress: called after every batch. should_stop: asked before every batch; True ends with
        "cancelled". Errors: StemdError, among them "unknown-stem", "segment-too-long", "wrong-rate", "out-of-memory",
        "disk-full".
        """
        options = Options(stems, shifts, overlap, segment, seed, residual, batch, offsets)
        with (
            faults.translated(self.device),
            source.opened(path_in, self.model, convert=convert) as recording,
            stem_files(Path(folder_out), self._names(options), self.sample_rate, self.channels) as write,
        ):
            return self._run(recording, write, options, on_progress, should_stop)

    def separate_array(  # noqa: PLR0913 - as `separate`
        self,
        mix: NDArray[np.float32],
        *,
        stems: Sequence[str] | str = "all",
        shifts: int = 1,
        overlap: float = 0.25,
        segment: float | None = None,
        seed: int = 0,
        residual: str = "minus",
        batch: int = 1,
        offsets: Sequence[int] | Sequence[Sequence[int]] | None = None,
        normalise: bool = True,
    ) -> dict[str, Block]:
        """Separate an array: mix (channels, frames) at the model's rate -> stem: (channels, frames), float32.

        normalise: False leaves out the whole recording's mean and deviation, as demucs.apply.apply_model does.
        The rest: as `separate`.
        """
        options = Options(stems, shifts, overlap, segment, seed, residual, batch, offsets)
        recording = source.fit_channels(source.Array(np.asarray(mix, dtype=np.float32)), self.channels, "the mix")
        blocks: dict[str, list[Block]] = {name: [] for name in self._names(options)}

        def write(new: Mapping[str, Block]) -> None:
            for name, block in new.items():
                blocks[name].append(block)

        with faults.translated(self.device):
            self._run(recording, write, options, None, None, normalise=normalise)
        empty = np.zeros((self.channels, 0), dtype=np.float32)
        return {name: np.concatenate([empty, *parts], axis=1) for name, parts in blocks.items()}

    def _names(self, options: Options) -> list[str]:
        return [stem.name for stem in stems.resolve(options.stems, self.sources, options.residual)]

    def _run(
        self,
        recording: source.Source,
        write: Write,
        options: Options,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool] | None,
        *,
        normalise: bool = True,
    ) -> Separated:
        check(options, self.model)
        begun = time.monotonic()
        memory.start(self.device)
        wanted = stems.resolve(options.stems, self.sources, options.residual)
        work = stems.work(self.model.weights, stems.computed(wanted))
        networks = {member: self._network(member, parts, options.segment) for member, parts in work.items()}
        task = Task(
            source=recording,
            level=source.measure(recording, self.sample_rate) if normalise else source.AS_IT_IS,
            networks=networks,
            lanes=self._lanes(networks, recording.frames, options),
            work=work,
            computed=stems.computed(wanted),
            weights=self.model.weights,
            stems=wanted,
            sample_rate=self.sample_rate,
            device=self.device,
            batch=options.batch,
            skip_silence=self.precision == "auto",
        )
        separation = Separation(task, write)
        with torch.inference_mode(), _tf32(allow=self.precision == "auto"):
            separation.run(on_progress or (lambda _: None), should_stop or (lambda: False))
        return self._separated(options, recording.frames, networks, separation, time.monotonic() - begun)

    def _separated(
        self, options: Options, frames: int, networks: dict[int, Network], separation: Separation, seconds: float
    ) -> Separated:
        audio = frames / self.sample_rate
        return Separated(
            files={name: f"{name}.wav" for name in self._names(options)},
            frames=frames,
            sample_rate=self.sample_rate,
            device=str(self.device),
            precision=_coarsest(networks),
            batch=options.batch,
            segment=options.segment or self.model.segment,
            seconds=seconds,
            x_realtime=audio / seconds if seconds else math.inf,
            peak_ram_bytes=memory.peak_ram(),
            peak_vram_bytes=memory.peak_vram(self.device),
            reruns_float32=separation.reruns,
            silent_segments=separation.silent,
        )

    def _network(self, member: int, parts: Sequence[int], segment: float | None) -> Network:
        """Return the member's network for those sources; kept, for the next recording is likely to need it too."""
        key = (member, tuple(parts), segment)
        if key not in self._networks:
            chosen = self.model.members[member]
            dtype = None
            if self.precision == "auto":
                dtype = verdicts.choose(chosen, segment or chosen.segment, self.device, self._cache)
            self._networks[key] = Network(chosen.network, parts, segment, self.device, dtype)
        return self._networks[key]

    def _lanes(self, networks: dict[int, Network], frames: int, options: Options) -> list[stream.Lane]:
        every = [views.frames(m.network, options.segment) for m in self.model.members]
        strides = [stream.stride_of(segment, options.overlap) for segment in every]
        rows = self._offsets(strides, frames, options)
        starts = [
            (member, offset - int(0.5 * self.sample_rate) if options.shifts else 0)
            for member in networks
            for offset in (rows[member] if options.shifts else [0])
        ]
        return [
            stream.Lane(index, member, start, every[member], strides[member], networks[member].window)
            for index, (member, start) in enumerate(starts)
        ]

    def _offsets(self, strides: Sequence[int], frames: int, options: Options) -> list[list[int]]:
        given = options.given_offsets(len(strides))
        if given is not None:
            return given
        facts = [
            (self.sample_rate, stride, draws(m.network)) for stride, m in zip(strides, self.model.members, strict=True)
        ]
        return stream.draw_offsets(options.seed, facts, frames, options.shifts)


def _load(name: str, folder: Path | str | None) -> repository.Model:
    with faults.translated(torch.device("cpu")):
        return repository.load(name, folder)


def _coarsest(networks: dict[int, Network]) -> str:
    used = {network.precision for network in networks.values()}
    return next(name for name in ("bfloat16", "float16", "float32") if name in used)


@contextmanager
def _tf32(*, allow: bool) -> Iterator[None]:
    """Let what stays float32 on a GPU use TF32, or not: exact means exact. Put back afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = allow, allow
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
