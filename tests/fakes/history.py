"""Writes a ledger's history at chosen moments, through the functions that the daemon uses."""

from dataclasses import dataclass

from stemd import flow
from stemd.ledger import Ledger, jobs
from stemd.model import (
    Arrival,
    Artifact,
    Failed,
    Finished,
    Hearing,
    Held,
    Job,
    Measurement,
    Outcome,
    Retry,
    Stat,
)

COST = Measurement("htdemucs", "cuda:0", "auto", 4, 7.8, 2_000_000_000, 3_000_000_000, 0.05)
SMALL = Measurement("htdemucs", "cuda:0", "auto", 1, 3.9, 2_000_000_000, 1_000_000_000, 0.1)


@dataclass
class History:
    """ledger: open for writing. now: Unix time; every outcome takes `pace` seconds."""

    ledger: Ledger
    now: float
    pace: float = 10.0

    def arrive(self, name: bytes, rule: str = "karaoke") -> Job:
        arrival = Arrival(rule, b"/in/" + name, Stat(1, 2, 3))
        return jobs.admit(self.ledger, [(arrival, name)], self.now)[0]

    def step(self, job: Job, outcome: Outcome) -> Job:
        """Run the job's stage to an outcome."""
        job = jobs.claim(self.ledger, job, self.now)
        self.now += self.pace
        return jobs.apply(self.ledger, job, flow.after(job, outcome), self.now)

    def normalised(self, name: bytes, seconds: float = 180.0) -> Job:
        job = self.step(self.arrive(name), Finished(sha256=name.hex(), recipe="r"))
        return self.step(job, Finished(seconds=seconds))

    def checked(self, name: bytes, score: float | None = -32.0, cost: Measurement = COST, flag: str = "") -> Job:
        job = self.step(self.normalised(name), Finished(key="k", measurement=cost))
        hearing = Hearing(score, score, 1 if flag else 0)
        return self.step(job, Held((flag,), hearing=hearing) if flag else Finished(hearing=hearing))

    def done(self, name: bytes, **keys) -> Job:
        files = (Artifact(b"/out/" + name + b"/vocals.wav", "ab", 30_000_000),)
        return self.step(self.step(self.checked(name, **keys), Finished(artifacts=files)), Finished())

    def to_review(self, name: bytes, flag: str = "vocal audible in no_vocals at 0:05 to 0:06, about -14 dB") -> Job:
        return self.step(self.checked(name, score=-14.2, flag=flag), Finished())

    def smaller(self, name: bytes) -> Job:
        """Done after memory ran out twice."""
        job = self.normalised(name)
        for _ in range(2):
            job = self.step(job, Retry(0.0, "memory ran out", counts=False, code="out-of-memory"))
        job = self.step(job, Finished(key="k", measurement=SMALL))
        job = self.step(job, Finished(hearing=Hearing(-28.0, -28.0, 0)))
        return self.step(self.step(job, Finished()), Finished())

    def failed(self, name: bytes) -> Job:
        fault = Failed("no-audio", f"{name.decode(errors='replace')} holds no audio", "export it again")
        return self.step(self.step(self.arrive(name), fault), Finished())

    def not_again(self, job: Job) -> Job:
        """A delivery asked for once more that fails."""
        again = jobs.apply(self.ledger, job, flow.redelivered("ann"), self.now)
        return self.step(again, Failed("encode", "1 Hz is refused", "choose another sample_rate"))

    def stuck(self, name: bytes, code: str = "outbox-full") -> Job:
        full = Retry(30.0, "the outbox /out is full", counts=False, code=code, hint="free space; it goes on by itself")
        return self.step(self.checked(name), full)
