"""DELIVER with real encoders and real folders: what arrives is what was separated, once, whole, with its papers."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemd import wav
from stemd.codec import keeping, making
from stemd.errors import EnvironmentFault, StemdError, Stopping
from stemd.files import write_json
from stemd.files.presence import remember_folder
from stemd.model import Finished
from stemd.results import REPORT
from stemd.service.redelivery import make_ready
from stemd.stages import deliver
from stemd.stages.copies import INBOX_NOTE

Make = Callable[..., Path]
Tool = Callable[..., None]
Studio = Any  # conftest.Studio: a conftest cannot be imported

GAINS = {"vocals": 0.5, "drums": 0.25}


def delivered(studio: Studio, source: Path, gains: dict[str, float] = GAINS, **keys: Any) -> dict[str, Path]:
    """Run DELIVER; the files by their stem, the manifest among them."""
    outcome = deliver.run(studio.separated(source, gains, **keys))
    assert isinstance(outcome, Finished)
    found = {}
    for artifact in outcome.artifacts:
        path = Path(os.fsdecode(artifact.path))
        content = path.read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (artifact.sha256, artifact.size)
        found[path.stem] = path
    return found


def probe(path: Path) -> dict[str, Any]:
    show = ["-show_format", "-show_streams", "-of", "json"]
    return dict(
        json.loads(subprocess.run(["ffprobe", "-v", "error", *show, path], capture_output=True, check=True).stdout)
    )


def tags(path: Path) -> dict[str, str]:
    told = probe(path)
    found = {**told["streams"][0].get("tags", {}), **told["format"].get("tags", {})}
    return {key.lower(): value for key, value in found.items()}


def samples(path: Path, rate: int = 44100, channels: int = 2) -> np.ndarray:
    """As ffmpeg decodes it: (channels, frames)."""
    argv = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        path,
        "-map",
        "0:a:0",
        "-ar",
        str(rate),
        "-ac",
        str(channels),
        "-f",
        "f32le",
        "-",
    ]
    raw = subprocess.run(argv, capture_output=True, check=True).stdout
    return np.frombuffer(raw, "<f4").reshape(-1, channels).T


@pytest.fixture
def source(made: Make) -> Path:
    return made("a.wav", "-c:a", "pcm_f32le")


@pytest.mark.parametrize(
    "kind, depth, error", [("wav", 24, 2**-23), ("wav", 16, 2**-14), ("flac", 24, 2**-23), ("flac", 16, 2**-14)]
)
def test_integers_are_exact_but_for_rounding_and_dither(
    studio: Studio, source: Path, noise: np.ndarray, kind: str, depth: int, error: float
) -> None:
    files = delivered(studio, source, format=kind, bit_depth=depth)
    stream = probe(files["vocals"])["streams"][0]
    assert int(stream.get("bits_per_raw_sample") or stream["bits_per_sample"]) == depth
    for stem, gain in GAINS.items():
        found = samples(files[stem])
        assert found.shape == noise.shape
        difference = found - noise * gain
        assert np.abs(difference).max() <= error
        if depth == 16:  # triangular: 1/2 LSB of standard deviation, no trace of the signal
            assert difference.std() * 2**15 == pytest.approx(0.5, abs=0.02)
            assert abs(np.corrcoef(difference[0], noise[0])[0, 1]) < 0.02


def test_floats_are_untouched_and_sum_to_the_mix(studio: Studio, source: Path, noise: np.ndarray) -> None:
    files = delivered(studio, source, {"vocals": 2.5, "drums": -1.5}, bit_depth="float32")
    found = samples(files["vocals"]) + samples(files["drums"])
    assert np.abs(samples(files["vocals"])).max() > 1
    assert np.abs(found - noise).max() < 1e-6


@pytest.mark.parametrize("kind, codec", [("mp3", "mp3"), ("m4a", "aac"), ("opus", "opus")])
def test_lossy_formats_are_not_shifted(studio: Studio, source: Path, noise: np.ndarray, kind: str, codec: str) -> None:
    files = delivered(studio, source, format=kind, bitrate=256)
    assert probe(files["vocals"])["streams"][0]["codec_name"] == codec
    found = samples(files["vocals"])
    assert 0 <= found.shape[1] - noise.shape[1] <= (1024 if kind == "m4a" else 0)  # this ffmpeg cuts no padding there
    found = found[:, : noise.shape[1]]
    size = 2 * noise.shape[1]
    correlation = np.fft.irfft(np.fft.rfft(found[0], size) * np.conj(np.fft.rfft(noise[0], size)))
    assert int(np.argmax(correlation)) == 0
    assert np.corrcoef(found[0], noise[0])[0, 1] > 0.95


def test_mp3_takes_a_quality_instead_of_a_bitrate(studio: Studio, source: Path) -> None:
    sizes = []
    for quality in (2, 7):
        files = delivered(
            studio, source, format="mp3", mp3_quality=quality, names=f"{{track}} q{quality}/{{stem}}.{{ext}}"
        )
        sizes.append(files["vocals"].stat().st_size)
        (studio.folder / "outbox.json").unlink()
    assert sizes[0] > 1.3 * sizes[1]


@pytest.mark.parametrize("rate", [22050, 48000, 96000])
def test_stems_have_the_sources_rate_and_length_to_the_sample(
    studio: Studio, made: Make, noise: np.ndarray, rate: int
) -> None:
    file = made(f"r{rate}.flac", "-ar", str(rate))
    files = delivered(studio, file, {"vocals": 0.5}, format="flac")
    stream = probe(files["vocals"])["streams"][0]
    assert int(stream["sample_rate"]) == rate
    assert int(stream["duration_ts"]) == 3 * rate
    found, wanted = samples(files["vocals"], rate), samples(file, rate) * 0.5
    assert np.abs(found - wanted)[:, 2000:-2000].max() < 2e-3  # twice resampled, in place


@pytest.mark.parametrize("rate, flac", [(65534, 65534), (96001, 96010), (705600, 352800), (768000, 384000)])
def test_flac_takes_the_nearest_rate_that_it_has(studio: Studio, made: Make, rate: int, flac: int) -> None:
    file = made(f"short{rate}.wav", "-t", "0.5", "-ar", str(rate))
    stream = probe(delivered(studio, file, {"vocals": 0.5}, format="flac")["vocals"])["streams"][0]
    assert int(stream["sample_rate"]) == flac
    assert int(stream["duration_ts"]) == pytest.approx(flac / 2, abs=1)


def test_what_speech_recognition_wants(studio: Studio, source: Path, noise: np.ndarray) -> None:
    files = delivered(studio, source, {"vocals": 0.5}, bit_depth=16, sample_rate=16000, channels=1)
    stream = probe(files["vocals"])["streams"][0]
    assert (stream["codec_name"], stream["sample_rate"], stream["channels"]) == ("pcm_s16le", "16000", 1)
    assert int(stream["duration_ts"]) == 48000


@pytest.mark.parametrize("keys", [{"format": "stem.m4a"}, {"remux": True}])
def test_a_rule_that_has_come_to_ask_for_more_is_waited_for(studio: Studio, source: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        deliver.run(studio.separated(source, {"vocals": 0.5, "drums": 0.5}, **keys))
    assert caught.value.code == "stems-missing"
    assert not list(studio.outbox.iterdir())


def test_a_mono_source_gives_mono_stems(studio: Studio, made: Make) -> None:
    file = made("mono.flac", "-ac", "1")
    files = delivered(studio, file, {"vocals": 1.0}, format="flac", bit_depth=24)
    assert probe(files["vocals"])["streams"][0]["channels"] == 1
    assert np.abs(samples(files["vocals"], channels=1) - samples(file, channels=1)).max() < 1e-4


@pytest.mark.parametrize("clip, quieter", [("joint", 0.25), ("rescale", 0.9), ("clamp", 0.9), ("none", 0.9)])
def test_clipping_is_dealt_with_as_the_rule_says(
    studio: Studio, source: Path, noise: np.ndarray, clip: str, quieter: float
) -> None:
    loudest = float(np.abs(noise).max())
    gains = {"vocals": 3.6 / loudest, "drums": 0.9 / loudest}
    files = delivered(studio, source, gains, clip=clip)
    found = [samples(files[stem]) for stem in gains]
    for stem, peak in zip(found, (1.0, quieter), strict=True):
        assert np.abs(stem).max() == pytest.approx(peak, abs=1e-4)
    if clip in {"joint", "rescale"}:
        assert np.corrcoef(found[0][0], noise[0])[0, 1] > 0.999999
    if clip == "joint":
        assert np.abs((found[0] + found[1]) * 3.6 - noise * (gains["vocals"] + gains["drums"])).max() < 1e-4
        manifest = json.loads(files["manifest"].read_bytes())
        assert [file["gain_db"] for file in manifest["files"]] == pytest.approx([-20 * np.log10(3.6)] * 2, abs=1e-3)


def test_silence_stays_silent_under_dither(studio: Studio, source: Path) -> None:
    files = delivered(studio, source, {"vocals": 0.0}, bit_depth=16)
    assert not samples(files["vocals"]).any()


def test_the_same_again_gives_the_same_bytes(studio: Studio, source: Path) -> None:
    first = delivered(studio, source, bit_depth=16)
    (studio.folder / "outbox.json").unlink()
    deliver.drop_tree(studio.folder / "delivery")
    second = delivered(studio, source, bit_depth=16)
    assert second["vocals"].parent.name == "song (2)"
    assert first["vocals"].read_bytes() == second["vocals"].read_bytes()


@pytest.fixture
def tagged(made: Make, ffmpeg: Tool, tmp_path: Path) -> Path:
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=32x32:d=1", "-frames:v", "1", tmp_path / "cover.png")
    target = tmp_path / "tagged.mp3"
    ffmpeg(
        "-i", made("b.mp3", "-b:a", "256k"), "-i", tmp_path / "cover.png", "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v", "attached_pic", "-metadata", "title=Für Élise; a=b #1 \\ \n zwei",
        "-metadata", "artist=Ludwig", "-metadata", "track=3/12", target,
    )  # fmt: skip
    return target


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "m4a", "opus"])
def test_tags_and_cover_are_carried(studio: Studio, tagged: Path, tmp_path: Path, kind: str) -> None:
    files = delivered(studio, tagged, {"no_vocals": 0.5}, format=kind)
    found = tags(files["no_vocals"])
    assert found["title"].startswith("Für Élise; a=b #1 \\")
    assert found["title"].endswith("zwei (no_vocals)")
    assert found["artist"] == "Ludwig"
    assert found["track"].startswith("3")
    pictures = [stream for stream in probe(files["no_vocals"])["streams"] if stream["codec_type"] == "video"]
    if kind == "wav":
        assert pictures == []
        return
    assert pictures[0]["disposition"]["attached_pic"] == 1
    cover = tmp_path / "out.png"
    subprocess.run(["ffmpeg", "-v", "error", "-i", files["no_vocals"], "-map", "0:v", "-c", "copy", cover], check=True)
    assert cover.read_bytes() == (tmp_path / "cover.png").read_bytes()


@pytest.mark.parametrize("kind", ["flac", "mp3", "opus"])
def test_tags_of_any_text_stay_apart(studio: Studio, made: Make, ffmpeg: Tool, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "windows.flac"
    told = {"album": "first\r\nsecond", "artist": "C:\\Music\\", "comment": "the tag after it"}
    named = [word for key, text in told.items() for word in ("-metadata", f"{key}={text}")]
    ffmpeg("-i", made("a.flac", "-sample_fmt", "s32"), "-c", "copy", *named, source)
    found = tags(delivered(studio, source, {"vocals": 0.5}, format=kind)["vocals"])
    assert {key: found[key].rstrip() for key in told} == told


@pytest.mark.parametrize("kind", ["flac", "mp3", "m4a"])
def test_a_cover_that_nobody_can_read_stays_behind(studio: Studio, tagged: Path, tmp_path: Path, kind: str) -> None:
    content, cover = tagged.read_bytes(), (tmp_path / "cover.png").read_bytes()
    source = tmp_path / "odd.mp3"
    source.write_bytes(content.replace(cover, cover[:8] + b"\x55" * (len(cover) - 8)))
    files = delivered(studio, source, {"no_vocals": 0.5}, format=kind)
    assert [stream["codec_type"] for stream in probe(files["no_vocals"])["streams"]] == ["audio"]
    assert tags(files["no_vocals"])["artist"] == "Ludwig"


def test_without_a_title_the_tracks_name_is_it(studio: Studio, made: Make, tmp_path: Path) -> None:
    files = delivered(studio, made("bare.wav", "-map_metadata", "-1"), {"vocals": 0.5})
    assert tags(files["vocals"])["title"] == "song (vocals)"


def test_the_manifest_names_everything(studio: Studio, source: Path) -> None:
    files = delivered(studio, source, format="flac")
    manifest = json.loads(files["manifest"].read_bytes())
    assert manifest["job"] == 7
    assert manifest["source"]["name"] == "song.wav"
    assert manifest["source"]["sha256"] == "5" * 64
    assert manifest["model"] == {"name": "demo", "digest": "d1935"}
    assert manifest["recipe"]["shifts"] == 2
    assert manifest["recipe"]["segment"] is None
    assert manifest["made_with"] == {"device": "cpu", "precision": "bfloat16", "segment": 1.0, "batch": 1}
    assert {file["stem"] for file in manifest["files"]} == set(GAINS)
    for file in manifest["files"]:
        path = files["manifest"].parent / file["name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
        assert path.stat().st_size == file["size"]


def test_folders_of_the_inbox_are_kept_and_names_made_legal(studio: Studio, source: Path) -> None:
    work = studio.separated(source, GAINS)
    work = replace(work, job=replace(work.job, name=b"Live: 1999/CD1/AC\\DC?.wav"))
    deliver.run(work)
    assert (studio.outbox / "Live_ 1999" / "CD1" / "AC_DC_" / "vocals.wav").exists()


@pytest.mark.parametrize(
    "names, vocals",
    [
        ("{track}/{rule} {stem}.{ext}", "rule vocals.wav"),
        ("{track}/{track} - {stem}.{ext}", "song - vocals.wav"),
        ("{track}/stems/{stem}.{ext}", "stems/vocals.wav"),
        ("{track}/{stem}/{track}.{ext}", "vocals/song.wav"),
        ("{model}-{stem}.{ext}", "demo-vocals.wav"),
    ],
)
def test_a_tracks_own_folder_has_its_manifest_at_the_top(studio: Studio, source: Path, names: str, vocals: str) -> None:
    outcome = deliver.run(studio.separated(source, GAINS, names=names))
    assert isinstance(outcome, Finished)
    manifest = studio.outbox / "song" / "manifest.json"
    assert os.fsencode(manifest) == outcome.artifacts[-1].path
    assert json.loads(manifest.read_bytes())["files"][0]["name"] == vocals
    assert (manifest.parent / vocals).exists()
    assert [path.name for path in studio.outbox.iterdir()] == ["song"]


def test_flat_names_find_each_other_by_the_manifest(studio: Studio, source: Path) -> None:
    files = delivered(studio, source, names="{rule}/{track} [{stem}].{ext}")
    assert {path.name for path in files.values()} == {"song [vocals].wav", "song [drums].wav", "song [manifest].json"}
    manifest = json.loads(files["song [manifest]"].read_bytes())
    assert [file["name"] for file in manifest["files"]] == ["song [vocals].wav", "song [drums].wav"]


def test_names_that_are_not_utf8_are_delivered(studio: Studio, source: Path) -> None:
    work = studio.separated(source, GAINS)
    work = replace(work, job=replace(work.job, name=b"caf\xe9.wav"))
    outcome = deliver.run(work)
    assert isinstance(outcome, Finished)
    assert b"/caf\xe9/" in outcome.artifacts[0].path
    manifest = json.loads(Path(os.fsdecode(outcome.artifacts[-1].path)).read_bytes())
    assert bytes.fromhex(manifest["source"]["name_hex"]) == b"caf\xe9.wav"


def review(studio: Studio, source: Path) -> Any:
    """A job that a person should hear, and its report."""
    work = studio.separated(source, GAINS)
    (studio.folder / "quality.json").write_text('{"verdict": "flagged"}')
    (studio.folder / "report").mkdir(exist_ok=True)
    (studio.folder / "report" / "quality.png").write_bytes(b"\x89PNG picture")
    return replace(work, job=replace(work.job, reasons=("vocals at 0:12",)))


def test_what_is_to_be_heard_goes_to_the_review_folder_with_its_report(studio: Studio, source: Path) -> None:
    work = review(studio, source)
    deliver.run(work)
    names = {"vocals.wav", "drums.wav", "quality.json", "quality.png", "manifest.json"}
    assert {path.name for path in (work.rule.review / "song").iterdir()} == names
    assert list(studio.outbox.iterdir()) == []
    approved = replace(work, job=replace(work.job, approved=True))
    for _ in range(2):
        outcome = deliver.run(approved)
        assert isinstance(outcome, Finished)
        assert {path.name for path in (studio.outbox / "song").iterdir()} == names - {"quality.json", "quality.png"}
        assert list(work.rule.review.iterdir()) == []
    assert json.loads((studio.outbox / "song" / "manifest.json").read_bytes())["approved"] is True


def unmounted(studio: Studio, work: Any) -> Path:
    """Have an empty mount point in the inbox's place; where the inbox is meanwhile."""
    away = Path(work.rule.inbox.rename(studio.root / "share"))
    work.rule.inbox.mkdir()
    return away


