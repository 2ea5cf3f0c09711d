// Keeps a part of the page up to date, says when it cannot, and has buttons in it ask the daemon.

import { ask } from "./http.js";

const EVERY = 1500; // milliseconds
const PATIENCE = 10_000; // milliseconds for an answer
const MISSES = 3; // looks without an answer, after which the page is called old
const place = document.querySelector("[data-live]");
const stale = document.getElementById("stale");
const reply = document.getElementById("reply");
let looking = false;
let missed = 0;
let answered = new Date();

async function look() {
  if (document.hidden || looking) return;
  looking = true;
  const drawn = await fetched().catch(() => null);
  looking = false;
  age(drawn !== null);
  if (drawn !== null && drawn !== place.drawn && !busy()) draw(drawn);
}

async function fetched() {
  const response = await fetch(place.dataset.live, { signal: AbortSignal.timeout(PATIENCE) });
  return response.ok ? response.text() : null;
}

/** Count the looks that were missed, and say so from the third on. */
function age(success) {
  missed = success ? 0 : missed + 1;
  if (success) answered = new Date();
  const since = answered.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const text = missed < MISSES ? "" : `Not up to date since ${since}: stemd web gives no answer. If that lasts, reload the page.`;
  if (stale.textContent !== text) stale.textContent = text;
}

/** Whether something in the place would be lost if it were drawn anew. */
function busy() {
  return place.querySelector("[data-ask]:disabled") || [...place.querySelectorAll("audio")].some((a) => !a.paused);
}

function draw(drawn) {
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const index = focused && alike(focused).indexOf(focused);
  place.innerHTML = drawn;
  place.drawn = drawn;
  if (focused) (alike(focused)[index] ?? alike(focused)[0])?.focus({ preventScroll: true });
}

/** Everything in the place that leads to or asks for the same. */
function alike(element) {
  const name = ["href", "data-ask", "src"].find((each) => element.hasAttribute(each));
  return [...place.querySelectorAll(`[${name}]`)].filter((each) => each.getAttribute(name) === element.getAttribute(name));
}

place.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-ask]");
  if (!button) return;
  event.preventDefault();
  const focused = document.activeElement === button;
  button.disabled = true;
  reply.textContent = "Asked…";
  reply.textContent = await ask(button.dataset.ask).catch((fault) => fault.message);
  button.disabled = false;
  if (focused) button.focus();
  look();
});

setInterval(look, EVERY);
document.addEventListener("visibilitychange", look);
