// The review page: hears a job's stems together, shows where something was flagged, and leaves the decision.

import { ask, get, name } from "./http.js";
import { keys } from "./keys.js";
import { MIX, Mixer } from "./mixer.js";
import { Transport } from "./transport.js";
import { clock, draw, peak, spacing } from "./waveform.js";

const LEAD = 2; // seconds before a flag from which it is heard
const $ = (id) => document.getElementById(id);
const job = Number($("review").dataset.job);

let facts;
let transport;
let mixer;
let chosen = 0; // index of the result that is heard
let flag = -1;

async function begin() {
  facts = await get(`/api/review/${job}`);
  chosen = Math.max(0, facts.results.length - 1);
  $("decisions").hidden = !facts.open;
  $("next").disabled = facts.next === null;
  if (!facts.results.some((result) => result.stems.length)) {
    const unread = facts.results.find((result) => result.trouble)?.trouble;
    trouble(unread ?? `Nothing to hear: the job is ${facts.job.status} at ${facts.job.stage}. ${facts.job.reason}`);
    return;
  }
  const seconds = Math.max(...facts.results.map((result) => result.seconds));
  const tracks = facts.results.flatMap((result, group) => result.stems.map((stem) => ({ ...stem, group })));
  if (facts.mix) tracks.push({ ...facts.mix, group: MIX, gain_db: tracks[0].gain_db });
  transport = new Transport(tracks, seconds);
  mixer = new Mixer(transport);
  transport.addEventListener("change", show);
  transport.addEventListener("fault", (event) => trouble(event.detail));
  $("seek").max = seconds;
  choose(facts.results.findLastIndex((result) => result.stems.length));
  move();
}

/** Hear and show one of the results. */
function choose(index) {
  chosen = index;
  flag = -1;
  const result = facts.results[index];
  $("stems").replaceChildren(...mixer.tracks(index).map((track, n) => strip(track, n, index)));
  mixer.hear(index);
  mixer.tracks(index).forEach((track, n) => {
    $("stems").children[n].querySelector("input").value = track.gainDb;
  });
  const tabbed = $("results").contains(document.activeElement);
  $("results").replaceChildren(...(facts.results.length > 1 ? facts.results.map(tab) : []));
  if (tabbed) $("results").querySelector("[aria-checked=true]").focus();
  $("flags").replaceChildren(...flags().map(flagLine));
  if (!result.stems.length) {
    $("flags").append(result.trouble || "The files of this result are not there any more.");
  } else if (!flags().length) $("flags").append("Nothing is flagged in this result.");
  const second = result.quality.second_look;
  $("second").hidden = !second;
  $("second").textContent = second ? `${second.text[0].toUpperCase()}${second.text.slice(1)}.` : "";
  const where = [clock(transport.seconds), result.model, `in ${result.folder}`].filter(Boolean);
  $("where").textContent = `· ${where.join(" · ")}`;
  $("mix").disabled = !facts.mix && !result.sum_is_mix;
  $("picture").hidden = !result.picture;
  if (result.picture) {
    $("picture").href = result.picture;
    $("picture").firstElementChild.src = result.picture;
  }
  redraw();
  show();
}

function flags() {
  return facts.results[chosen].quality.flags ?? [];
}

function tab(result, index) {
  const button = document.createElement("button");
  button.setAttribute("role", "radio");
  button.setAttribute("aria-checked", index === chosen);
  const bleed = result.quality.bleed_db;
  const figure = bleed === null || bleed === undefined ? "" : `, bleed ${bleed.toFixed(1)} dB`;
  button.append(`Result ${result.number}: ${result.made_with}${figure}`);
  button.onclick = () => choose(index);
  return button;
}

function flagLine(each, index) {
  const line = document.createElement("li");
  const button = document.createElement("button");
  button.textContent = each.text;
  button.onclick = () => hearFlag(index);
  line.append(button);
  return line;
}

function hearFlag(index) {
  flag = index;
  [...$("flags").children].forEach((line, n) => line.classList.toggle("at", n === index));
  $("flags").children[index].scrollIntoView({ block: "nearest" });
  transport.play(Math.max(0, flags()[index].start - LEAD));
}

function strip(track, n, index) {
  const row = document.createElement("div");
  row.className = "track";
  row.innerHTML = `<div class="strip"><span class="name"></span><button class="solo" title="Solo (${n + 1})">S</button>
    <button class="mute" title="Mute (shift ${n + 1})">M</button>
    <label class="gain"><input type="range" min="-30" max="12" step="0.5" value="0"><output>0 dB</output></label></div>
    <canvas></canvas>`;
  const key = document.createElement("kbd");
  key.textContent = n + 1;
  row.querySelector(".name").append(key, track.name);
  for (const [word, act] of [["Solo", "solo"], ["Mute", "mute"]]) {
    const button = row.querySelector(`.${act}`);
    button.setAttribute("aria-label", `${word} ${track.name}`);
    button.onclick = () => mixer[act](index, n);
  }
  const gain = row.querySelector("input");
  gain.setAttribute("aria-label", `Gain of ${track.name}`);
  gain.oninput = () => mixer.setGain(index, n, Number(gain.value));
  row.querySelector("canvas").onclick = (event) => {
    transport.seek((event.offsetX / event.target.clientWidth) * transport.seconds);
  };
  return row;
}