def test_a_review_copy_in_an_inbox_that_is_not_mounted_is_taken_back_later(studio: Studio, source: Path) -> None:
    work = review(studio, source)
    remember_folder(work.root / INBOX_NOTE, work.rule.inbox)
    deliver.run(work)
    share = unmounted(studio, work)
    approved = replace(work, job=replace(work.job, approved=True))
    with pytest.raises(EnvironmentFault) as caught:
        deliver.run(approved)
    assert caught.value.code == "inbox-offline"
    assert list(work.rule.inbox.iterdir()) == []
    work.rule.inbox.rmdir()
    share.rename(work.rule.inbox)
    outcome = deliver.run(approved)
    assert isinstance(outcome, Finished)
    assert "the review copy is gone" in outcome.note
    assert list(work.rule.review.iterdir()) == []
    assert [path.name for path in studio.outbox.iterdir()] == ["song"]


def test_nothing_is_published_for_review_on_the_mount_point_of_an_inbox(studio: Studio, source: Path) -> None:
    work = review(studio, source)
    remember_folder(work.root / INBOX_NOTE, work.rule.inbox)
    unmounted(studio, work)
    with pytest.raises(EnvironmentFault) as caught:
        deliver.run(work)
    assert caught.value.code == "inbox-offline"
    assert list(work.rule.inbox.iterdir()) == []


