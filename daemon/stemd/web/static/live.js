// Keeps a part of the page up to date, and has buttons in it ask the daemon.

import { ask } from "./http.js";

const EVERY = 1500; // milliseconds
const place = document.querySelector("[data-live]");

async function look() {
  if (document.hidden) return;
  const response = await fetch(place.dataset.live).catch(() => null);
  if (!response?.ok) return;
  const drawn = await response.text();
  const busy = place.contains(document.activeElement) || [...place.querySelectorAll("audio")].some((a) => !a.paused);
  if (drawn === place.drawn || busy) return;
  place.innerHTML = drawn;
  place.drawn = drawn;
}

place.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-ask]");
  if (!button) return;
  event.preventDefault();
  button.disabled = true;
  try {
    button.textContent = await ask(button.dataset.ask);
  } catch (fault) {
    button.textContent = fault.message;
  }
  button.blur();
});

setInterval(look, EVERY);
document.addEventListener("visibilitychange", look);