function redraw() {
  const style = getComputedStyle(document.documentElement);
  const { curves = { step: 0.5 } } = facts.results[chosen].quality;
  const loudest = Math.max(...mixer.tracks(chosen).map((track) => peak(curves[track.name] ?? [])));
  mixer.tracks(chosen).forEach((track, n) => {
    draw($("stems").children[n].querySelector("canvas"), {
      levels: curves[track.name] ?? [], step: curves.step, seconds: transport.seconds, flags: flags(), loudest,
      colour: style.getPropertyValue(`--stem-${n % 6}`), mark: style.getPropertyValue("--warn"),
    });
  });
  const width = $("ruler").clientWidth;
  const every = spacing(transport.seconds, Math.max(2, width / 70));
  const marks = [];
  for (let at = 0; at < transport.seconds; at += every) {
    const mark = document.createElement("span");
    mark.textContent = clock(at);
    mark.style.left = `${(at / transport.seconds) * 100}%`;
    marks.push(mark);
  }
  $("ruler").replaceChildren(...marks);
}

/** Show what is on and off. */
function show() {
  $("play").textContent = transport.playing ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", transport.playing ? "Stop" : "Play");
  $("mix").setAttribute("aria-pressed", mixer.mixed);
  mixer.tracks(chosen).forEach((track, n) => {
    const row = $("stems").children[n];
    row.querySelector(".solo").setAttribute("aria-pressed", track.soloed);
    row.querySelector(".mute").setAttribute("aria-pressed", track.muted);
    row.querySelector("output").textContent = `${track.gainDb > 0 ? "+" : ""}${track.gainDb} dB`;
    row.classList.toggle("silent", mixer.level(track) === 0);
  });
}

/** Move the playhead with every picture. */
function move() {
  const at = transport.position;
  $("clock").textContent = clock(at, true);
  if (document.activeElement !== $("seek") || transport.playing) $("seek").value = at;
  const width = $("stems").querySelector("canvas")?.clientWidth ?? 0;
  $("playhead").style.transform = `translateX(${(at / transport.seconds) * width}px)`;
  document.body.dataset.at = at.toFixed(2);
  requestAnimationFrame(move);
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

async function decide(verb, details = {}) {
  if (!facts.open) return;
  facts.open = false;
  const buttons = $("decisions").querySelectorAll("button:not(#next)");
  for (const button of buttons) button.disabled = true;
  $("answer").textContent = "Asked…";
  try {
    $("answer").textContent = await ask(`jobs/${job}/${verb}`, details);
    document.body.dataset.decided = verb;
  } catch (fault) {
    $("answer").textContent = fault.message;
    facts.open = (await get(`/api/review/${job}`)).open;
    for (const button of buttons) button.disabled = !facts.open;
  }
}

/** Open a dialog; calls done with its form once it is confirmed. */
function inquire(dialog, done) {
  if (!facts.open || dialog.open) return;
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue === "ok" && done(new FormData(dialog.querySelector("form")));
  dialog.showModal();
}

export const actions = {
  toggle: () => (transport.playing ? transport.stop() : transport.play()),
  shift: (seconds) => transport.seek(transport.position + seconds),
  solo: (n) => mixer.solo(chosen, n),
  mute: (n) => mixer.mute(chosen, n),
  mix: () => !$("mix").disabled && mixer.toggleMix(),
  other: () => facts.results.length > 1 && choose((chosen + 1) % facts.results.length),
  flag: () => flags().length && hearFlag((flag + 1) % flags().length),
  approve: () => decide("approve", { result: facts.results[chosen]?.number ?? null }),
  reject: () => inquire($("rejecting"), () => decide("reject", { reason: $("why").value })),
  rerun: () => inquire($("rerunning"), (form) => decide("rerun", { preset: form.get("preset") })),
  next: () => facts.next !== null && location.assign(`/review/${facts.next}`),
};

$("play").onclick = actions.toggle;
$("back").onclick = () => actions.shift(-5);
$("forward").onclick = () => actions.shift(5);
$("seek").oninput = () => transport.seek(Number($("seek").value));
for (const verb of ["mix", "approve", "reject", "rerun", "next"]) $(verb).onclick = () => actions[verb]();
$("who").value = name();
$("who").onchange = () => name($("who").value);
addEventListener("resize", () => transport && redraw());
begin().then(() => transport && keys(actions), (fault) => trouble(fault.message));
