// Keys for everything on the review page; none while something is being typed or asked.

const PRESSED = "button, summary"; // what the space bar presses

/** Bind the keys to what they do. */
export function keys(actions) {
  const plain = {
    " ": actions.toggle, m: actions.mix, b: actions.other, f: actions.flag, a: actions.approve, r: actions.reject,
    g: actions.rerun, n: actions.next,
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && event.key === " ") return;
    if (document.querySelector("dialog[open]") || event.target.matches("textarea, input:not([type=range])")) return;
    if (event.key === " " && event.target.matches(PRESSED)) return;
    const stem = /^Digit([1-9])$/.exec(event.code);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (stem) (event.shiftKey ? actions.mute : actions.solo)(Number(stem[1]) - 1);
    else if (step && !event.target.matches("input")) actions.shift(step * (event.shiftKey ? 1 : 5));
    else if (plain[event.key] && !event.shiftKey) plain[event.key]();
    else return;
    event.preventDefault();
  });
  addEventListener("click", (event) => {
    if (event.detail > 0 && document.activeElement.matches(PRESSED)) document.activeElement.blur(); // after the mouse, space plays
  });
}