def test_a_review_folder_that_was_removed_is_not_waited_for(studio: Studio, source: Path) -> None:
    work = review(studio, source)
    remember_folder(work.root / INBOX_NOTE, work.rule.inbox)
    deliver.run(work)
    shutil.rmtree(work.rule.review)
    outcome = deliver.run(replace(work, job=replace(work.job, approved=True)))
    assert isinstance(outcome, Finished)
    assert "the review copy is gone" in outcome.note


def test_a_review_copy_that_somebody_worked_on_stays(studio: Studio, source: Path) -> None:
    work = review(studio, source)
    deliver.run(work)
    (work.rule.review / "song" / "notes.txt").write_text("too loud")
    outcome = deliver.run(replace(work, job=replace(work.job, approved=True)))
    assert isinstance(outcome, Finished)
    assert "stays" in outcome.note
    assert (work.rule.review / "song" / "vocals.wav").exists()
    assert (studio.outbox / "song" / "vocals.wav").exists()


def test_a_missing_outbox_waits_before_anything_is_encoded(studio: Studio, source: Path) -> None:
    work = studio.separated(source, GAINS)
    studio.outbox.rmdir()
    with pytest.raises(EnvironmentFault) as caught:
        deliver.run(work)
    assert caught.value.code == "outbox-missing"
    assert not studio.outbox.exists()
    assert not (studio.folder / "delivery").exists()
    studio.outbox.mkdir()
    assert isinstance(deliver.run(work), Finished)


