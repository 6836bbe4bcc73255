// The page: puts the form, the stage, the pad and the panel together. One picture is in the form; at most one render is followed.

import { createPad } from "./cpad.js";
import { follow } from "./follow.js";
import { createForm } from "./form.js";
import { listenToGestures } from "./gestures.js";
import { count } from "./human.js";
import { createLive } from "./live.js";
import { complex, DEFAULT, fromHash, keyOf, mistakes, toHash, toRequest } from "./picture.js";
import { moved, reset, zoomed } from "./plane.js";
import { createPreview } from "./preview.js";
import { createProgress } from "./progress.js";
import * as share from "./share.js";
import { createStage } from "./stage.js";
import { createStrip } from "./strip.js";

/** @typedef {import("./picture.js").Picture} Picture */
/** @typedef {import("./api.js").Render} Render */

/** A browser decodes no more than this into a page; larger pictures are seen as previews, and downloaded. */
const SHOWN_PIXELS_MAX = 32_000_000;
const PREVIEW_WIDTH_MAX = 1024;
/** An address that asks for more than this is rendered only when its reader says so: pixels times iterations. */
const UNASKED_WORK_MAX = 1e10;

const $ = (id) => /** @type {any} */ (document.getElementById(id));
const announce = (text) => ($("live").textContent = text);

/** What is followed, or was last. @type {{ picture: Picture, key: string, render: Render | null, isOver: boolean, stop: Function } | null} */
let job = null;
/** Whether the entry of the browser's history is a picture to come back to; then the next view gets an entry of its own. */
let isEntryFixed = true;
let addressTimer = 0;

const stage = createStage($("frame"));
const progress = createProgress({ announce });
const form = createForm($("form"), { onChange: onFields, onSubmit: () => render() });
const pad = createPad($("pad"), { onPick: (cre, cim) => go({ ...form.read(), cre, cim }) });
const strip = createStrip({ onOpen: (picture) => open(picture, { isNew: true }) });

const live = createLive({
  frameWidth: () => stage.width(),
  onPicture: async (blob, picture) => (await stage.show(blob, picture, altOf(picture))) && badge("preview"),
  onProblem: (problem) => problem.field && form.complain(problem),
  onBusy: (isBusy) => $("frame").toggleAttribute("data-busy", isBusy),
});

const preview = createPreview({
  width: () => Math.min(PREVIEW_WIDTH_MAX, Math.max(64, stage.width())),
  onPicture: (blob) => job && isInForm(job) && stage.show(blob, job.picture, altOf(job.picture)),
});

/** The fields changed under somebody's hands: shows the new view at once, and soon as a small picture. */
function onFields(isChoice) {
  see(form.read(), { isFixed: isChoice });
}

/** Another picture takes the form's place, as moving and zooming make it. @param {Picture} picture */
function go(picture) {
  form.clear();
  form.write(picture);
  see(picture);
}

/** @param {Picture} picture */
function see(picture, { isFixed = false, isNew = true } = {}) {
  pad.mark(picture.cre, picture.cim);
  if (mistakes(picture).length) return;
  stage.look(picture);
  if (isNew) address(picture, { isFixed });
  // Back where the render is: it is the sharper picture.
  if (job && isInForm(job) && job.render) {
    live.stop();
    present(job);
  } else {
    preview.stop();
    live.show(picture);
  }
}

/** Renders what the form says, in full; with an entry of its own in the browser's history unless it comes from one. */
function render({ isNew = true } = {}) {
  const picture = form.read();
  form.clear();
  const wrong = mistakes(picture);
  wrong.forEach((mistake, i) => form.complain(mistake, { focus: i === 0 }));
  if (wrong.length) return;
  live.stop();
  if (isNew) address(picture, { isFixed: true, isNow: true });
  if (job && !job.isOver && isInForm(job)) {
    if (job.render) present(job);
    return;
  }
  leave();
  progress.begin();
  start(picture);
  // On a phone the fields stand below the picture, which is now what counts.
  if ($("frame").getBoundingClientRect().bottom < 80) window.scrollTo({ top: 0 });
}

/** @param {Picture} picture */
function start(picture) {
  const mine = (job = { picture, key: keyOf(picture), render: null, isOver: false, stop: () => {} });
  const isMine = () => job === mine;
  const { stop } = follow(toRequest(picture), {
    onRender(now) {
      if (!isMine()) return;
      mine.render = now;
      progress.show(now);
      if (now.state === "done" || now.state === "failed") end(mine);
      if (isInForm(mine)) present(mine);
    },
    onProblem(problem) {
      if (!isMine()) return;
      end(mine);
      progress.failed(problem.field ? "One of the fields does not pass." : problem.message);
      form.complain(problem, { focus: Boolean(problem.field) });
    },
    onConnection: (isThere) => isMine() && progress.connection(isThere),
  });
  mine.stop = stop;
  $("stop").disabled = false;
}

