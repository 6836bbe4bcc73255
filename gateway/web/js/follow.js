// One render, from the wish to its end, whatever happens to the gateway, the broker or the network meanwhile. Asks for it, listens to
// events, or polls where events do not pass, and asks again after breaks. No page: it tells by callbacks.

import { Problem, get, isOver, post, withdraw } from "./api.js";

/**
 * @typedef {Object} Listener
 * @property {(render: import("./api.js").Render) => void} onRender      it changed, or is over
 * @property {(problem: Problem) => void} onProblem                      it will not be: the gateway refuses it
 * @property {(isThere: boolean) => void} onConnection                   the gateway is away, or back
 */

/** Events come whenever a render changes; a stream that is silent for longer is looked at from outside. */
const SILENCE_MS = 15_000;
const POLL_SECONDS = 20;
const POLL_GAP_MS = 250;

/**
 * Follows a render until it is done or failed, or until `stop`.
 * @param {import("./api.js").RenderRequest} request @param {Listener} listener
 */
export function follow(request, listener) {
  const ends = new AbortController();
  const state = { id: "", eventFailures: 0, isOver: false };
  const done = run(request, listener, state, ends.signal).catch((error) => {
    if (!ends.signal.aborted) listener.onProblem(error instanceof Problem ? error : new Problem({ status: 0, detail: String(error) }));
  });
  return {
    /** Resolves when there is nothing more to tell. */
    done,
    /** Listens no longer; with `cancel`, tells the gateway that nobody here wants the picture. */
    async stop({ cancel = false } = {}) {
      ends.abort();
      await done;
      if (cancel && state.id && !state.isOver) await withdraw(state.id);
    },
  };
}

async function run(request, listener, state, signal) {
  const patience = new Patience();
  while (!signal.aborted) {
    try {
      // Not aborted with the rest: a render that was accepted must be known, to be withdrawn.
      const render = state.id ? await get(state.id, { signal }) : await post(request);
      state.id = render.id;
      if (signal.aborted) return;
      listener.onConnection(true);
      const last = isOver(render) ? render : await watch(render, listener, state, patience, signal);
      if (signal.aborted) return;
      if (last?.state === "cancelled") {
        // By somebody else: it is still wanted here.
        state.id = "";
        await patience.pause(null, signal);
      } else if (last) {
        state.isOver = true;
        listener.onRender(last);
        return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const isForgotten = error.status === 404 && state.id;
      if (isForgotten) state.id = "";
      else if (!(error instanceof Problem) || !error.isPassing) throw error;
      else listener.onConnection(false);
      await patience.pause(error.retryAfterMs, signal);
    }
  }
}

/** Tells of a render that goes on, until it is over, which is returned, or until nothing is heard any more. */
function watch(render, listener, state, patience, signal) {
  patience.reset();
  listener.onRender(render);
  return state.eventFailures < 2 ? listen(render, listener, state, signal) : poll(render, listener, signal);
}

/** Listens to events until the render is over, or the stream breaks or is silent. */
function listen(render, listener, state, signal) {
  return new Promise((resolve) => {
    const source = new EventSource(render.links.events);
    let heard = false;
    let timer = setTimeout(close, SILENCE_MS);
    function close(result) {
      clearTimeout(timer);
      source.close();
      signal.removeEventListener("abort", close);
      state.eventFailures = heard ? 0 : state.eventFailures + 1;
      resolve(result?.state ? result : undefined);
    }
    signal.addEventListener("abort", close);
    source.addEventListener("render", (event) => {
      const now = JSON.parse(event.data);
      if (now.id !== render.id) return;
      heard = true;
      clearTimeout(timer);
      timer = setTimeout(close, SILENCE_MS);
      if (isOver(now)) close(now);
      else listener.onRender(now);
    });
    for (const name of ["gone", "end", "error"]) source.addEventListener(name, () => close());
  });
}

/** Asks for changes, one after the other, until the render is over. */
async function poll(render, listener, signal) {
  let now = render;
  while (!isOver(now) && !signal.aborted) {
    await pause(POLL_GAP_MS, signal);
    now = await get(render.id, { waitSeconds: POLL_SECONDS, signal });
    if (!isOver(now)) listener.onRender(now);
  }
  return now;
}

/** Waits longer after each failure, never less than the gateway asks for, and not in step with other pages. */
class Patience {
  #failures = 0;

  reset() {
    this.#failures = 0;
  }

  async pause(atLeastMs, signal) {
    const ms = Math.min(400 * 2 ** this.#failures, 8000) * (0.75 + Math.random() / 2);
    this.#failures += 1;
    await pause(Math.min(Math.max(ms, atLeastMs ?? 0), 60_000), signal);
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => [clearTimeout(timer), resolve()], { once: true });
  });
}
