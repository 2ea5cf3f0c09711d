// Talks to the API of the page's own server.

const csrf = document.querySelector('meta[name="csrf"]').content;
const WAIT = 400; // milliseconds between two looks for the daemon's answer
const LOOKS = 40;
const PATIENCE = 10_000; // milliseconds until a server that does not answer is given up

/** Fetch JSON; throws an Error whose message is for people. */
export async function get(path) {
  return told(await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE) }));
}

/** Ask the daemon for something and wait for its answer. onAsked is told when the request is noted. */
export async function ask(path, details = {}, onAsked = () => {}) {
  const headers = { "Content-Type": "application/json", "X-Stemd-Csrf": csrf };
  const { request } = await told(
    await fetch(`/api/${path}`, {
      method: "POST", headers, body: JSON.stringify({ who: name(), ...details }), signal: AbortSignal.timeout(PATIENCE),
    }),
  );
  onAsked();
  for (let look = 0; look < LOOKS; look++) {
    const answer = await get(`/api/requests/${request}`);
    if (answer.ok === true) return answer.answer;
    if (answer.ok === false) throw new Error(answer.answer);
    await new Promise((done) => setTimeout(done, WAIT));
  }
  return "Noted; the daemon answers it as soon as it runs.";
}

/** The listener's name, remembered in this browser. */
export function name(given) {
  if (given !== undefined) localStorage.setItem("who", given);
  return localStorage.getItem("who") ?? "";
}

async function told(response) {
  const answer = await response.json().catch(() => ({ message: `${response.status} ${response.statusText}` }));
  if (!response.ok) throw new Error([answer.message, answer.hint].filter(Boolean).join("; "));
  return answer;
}