@pytest.fixture
def full(studio: Studio, source: Path) -> Any:
    """A job whose outbox was full once it was encoded, and is not any more."""
    work = studio.separated(source, GAINS)
    with pytest.MonkeyPatch.context() as patch:
        real = keeping.free_bytes
        patch.setattr(keeping, "free_bytes", lambda folder: 1000 if folder == studio.outbox else real(folder))
        with pytest.raises(EnvironmentFault) as caught:
            deliver.run(work)
    assert caught.value.code == "outbox-full"
    assert list(studio.outbox.iterdir()) == []
    return work


def test_what_is_encoded_outlasts_a_full_outbox(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "ask", None)  # nothing is encoded again
    assert isinstance(deliver.run(full), Finished)


def test_encoded_stems_that_went_bad_are_made_again(studio: Studio, full: Any) -> None:
    (studio.folder / "delivery" / "vocals.wav").write_bytes(b"rotten")
    with pytest.raises(StemdError) as caught:
        deliver.run(full)
    assert caught.value.code == "lost-delivery"
    assert isinstance(deliver.run(full), Finished)


def test_stopping_leaves_nothing_visible(studio: Studio, source: Path) -> None:
    work = studio.separated(source, GAINS)
    studio.stop.set()
    with pytest.raises(Stopping):
        deliver.run(work)
    assert list(studio.outbox.iterdir()) == []


