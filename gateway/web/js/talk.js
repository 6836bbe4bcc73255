// The talk's page with scripts: asks for the picture until it is there, and shows it in its place. Without them the link does the same.

const link = /** @type {HTMLAnchorElement} */ (document.getElementById("picture"));
const saying = document.getElementById("status");
const figure = document.getElementById("figure");

/** Between two questions, where the gateway names no time, and the most after breaks. */
const AGAIN_MS = 1000;
const PATIENCE_MS = 10_000;

let failures = 0;
let isAway = false;
ask();

async function ask() {
  const ends = new AbortController();
  const answer = await fetch(link.href, { signal: ends.signal, headers: { Accept: "image/*" } }).catch(() => null);
  if (answer?.status === 200) {
    // The image asks for itself: the bytes need not pass through here.
    ends.abort();
    return show();
  }
  if (answer && answer.status >= 400 && answer.status < 500 && answer.status !== 429) return giveUp(answer);
  const isNotYet = answer?.status === 202;
  failures = isNotYet ? 0 : failures + 1;
  if (failures || isAway) say(isNotYet ? "Your picture is being rendered." : "The grid does not answer; asking again…");
  isAway = failures > 0;
  const wanted = Number(answer?.headers.get("Retry-After")) * 1000 || AGAIN_MS;
  setTimeout(ask, Math.min(PATIENCE_MS, wanted * 2 ** Math.max(0, failures - 1)));
}

function show() {
  const image = new Image();
  image.alt = document.getElementById("title").textContent;
  image.addEventListener("load", () => {
    figure.removeAttribute("data-busy");
    figure.replaceChildren(image);
    say("Your picture is there.");
  });
  image.addEventListener("error", () => say("The picture is there, but cannot be shown here; the link below has it."));
  image.src = link.href;
}

async function giveUp(answer) {
  const { detail } = await answer.json().catch(() => ({}));
  figure.hidden = true;
  say(`There will be no picture: ${detail || `the gateway answered ${answer.status}`}`);
}

function say(text) {
  if (saying.textContent !== text) saying.textContent = text;
}
