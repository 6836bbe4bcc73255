// Small pictures while a person moves about: the newest view counts, one request is under way, and one that has become stale for long is
// aborted and withdrawn. Once the view is still, one more in the size of the frame.

import { Problem, blob, isOver, pathOf, post, withdraw } from "./api.js";
import { keyOf, toRequest } from "./picture.js";

/** Width of a picture while the view moves, and the most of one once it is still, pixels. */
const MOVING_WIDTH = 384;
const STILL_WIDTH_MAX = 512;
/** What a stale picture may still take before it is given up: a quick grid finishes it, and shows motion. */
const STALE_MS = 250;
const STILL_AFTER_MS = 180;
/** Iterations that a preview may ask for per point, so that a poster's limit does not make the motion stutter. */
const ITERATIONS_MAX = 2000;

/**
 * @param {{ onPicture: (blob: Blob, picture: import("./picture.js").Picture) => void, onProblem: (problem: Problem) => void,
 *   onBusy: (isBusy: boolean) => void, frameWidth: () => number }} listener
 */
export function createLive(listener) {
  let wish = null;
  let wishKey = "";
  let running = null;
  let stillTimer = 0;

  async function start(picture, width) {
    const ends = new AbortController();
    const mine = (running = { ends, since: performance.now(), key: keyOf(picture), width });
    listener.onBusy(true);
    try {
      const bytes = await draw(small(picture, width), ends.signal);
      if (!ends.signal.aborted) listener.onPicture(bytes, picture);
    } catch (error) {
      if (!ends.signal.aborted && error instanceof Problem) listener.onProblem(error);
    } finally {
      if (running === mine) running = null;
      const next = wish;
      wish = null;
      if (next && !running) start(next.picture, next.width);
      else if (!running) listener.onBusy(false);
    }
  }

  function want(picture, width) {
    const key = keyOf(picture);
    if (running?.key === key && running.width === width) return;
    wish = { picture, width };
    if (!running) {
      wish = null;
      start(picture, width);
    } else if (performance.now() - running.since > STALE_MS) {
      running.ends.abort();
    }
  }

  return {
    /** The view is this now. @param {import("./picture.js").Picture} picture */
    show(picture) {
      clearTimeout(stillTimer);
      const wide = Math.min(STILL_WIDTH_MAX, listener.frameWidth(), Number(picture.w));
      const key = keyOf(picture);
      if (key !== wishKey) want(picture, Math.min(MOVING_WIDTH, wide));
      wishKey = key;
      stillTimer = setTimeout(() => want(picture, wide), STILL_AFTER_MS);
    },
    /** Nothing is wanted any more. */
    stop() {
      clearTimeout(stillTimer);
      wish = null;
      wishKey = "";
      running?.ends.abort();
    },
  };
}

/** The same view, so many pixels wide, ahead of all other work. */
function small(picture, width) {
  const request = toRequest(picture);
  const [w, h] = /** @type {[number, number]} */ (request.size);
  // A picture of extreme shape is made small by its longer side.
  const scale = Math.min(1, width / w, (2 * width) / h);
  const size = /** @type {[number, number]} */ ([w, h].map((side) => Math.max(1, Math.round(side * scale))));
  return { ...request, size, iter: Math.min(request.iter, ITERATIONS_MAX), priority: "interactive" };
}

/** How many of the pictures under way are the render with this id: two views may draw the same. */
const wanted = new Map();

async function draw(request, signal) {
  // The POST itself is not aborted: what was accepted must be known, to be withdrawn.
  const render = await post(request);
  wanted.set(render.id, (wanted.get(render.id) ?? 0) + 1);
  let isThere = isOver(render);
  try {
    const bytes = await blob(`${pathOf(render.id)}/image`, signal);
    isThere = true;
    return bytes;
  } finally {
    const left = wanted.get(render.id) - 1;
    if (left) wanted.set(render.id, left);
    else wanted.delete(render.id);
    if (!left && !isThere) withdraw(render.id);
  }
}