def test_progress_goes_up_to_the_end(studio: Studio, source: Path) -> None:
    work = studio.separated(source, GAINS)
    studio.progress.clear()
    deliver.run(work)
    assert studio.progress == sorted(studio.progress)
    assert studio.progress[-1] == pytest.approx(1)


KILLED_WHILE_DELIVERING = """
import pickle, sys, threading
from stemd.stages import deliver
from stemd.stages.work import Work
job, rule, folder, results = pickle.loads(bytes.fromhex(sys.argv[1]))
print("ready", flush=True)
deliver.run(Work(job, rule, folder, results, None, threading.Event(), lambda *_: None))
print("delivered", flush=True)
"""


@pytest.mark.parametrize("names", ["{track}/{stem}.{ext}", "{track} ({stem}).{ext}"])
def test_killed_at_any_moment_it_delivers_once(studio: Studio, source: Path, names: str) -> None:
    work = studio.separated(source, GAINS, names=names)
    question = pickle.dumps((work.job, work.rule, work.folder, work.results)).hex()
    dice = np.random.default_rng(3)
    for attempt in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED_WHILE_DELIVERING, question], stdout=subprocess.PIPE
        ) as daemon:
            assert daemon.stdout is not None
            daemon.stdout.readline()
            time.sleep(float(dice.uniform(0, 0.35 + 0.15 * attempt)))
            daemon.send_signal(signal.SIGKILL)
        seen = [path for path in studio.outbox.iterdir() if not path.name.startswith(".")]
        for path in seen:
            assert path.is_file() or {file.name for file in path.iterdir()} == {
                "vocals.wav",
                "drums.wav",
                "manifest.json",
            }
    outcome = deliver.run(work)
    assert isinstance(outcome, Finished)
    files = [path for path in studio.outbox.rglob("*") if path.is_file()]
    assert {os.fsencode(path) for path in files} == {artifact.path for artifact in outcome.artifacts}
    assert len(files) == 3
    for file in files:
        if file.suffix == ".wav":
            with wav.Reader(file) as reader:
                assert reader.frames == 132_300
    assert not [path for path in studio.outbox.iterdir() if path.name.startswith(".stemd")]
    assert deliver.run(work) == outcome


