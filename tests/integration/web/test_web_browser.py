"""The review page in headless Chromium: heard, seen, decided, by mouse, by keys, and on a phone."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from history import History

from stemd import flow
from stemd.files import digest
from stemd.ledger import jobs, open_for_asking, open_for_writing, requests
from stemd.model import Artifact, Finished, Held, Status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
PHONE = (390, 844)
TOKEN = "correct-horse-battery"
STEMD = Path(sys.executable).with_name("stemd")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    fake = pytest.importorskip("browser")
    if fake.CHROMIUM is None:
        pytest.skip("Chromium is missing (Debian: apt-get install chromium)")
    opened = fake.Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


class Page:
    """The review pages of a house."""

    def __init__(self, browser, house, token: str = "") -> None:
        self.browser, self.house = browser, house
        self._web = subprocess.Popen(
            [STEMD, "web", "--port", "0"], cwd=house.home, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"STEMD_WEB_TOKEN": token},
        )  # fmt: skip
        self.base = re.search(r"http://\S+[0-9]", self._web.stderr.readline())[0]
        browser.complaints.clear()
        browser.resize(1280, 800)

    def close(self) -> None:
        """End the web server in good order; the page leaves first, so that nothing of it is missed."""
        complaints = list(self.browser.complaints)
        self.browser.open("about:blank")
        self._web.terminate()
        status = self._web.wait(20)
        self._web.stderr.close()
        assert (complaints, status) == ([], 0)

    def review(self, job: int) -> None:
        self.browser.open(f"{self.base}/review/{job}")
        self.browser.wait("document.querySelectorAll('#stems .track').length > 0")

    @property
    def at(self) -> float:
        return float(self.browser.run("document.body.dataset.at"))

    @property
    def playing(self) -> bool:
        return self.browser.run("document.getElementById('play').getAttribute('aria-label') === 'Stop'")

    def pressed(self, selector: str) -> list[bool]:
        script = f"[...document.querySelectorAll({selector!r})].map((b) => b.getAttribute('aria-pressed') === 'true')"
        return self.browser.run(script)

    def answer(self) -> str:
        return self.browser.wait(
            "!['', 'Asked…'].includes(document.getElementById('answer').textContent)"
            " && document.getElementById('answer').textContent"
        )


@pytest.fixture
def studio(browser, house):
    """A studio with two held recordings, its real web server, and the browser."""
    house.record("first.wav")
    house.record("second.wav")
    house.start()
    house.held(2)
    opened = Page(browser, house)
    yield opened
    opened.close()


def test_a_recording_is_heard_from_before_its_flag_and_approved(studio):
    browser = studio.browser
    studio.review(1)
    browser.wait("document.getElementById('second').checkVisibility()")
    assert browser.run("document.getElementById('second').textContent") == "The second look found the vocal too."
    browser.click("#flags button")
    browser.wait("document.getElementById('play').getAttribute('aria-label') === 'Stop'")
    browser.wait("Number(document.body.dataset.at) > 3.05")
    assert 3.0 < studio.at < 5.5  # two seconds before 5.0
    browser.click("#play")
    assert not studio.playing
    browser.click("#approve")
    assert "job 1 is approved" in studio.answer()
    studio.house.wait(lambda: studio.house.jobs(Status.DONE))
    assert (studio.house.home / "out/first/vocals.wav").exists()
    browser.click("#next")
    browser.wait("location.pathname === '/review/2'")


def test_everything_has_a_key(studio):
    browser = studio.browser
    studio.review(1)
    browser.key(" ", "Space")
    browser.wait("Number(document.body.dataset.at) > 0.1")
    browser.key(" ", "Space")
    assert not studio.playing
    before = studio.at
    browser.key("ArrowRight", "ArrowRight")
    browser.wait(f"Math.abs(Number(document.body.dataset.at) - {before + 5}) < 0.05")
    browser.key("ArrowLeft", "ArrowLeft", shift=True)
    browser.wait(f"Math.abs(Number(document.body.dataset.at) - {before + 4}) < 0.05")
    browser.key("1", "Digit1")
    assert studio.pressed(".solo") == [True, False]
    assert browser.run("[...document.querySelectorAll('.track')].map((t) => t.classList.contains('silent'))") == [
        False, True,
    ]  # fmt: skip
    browser.key("1", "Digit1")
    browser.key("@", "Digit2", shift=True)
    assert studio.pressed(".mute") == [False, True]
    browser.key("m")
    assert studio.pressed("#mix") == [True]
    assert browser.run("[...document.querySelectorAll('.track')].every((t) => t.classList.contains('silent'))")
    browser.key("f")
    browser.wait("Math.abs(Number(document.body.dataset.at) - 3) < 1")
    browser.key("r")
    browser.wait("document.getElementById('rejecting').open")
    browser.run("document.getElementById('why').value = 'hiss throughout'")
    browser.key("a")  # typed, not an approval
    browser.run("document.querySelector('#rejecting button[value=ok]').click()")
    assert "job 1 is rejected" in studio.answer()
    studio.house.wait(lambda: studio.house.jobs(Status.FAILED))
    note = (studio.house.home / "in/_failed/first.wav.error.txt").read_text()
    assert "hiss throughout" in note
    browser.key("n")
    browser.wait("location.pathname === '/review/2'")


def test_stems_sound_together_to_the_sample(studio):
    """Both stems are the mix here: with one turned over, what is heard is silence exactly if they are in step."""
    browser = studio.browser
    studio.review(1)
    heard = browser.run("""(async () => {
      const { open, BLOCK } = await import("/static/sources.js");
      const facts = await (await fetch("/api/review/1")).json();
      const stems = facts.results[0].stems;
      const context = new OfflineAudioContext(2, 44100 * 8, 44100);
      for (const [n, stem] of stems.entries()) {
        const source = await open(stem, 8, 2);
        const gain = new GainNode(context, { gain: n ? -1 : 1 });
        gain.connect(context.destination);
        for (let index = 0; index * BLOCK < source.seconds; index++) {
          const block = await source.block(index, context);
          const node = new AudioBufferSourceNode(context, { buffer: block.buffer });
          node.connect(gain);
          node.start(index * BLOCK);
        }
      }
      const both = await context.startRendering();
      const one = await (await open(stems[0], 8, 2)).block(1, context);
      const most = (buffer) => buffer.getChannelData(0).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      return [most(both), most(one.buffer), one.buffer.length];
    })()""")
    assert heard[0] == 0
    assert heard[1] > 0.1
    assert heard[2] == 4 * 44100


def test_a_second_result_is_compared_and_the_first_one_chosen(studio):
    browser, house = studio.browser, studio.house
    studio.review(1)
    browser.key("g")
    browser.wait("document.getElementById('rerunning').open")
    browser.run("document.querySelector('#rerunning button[value=ok]').click()")
    assert "separated once more with preset best" in studio.answer()
    house.wait(lambda: [job for job in house.jobs(Status.HELD) if job.result == 2])
    studio.review(1)
    tabs = browser.run("[...document.querySelectorAll('#results button')].map((tab) => tab.textContent)")
    assert [tab.partition(",")[0] for tab in tabs] == ["Result 1: as the rule says", "Result 2: preset best"]
    browser.key("1", "Digit1")
    browser.key(" ", "Space")
    browser.wait("Number(document.body.dataset.at) > 0.1")
    browser.key("b")
    assert studio.playing  # goes on, with the same stem alone
    assert studio.pressed(".solo") == [True, False]
    assert browser.run("document.querySelector('#results [aria-checked=true]').textContent").startswith("Result 1")
    browser.key("a")
    assert "result 1 will be in the outbox" in studio.answer()
    house.wait(lambda: house.jobs(Status.DONE))


def test_a_phone_shows_everything_without_scrolling_sideways(studio):
    browser = studio.browser
    studio.house.record("Live_at_the_Royal_Albert_Hall_1998_disc_2_track_11.wav")
    studio.house.held(3)
    browser.resize(*PHONE, phone=True)
    for path in ("/", "/jobs/3", "/review/3", "/api"):
        browser.open(studio.base + path)
        browser.wait("document.body.clientWidth > 0")
        assert browser.run("document.documentElement.scrollWidth") <= PHONE[0], path
    studio.review(3)
    assert browser.run("document.documentElement.scrollWidth") <= PHONE[0]
    small = browser.run(
        "[...document.querySelectorAll('.bar button')].filter((b) => b.offsetParent).map((b) =>"
        f" b.getBoundingClientRect()).filter((r) => r.height < 38 || r.right > {PHONE[0]} || r.left < 0).length"
    )
    assert small == 0


def test_what_changes_while_somebody_listens_is_drawn_afterwards(studio):
    browser = studio.browser
    browser.open(studio.base + "/jobs/1")
    browser.run("document.querySelector('audio').play()")
    studio.house.client().post("/api/jobs/1/reject", json={})
    studio.house.wait(lambda: studio.house.jobs(Status.FAILED))
    browser.run("""new Promise((done) => {
      const get = window.fetch;
      let seen = 0;
      window.fetch = (...what) => { if (++seen > 2) done(); return get(...what); };
    })""")
    assert browser.run("document.querySelector('h1 .mark').classList.contains('held')")
    browser.run("document.querySelector('audio').pause()")
    browser.wait("document.querySelector('h1 .mark').classList.contains('failed')", 10)


def test_whoever_was_slower_can_go_on_to_the_next(studio):
    browser = studio.browser
    studio.review(1)
    studio.house.client().post("/api/jobs/1/approve", json={})
    studio.house.wait(lambda: studio.house.jobs(Status.DONE))
    browser.click("#approve")
    assert "does not wait for a review" in studio.answer()
    assert browser.run("document.getElementById('approve').disabled")
    browser.click("#next")
    browser.wait("location.pathname === '/review/2'")
    assert all("409" in complaint for complaint in browser.complaints)
    browser.complaints.clear()


def test_the_queue_follows_the_daemon_by_itself(studio):
    browser = studio.browser
    browser.open(studio.base + "/")
    studio.house.record("third.wav")
    browser.wait("document.querySelector('.counts .held b').textContent === '3'")
    browser.click("[data-ask=pause]")
    browser.wait("document.body.textContent.includes('Paused by somebody (web)')")


@pytest.fixture
def played(browser, house):
    """A studio without a daemon, whose part the test plays: one recording waits."""
    (house.home / "state").mkdir()
    ledger = open_for_writing(house.home / "state")
    opened = Page(browser, house)
    opened.history = History(ledger, time.time() - 3600)
    opened.history.arrive(b"one.wav")
    yield opened
    opened.close()
    ledger.close()


def test_the_queue_follows_while_one_of_its_links_has_the_focus(played):
    browser = played.browser
    browser.open(played.base + "/")
    browser.run("document.querySelector('a.row').focus()")
    played.history.failed(b"two.wav")
    browser.wait("document.querySelector('.counts .failed b').textContent === '1'", 10)
    assert browser.run("document.activeElement.getAttribute('href')") == "/jobs/1"


def test_a_page_that_gets_no_answer_says_since_when(played):
    browser = played.browser
    browser.open(played.base + "/")
    assert browser.run("document.getElementById('stale').textContent") == ""
    browser.run("window.answered = window.fetch; window.fetch = () => Promise.reject(new TypeError('gone')); 0")
    browser.wait("/^Not up to date since .*[0-9]:[0-9]{2}/.test(document.getElementById('stale').textContent)", 20)
    browser.run("window.fetch = window.answered; 0")
    browser.wait("document.getElementById('stale').textContent === ''", 10)


def test_a_refusal_stays_to_be_read(played):
    browser, history = played.browser, played.history
    job = history.failed(b"gone.wav")
    asking = open_for_asking(played.house.home / "state")
    browser.open(f"{played.base}/jobs/{job.id}")
    browser.click("[data-ask$=retry]")
    (request,) = played.house.wait(lambda: requests.unanswered(asking))
    history.failed(b"meanwhile.wav")
    requests.answer(history.ledger, request, ok=False, text="put it into the inbox again", now=time.time())
    asking.close()
    browser.wait("document.getElementById('reply').textContent === 'put it into the inbox again'")
    browser.run("""new Promise((done) => {
      const get = window.fetch;
      let seen = 0;
      window.fetch = (...what) => { if (++seen > 2) done(); return get(...what); };
    })""")
    assert browser.run("document.getElementById('reply').textContent") == "put it into the inbox again"
    assert browser.run("document.querySelector('[data-ask$=retry]').matches(':enabled')")
    assert browser.run("document.querySelector('[data-ask$=retry]').textContent") == "Try again"


def published(folder: Path, number: int) -> tuple[Artifact, ...]:
    """A result as the pages list it: its manifest, and what the ledger knows of its stems."""
    contents = {stem: f"{number}{n}" * 32 for n, stem in enumerate(("vocals", "no_vocals"))}
    files = [{"stem": stem, "sha256": sha256} for stem, sha256 in contents.items()]
    told = {"stemd": "1", "files": files, "source": {"seconds": 8.0}, "quality": {"null_db": -80.0, "flags": []}}
    folder.mkdir()
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(told))
    stems = [Artifact(os.fsencode(folder / f"{stem}.wav"), sha256, 9, number) for stem, sha256 in contents.items()]
    return (*stems, Artifact(os.fsencode(manifest), digest(manifest), manifest.stat().st_size, number))


def twice_separated(played) -> int:
    """A job with two results that wait for a listener, in the folders "first" and "second"."""
    history, home = played.history, played.house.home
    first, second = published(home / "first", 1), published(home / "second", 2)
    job = history.step(history.checked(b"song.wav", flag="vocal audible"), Finished(artifacts=first))
    job = jobs.apply(history.ledger, job, flow.rerun(job, "anna", "best"), history.now)
    for outcome in (Finished(seconds=8.0), Finished(key="k2"), Held(("vocal audible",))):
        job = history.step(job, outcome)
    return history.step(job, Finished(artifacts=first + second)).id


def test_a_result_whose_files_are_gone_is_told_and_the_other_one_offered(played):
    browser = played.browser
    job = twice_separated(played)
    (played.house.home / "second/manifest.json").unlink()
    played.review(job)
    assert browser.run("document.getElementById('trouble').hidden")
    assert browser.run("document.querySelector('#results [aria-checked=true]').textContent").startswith("Result 1")
    browser.key("b")
    assert "not there any more" in browser.run("document.getElementById('flags').textContent")
    browser.key("b")
    assert "Nothing is flagged" in browser.run("document.getElementById('flags').textContent")
    browser.key("ArrowRight", "ArrowRight")
    browser.wait("Number(document.body.dataset.at) === 5")
    browser.key("a")
    asking = open_for_asking(played.house.home / "state")
    (request,) = played.house.wait(lambda: requests.unanswered(asking))
    asking.close()
    assert (request.verb, request.details["result"]) == ("approve", 1)


def test_the_review_page_is_worked_by_keyboard_and_screen_reader(played):
    browser = played.browser
    played.review(twice_separated(played))
    labels = browser.run("[...document.querySelectorAll('.strip button')].map((b) => b.getAttribute('aria-label'))")
    assert labels == ["Solo vocals", "Mute vocals", "Solo no_vocals", "Mute no_vocals"]
    browser.run("document.querySelector('.solo').focus()")
    browser.key(" ", "Space")
    assert played.pressed(".solo") == [True, False]
    assert not played.playing
    browser.run("document.querySelector('#results button').focus()")
    browser.key(" ", "Space")
    assert browser.run("document.activeElement.textContent").startswith("Result 1")
    assert browser.run("document.activeElement.getAttribute('aria-checked')") == "true"


def test_after_a_click_by_mouse_space_plays(studio):
    browser = studio.browser
    studio.review(1)
    browser.point(".solo")
    assert studio.pressed(".solo") == [True, False]
    browser.key(" ", "Space")
    browser.wait("Number(document.body.dataset.at) > 0.1")
    assert studio.pressed(".solo") == [True, False]


def test_a_person_logs_in_with_the_token(browser, house):
    house.record("a.wav")
    house.start()
    house.held(1)
    page = Page(browser, house, TOKEN)
    browser.open(page.base + "/")
    browser.wait("location.pathname === '/login'")
    browser.run(f"document.querySelector('input[name=token]').value = {TOKEN!r}")
    browser.click("button.main")
    browser.wait("location.pathname === '/'", 10)
    page.review(1)
    browser.click("#approve")
    assert "job 1 is approved" in page.answer()
    page.close()


def test_a_name_that_is_markup_is_only_a_name(browser, house):
    house.record("<img src=x onerror=document.title=1>.wav")
    house.start()
    house.held(1)
    page = Page(browser, house)
    for path in ("/", "/jobs/1", "/review/1"):
        browser.open(page.base + path)
        assert "onerror" in browser.run("document.querySelector('main').textContent")
        assert browser.run("document.title") != "1"
    page.close()


def test_every_format_that_is_delivered_can_be_heard(browser, house):
    kinds = ("flac", "mp3", "m4a", "opus")
    config = (house.home / "config.toml").read_text()
    head, _, rule = config.partition("[[rule]]")
    for kind in kinds:
        head += "[[rule]]" + rule.replace('"r"', f'"{kind}"').replace('"in"', f'"in/{kind}"').replace(
            '"out"', f'"out/{kind}"').replace('"wav"', f'"{kind}"')  # fmt: skip
        (house.home / "in" / kind).mkdir()
    (house.home / "config.toml").write_text(head)
    for kind in kinds:
        house.record(f"{kind}/song.wav")
    house.start()
    held = house.held(len(kinds))
    page = Page(browser, house)
    for job in held:
        page.review(job.id)
        browser.key("ArrowRight", "ArrowRight")
        browser.key(" ", "Space")
        browser.wait("Number(document.body.dataset.at) > 5.2")
        assert browser.run("document.getElementById('trouble').hidden"), job.rule
    page.close()
