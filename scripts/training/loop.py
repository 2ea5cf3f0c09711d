"""The training loop: one process a core, gradients averaged, a checkpoint every few minutes.

Single-threaded processes lose little when other programs want a core for a moment; a pool of
threads would wait for its slowest member at every operation.
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn

from training import crops
from training.crops import Changes
from training.network import RATE, SOURCES, Average, Shape
from training.optimiser import Optimiser


@dataclass(frozen=True)
class Course:
    """A course of training. It ends after `steps` or `minutes`, whichever comes first; the rate follows.

    `start` is another course's checkpoint, whose weights it begins with. `size` is crops a step and worker; on a GPU
    (`device` "cuda") one worker with many crops is best.
    """

    songs: Path
    checkpoint: Path
    start: Path | None = None
    seed: int = 0
    steps: int = 1_000_000
    minutes: float = math.inf
    size: int = 1
    workers: int = 2
    device: str = "cpu"
    rate: float = 5e-3
    warm_up: int = 40
    average: float = 0.995
    save_every: float = 4.0
    shape: Shape = field(default_factory=Shape)
    changes: Changes = field(default_factory=Changes)


@dataclass
class Progress:
    """Where a course stands: steps done, minutes trained, and a smoothed loss."""

    step: int = 0
    minutes: float = 0.0
    loss: float = math.nan

    def part(self, course: Course) -> float:
        """Return how much of the course is done, 0 to 1."""
        return min(max(self.step / course.steps, self.minutes / course.minutes), 1.0)


def rate(course: Course, progress: Progress) -> float:
    """Return Muon's learning rate: a linear start, then half a cosine down to nothing at the course's end."""
    start = min((progress.step + 1) / course.warm_up, 1.0)
    return course.rate * start * 0.5 * (1 + math.cos(math.pi * progress.part(course)))


def loss_of(estimate: Tensor, stems: Tensor) -> Tensor:
    """Return the loss of (batch, 4, 2, frames) estimates, in units of the mixture's power.

    Squared error of every stem, vocals weighing eight times the others, since vocals and what remains
    without them are what the figures are about; and of the sum. Not an amplitude (mean absolute or RMS
    error of each crop): these are least when what is likely not there is left out, so that a network
    that knows little kept its vocals 1 to 12 dB too quiet on five songs. Squared error asks for the expected vocals.
    """
    apart = (estimate - stems).square().mean(dim=(0, 2, 3))
    weights = apart.new_tensor([8.0 if source == "vocals" else 1.0 for source in SOURCES])
    whole = (estimate.sum(dim=1) - stems.sum(dim=1)).square().mean()
    return (apart * weights).sum() + 0.5 * whole


def train(course: Course, say: Callable[[str], None]) -> Progress:
    """Train from the checkpoint, else from `start`, else from nothing, to the end of the course; return where it ended.

    Raises OSError and ValueError if one of them cannot be read or does not fit the network.
    """
    course.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if course.checkpoint.exists():
        check(course.checkpoint, course.shape.build(), "network", whole=True)
    elif course.start:
        check(course.start, course.shape.build(), "average", whole=False)
    if course.workers == 1:
        work(0, course, None, say)
    else:
        with tempfile.TemporaryDirectory(prefix="training-") as folder:
            spawn(work, (course, f"{folder}/meet", say), nprocs=course.workers)
    return Progress(**load(course.checkpoint)["progress"])


def work(worker: int, course: Course, meet: str | None, say: Callable[[str], None]) -> None:
    """Train as one of the workers; the first one keeps the average, reports and saves."""
    torch.set_num_threads(1 if meet else max(torch.get_num_threads(), 1))
    if meet:
        distributed.init_process_group("gloo", f"file://{meet}", rank=worker, world_size=course.workers)
    torch.manual_seed(course.seed)
    network = course.shape.build().to(course.device)
    optimiser = Optimiser(network)
    average, progress = Average(network, course.average), Progress()
    if course.checkpoint.exists():
        resume(course.checkpoint, network, optimiser, average, progress)
    elif course.start:
        begin(course.start, network)
        average = Average(network, course.average)
    begun, before, saved = time.monotonic(), progress.minutes, time.monotonic()
    while progress.part(course) < 1:
        step(worker, course, network, optimiser, progress, before + (time.monotonic() - begun) / 60)
        if worker == 0:
            average.follow(network, progress.step)
            if progress.step % 20 == 0:
                say(f"step {progress.step}, {progress.minutes:.1f} min, loss {progress.loss:.4f}, "
                    f"rate {rate(course, progress):.2e}")  # fmt: skip
            if time.monotonic() - saved > 60 * course.save_every:
                save(course, network, optimiser, average, progress)
                saved = time.monotonic()
    if worker == 0:
        save(course, network, optimiser, average, progress)
    if meet:
        distributed.destroy_process_group()


def step(
    worker: int, course: Course, network: nn.Module, optimiser: Optimiser, progress: Progress, minutes: float
) -> None:
    """Take one step on fresh crops; all workers end it with the same weights and the same progress."""
    dice = np.random.default_rng([course.seed, worker, progress.step])
    songs = crops.songs_in(course.songs)
    stems = crops.batch(dice, songs, course.size, course.shape.seconds * RATE, course.changes).to(course.device)
    network.train()
    with torch.autocast(course.device, torch.bfloat16):
        estimate = network(stems.sum(dim=1))
    loss = loss_of(estimate.float(), stems)
    loss.backward()
    told, minutes = share(network, float(loss.detach()), minutes)
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step(rate(course, progress))
    progress.step += 1
    progress.minutes = minutes
    progress.loss = told if math.isnan(progress.loss) else 0.98 * progress.loss + 0.02 * told


def share(network: nn.Module, loss: float, minutes: float) -> tuple[float, float]:
    """Average the gradients, the loss and the clock over all workers."""
    if not distributed.is_initialized():
        return loss, minutes
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), torch.tensor([loss, minutes])])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
    return float(flat[-2]), float(flat[-1])


def save(course: Course, network: nn.Module, optimiser: Optimiser, average: Average, progress: Progress) -> None:
    """Write the checkpoint beside the old one, then put it in its place."""
    content = {
        "shape": asdict(course.shape),
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average.state,
        "progress": asdict(progress),
    }
    partial = course.checkpoint.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(course.checkpoint)


def load(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint. Raises OSError and ValueError if it cannot be read or is something else."""
    try:
        content: dict[str, Any] = torch.load(checkpoint, "cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # whatever torch's unpickler meets in a strange file
        message = f"{checkpoint} is no checkpoint; name one that scripts/train-demo-model has written"
        raise ValueError(message) from error
    return content


def begin(start: Path, network: nn.Module) -> None:
    """Take over the averaged weights of another course; what its network lacked stays as it was drawn."""
    network.load_state_dict(load(start)["average"], strict=False)


def check(checkpoint: Path, network: nn.Module, weights: str, *, whole: bool) -> None:
    """Raise ValueError if a checkpoint holds a weight that is not this network's, or, if `whole`, lacks one."""
    here = {name: value.shape for name, value in network.state_dict().items()}
    there = {name: value.shape for name, value in load(checkpoint)[weights].items()}
    strange = [name for name in there if here.get(name) != there[name]]
    lacking = [name for name in here if name not in there] if whole else []
    if strange or lacking:
        names = ", ".join([*strange, *lacking][:3])
        message = f"{checkpoint} is of another network ({names}); name another file, or the one that fits"
        raise ValueError(message)


def resume(checkpoint: Path, network: nn.Module, optimiser: Optimiser, average: Average, progress: Progress) -> None:
    """Go on where a checkpoint left off."""
    content = load(checkpoint)
    network.load_state_dict(content["network"])
    optimiser.load_state_dict(content["optimiser"])
    average.state = {name: value.to(average.state[name].device) for name, value in content["average"].items()}
    for name, value in content["progress"].items():
        setattr(progress, name, value)
