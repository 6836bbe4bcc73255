// The panel below the picture: how far a render is, in words and numbers, and what can be taken of it once it is done.

import { count, duration, rate } from "./human.js";

/** Beyond these the gateway keeps to PNG: pixels in memory at once, and sides that the formats can name. */
const OTHERS_PIXELS_MAX = 2 ** 26;
const SIDES_MAX = { webp: 16_383, jpg: 65_535, tiff: Infinity };

const STATES = { waiting: "Waiting", running: "Rendering", paused: "Paused", done: "Done", failed: "Failed", cancelled: "Stopped" };

/** @param {{ announce: (text: string) => void }} on */
export function createProgress(on) {
  const $ = (id) => /** @type {any} */ (document.getElementById(id));
  let announced = "";
  let last = "";

  function put(id, text) {
    if ($(id).textContent !== text) $(id).textContent = text;
  }

  function head(state, name, detail = "") {
    $("progress").dataset.state = state;
    put("state", name);
    put("detail", detail);
  }

  /** Tells those who listen rather than look, a few times a render. */
  function announce(text) {
    if (announced !== text) on.announce((announced = text));
  }

  return {
    /** @param {import("./api.js").Render} render */
    show(render) {
      const part = render.rows ? render.rows_done / render.rows : 0;
      const percent = Math.floor(part * 100);
      const isDone = render.state === "done";
      head(render.state, STATES[render.state] ?? render.state, render.why || hint(render));
      $("bar").value = Math.round(part * 1000);
      put("percent", `${percent} %`);
      put("rows", `${count(render.rows_done)} of ${count(render.rows)}`);
      put("time-name", isDone ? "Took" : "Time left");
      put("time", isDone ? duration(render.elapsed_ms) : render.eta_ms === null ? "–" : duration(render.eta_ms));
      put("workers", count(render.workers));
      put("speed", render.iterations && render.elapsed_ms ? rate((render.iterations * 1000) / render.elapsed_ms) : "–");
      $("take").inert = !isDone;
      if (isDone) offer(render);
      const quarter = render.state === "running" ? Math.floor(percent / 25) * 25 : 0;
      announce(isDone ? "The picture is done." : quarter ? `${quarter} percent` : `${STATES[render.state]} ${render.why}`.trim());
    },
    /** A render was asked for and nobody has answered yet. */
    begin() {
      this.clear();
      head("waiting", "Asking the grid…");
    },
    /** The gateway went away, or is back. */
    connection(isThere) {
      if (!isThere && $("progress").dataset.state !== "away") {
        last = $("state").textContent;
        head("away", "Reconnecting…", "The grid does not answer. What is rendered is not lost.");
        announce("Reconnecting");
      } else if (isThere && $("progress").dataset.state === "away") {
        head("waiting", last);
      }
    },
    stopped() {
      head("cancelled", "Stopped", "Render takes it up again where the grid still has it.");
      put("time", "–");
      announce("Stopped");
    },
    failed(detail) {
      head("failed", "Not rendered", detail);
      $("bar").value = 0;
    },
    clear() {
      announced = "";
      $("bar").value = 0;
      $("take").inert = true;
      for (const id of ["percent", "rows", "time", "workers", "speed"]) put(id, "–");
      put("time-name", "Time left");
    },
  };

  function hint(render) {
    if (render.state === "waiting") return render.workers ? "It is about to begin." : "No worker has begun yet.";
    const [w, h] = render.request.size;
    return `${count(Number(w))} × ${count(Number(h))} pixels`;
  }

  function offer(render) {
    const [w, h] = render.request.size.map(Number);
    const name = `julia-${render.id.slice(0, 8)}`;
    Object.assign($("download"), { href: `${render.links.image}.png`, download: `${name}.png` });
    for (const link of document.querySelectorAll("[data-format]")) {
      const { format } = /** @type {HTMLElement} */ (link).dataset;
      Object.assign(link, { href: `${render.links.image}.${format}`, download: `${name}.${format}` });
      link.parentElement.hidden = Math.max(w, h) > SIDES_MAX[format];
    }
    $("formats").hidden = w * h > OTHERS_PIXELS_MAX;
    $("formats").open = false;
  }
}