def test_a_forgotten_job_takes_its_review_copy_along(studio: Studio, source: Path) -> None:
    work = review(studio, source)
    deliver.run(work)
    assert deliver.forget(studio.folder)
    assert list(work.rule.review.iterdir()) == []
    assert deliver.forget(studio.folder)


def test_a_lost_stem_is_named(studio: Studio, source: Path) -> None:
    work = studio.separated(source, GAINS)
    (work.results / "k1" / "drums.wav").unlink()
    with pytest.raises(StemdError) as caught:
        deliver.run(work)
    assert caught.value.code == "lost-result"


def test_a_player_gets_one_file_by_the_tracks_name(studio: Studio, source: Path) -> None:
    files = delivered(studio, source, {"no_vocals": 0.5}, format="mp3", names="{track}.{ext}")
    assert {path.name for path in files.values()} == {"song.mp3", "song (manifest).json"}


def test_a_redelivery_takes_nothing_of_the_last_delivery_for_its_own(studio: Studio) -> None:
    """The job's folder could not be put away when the job had ended."""
    job, rule = studio.work().job, studio.work().rule
    folder, kept = studio.folder / str(job.id), studio.root / "results" / job.key
    made = [folder / "outbox.json", folder / "review.json", folder / "delivery/vocals.wav"]
    for file in [*made, folder / "mix.json", kept / "vocals.wav"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"{}")
    told = {"files": {"vocals": "vocals.wav"}, "digest": "d1935", "recipe": rule.recipe.digest_with("d1935")}
    write_json(folder / REPORT, told)
    make_ready(studio.root, job, rule, ())
    assert not any(file.exists() for file in made)
    assert (folder / "mix.json").exists()