/** Shows the best there is of a render. */
function present(of) {
  const { render } = of;
  if (render.state === "running" || render.state === "paused" || render.state === "waiting") {
    badge("rendering");
    preview.refresh(render);
  } else if (render.state === "done") {
    preview.stop();
    const [w, h] = [Number(of.picture.w), Number(of.picture.h)];
    const isLarge = w * h > SHOWN_PIXELS_MAX;
    const source = isLarge ? `${render.links.preview}?width=${PREVIEW_WIDTH_MAX}` : `${render.links.image}.png`;
    stage.show(source, of.picture, altOf(of.picture)).then((isShown) => isShown && badge(isLarge ? "large" : "done"));
  }
}

function end(of) {
  of.isOver = true;
  $("stop").disabled = true;
  if (of.render?.state === "done") strip.add(of.render);
}

/** The render that is followed is wanted no longer. */
function leave() {
  if (!job) return;
  preview.stop();
  job.stop({ cancel: !job.isOver });
  job = null;
  $("stop").disabled = true;
}

function stopRender() {
  leave();
  progress.stopped();
  badge("preview");
  $("render").focus();
}

/** A picture from elsewhere: an address, the strip. Rendered at once where that is cheap. @param {Picture} picture */
function open(picture, { isNew = false } = {}) {
  form.clear();
  form.write(picture);
  pad.mark(picture.cre, picture.cim);
  stage.look(picture);
  if (mistakes(picture).length) return;
  const isCheap = Number(picture.w) * Number(picture.h) * Number(picture.iter) <= UNASKED_WORK_MAX;
  if (isCheap) render({ isNew });
  else see(picture, { isFixed: true, isNew });
}

/** Writes the picture into the address bar: a new entry for a picture to come back to, else over the last one. */
function address(picture, { isFixed = false, isNow = false } = {}) {
  clearTimeout(addressTimer);
  const write = () => {
    const hash = toHash(picture);
    if (hash !== location.hash) history[isEntryFixed ? "pushState" : "replaceState"](null, "", hash);
    isEntryFixed = isFixed;
  };
  // Browsers count calls; a drag makes many.
  if (isNow) write();
  else addressTimer = window.setTimeout(write, 250);
}

function onAddress() {
  clearTimeout(addressTimer);
  const picture = fromHash(location.hash) ?? { ...DEFAULT };
  isEntryFixed = true;
  if (keyOf(picture) !== keyOf(form.read())) open(picture);
}

const isInForm = (of) => of.key === keyOf(form.read());

const altOf = (picture) => `Julia set of z² + c for c = ${complex(picture.cre, picture.cim)}, in the colours ${picture.cmap}`;

/** What is to be seen: a preview, a render on its way, or the picture itself. */
function badge(what) {
  const { w, h } = form.read();
  const size = `${count(Number(w))} × ${count(Number(h))}`;
  const texts = { preview: "Preview", rendering: "Arriving", done: size, large: `Preview of ${size}` };
  $("badge").hidden = false;
  $("badge").textContent = texts[what];
  $("badge").dataset.what = what;
}

async function copy(what, text) {
  const isCopied = await share.copy(text);
  if (!isCopied) return;
  announce(`${what} copied`);
  $("copied").textContent = `${what} copied`;
  setTimeout(() => ($("copied").textContent = ""), 2500);
}

const zoom = (factor, u = 0, v = 0) => go(zoomed(form.read(), factor, u, v));
const guarded = (act) => (...args) => mistakes(form.read()).length || act(...args);
listenToGestures($("frame"), {
  onMove: guarded((dx, dy) => go(moved(form.read(), dx, dy))),
  onZoom: guarded(zoom),
  onReset: guarded(() => go(reset(form.read()))),
  onHold: (isHeld) => $("frame").toggleAttribute("data-held", isHeld),
});
$("zoom-in").addEventListener("click", guarded(() => zoom(2)));
$("zoom-out").addEventListener("click", guarded(() => zoom(0.5)));
$("zoom-reset").addEventListener("click", guarded(() => go(reset(form.read()))));
$("stop").addEventListener("click", stopRender);
$("copy-link").addEventListener("click", () => copy("Link", share.link(form.read())));
$("copy-curl").addEventListener("click", () => copy("curl", share.curl(form.read())));
$("copy-json").addEventListener("click", () => copy("JSON", share.json(form.read(), job && isInForm(job) ? job.render : null)));
document.addEventListener("click", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const isInside = $("formats").contains(target) && !target.closest("[data-format]");
  if (!isInside) $("formats").open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && $("formats").open) $("formats").open = false;
});
// A hidden page fetches no previews; a page that is seen again has one coming.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && job?.render && !job.isOver && isInForm(job)) preview.refresh(job.render);
});
window.addEventListener("popstate", onAddress);

const named = fromHash(location.hash);
if (named) {
  open(named);
} else {
  form.write({ ...DEFAULT });
  pad.mark(DEFAULT.cre, DEFAULT.cim);
  stage.look(DEFAULT);
  live.show({ ...DEFAULT });
}
