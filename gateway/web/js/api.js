// The gateway's interface as functions. Every answer that is no success becomes a Problem. Knows nothing of the page.

/**
 * @typedef {Object} RenderRequest
 * @property {[number, number] | string} c
 * @property {[number, number] | string} center
 * @property {number} width
 * @property {[number, number] | string} size
 * @property {number} iter
 * @property {number} bailout
 * @property {string} cmap
 * @property {string} interior
 * @property {string} [priority]
 */

/**
 * @typedef {Object} Render
 * @property {string} id
 * @property {"waiting" | "running" | "paused" | "done" | "failed" | "cancelled"} state
 * @property {string} why
 * @property {number} rows
 * @property {number} rows_done
 * @property {number | null} eta_ms
 * @property {number} workers
 * @property {number} iterations
 * @property {number} compute_ms
 * @property {number} elapsed_ms
 * @property {RenderRequest} request
 * @property {{ self: string, image: string, preview: string, events: string, tiles?: string }} links
 */

/** An answer that says what is wrong: RFC 9457, or what can be made of another answer, or of none (`status` 0). */
export class Problem extends Error {
  /** @param {{ status: number, title?: string, detail?: string, field?: string, retryAfterMs?: number | null }} of */
  constructor({ status, title = "", detail = "", field = "", retryAfterMs = null }) {
    super(detail || title || `the gateway answered ${status}`);
    this.status = status;
    this.field = field;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same call may succeed later: nobody answered, or somebody who is busy or starting. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The path of a render, by its id. */
export const pathOf = (id) => `/api/v1/renders/${id}`;

/** Whether a render will not change any more. */
export const isOver = (render) => ["done", "failed", "cancelled"].includes(render.state);

/** @param {RenderRequest} request @param {AbortSignal} [signal] @returns {Promise<Render>} */
export async function post(request, signal) {
  const body = JSON.stringify(request);
  const answer = await call("/api/v1/renders", { method: "POST", body, signal, headers: { "Content-Type": "application/json" } });
  return json(answer);
}

/**
 * The render as it is, or, with `waitSeconds`, as it is once it has changed.
 * @param {string} id @param {{ waitSeconds?: number, signal?: AbortSignal }} [options] @returns {Promise<Render>}
 */
export async function get(id, { waitSeconds = 0, signal } = {}) {
  return json(await call(pathOf(id) + (waitSeconds ? `?wait=${waitSeconds}` : ""), { signal }));
}

/** Says that this browser wants a render no longer. A render that is not there any more is as good. */
export async function withdraw(id) {
  await call(pathOf(id), { method: "DELETE", keepalive: true }).catch(() => {});
}

/** The bytes behind a link. @param {string} link @param {AbortSignal} [signal] @returns {Promise<Blob>} */
export async function blob(link, signal) {
  const answer = await call(link, { signal });
  return answer.blob().catch((error) => {
    throw asProblem(error);
  });
}

/** @param {string} path @param {RequestInit} options */
async function call(path, options) {
  const headers = { "Fractally-Client": client(), ...options.headers };
  const answer = await fetch(path, { ...options, headers }).catch((error) => {
    throw asProblem(error);
  });
  if (answer.ok) return answer;
  const says = await answer.json().catch(() => ({}));
  const { title, detail, field } = says && typeof says === "object" ? says : {};
  throw new Problem({ status: answer.status, title, detail, field, retryAfterMs: retryAfterMs(answer) });
}

async function json(answer) {
  return answer.json().catch((error) => {
    throw asProblem(error);
  });
}

/** What became of a call without an answer: an abort stays what it is, all else is a gateway that is away. */
function asProblem(error) {
  return error?.name === "AbortError" ? error : new Problem({ status: 0, title: "the gateway does not answer" });
}

/** Retry-After in seconds or as a date. */
function retryAfterMs(answer) {
  const text = answer.headers.get("Retry-After");
  if (!text) return null;
  const seconds = Number(text);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}

let known = "";

/** Who holds interest in the renders of this page: a random name, kept as long as the browser lets us. */
function client() {
  known ||= stored(() => localStorage) || stored(() => sessionStorage) || random();
  return known;
}

/** The name in one of the browser's stores, made where it is missing; empty where the store is blocked, which the mere word may tell. */
function stored(open) {
  try {
    const store = open();
    const kept = store.getItem("fractally-client");
    if (kept && /^[\w.-]{1,64}$/.test(kept)) return kept;
    const made = random();
    store.setItem("fractally-client", made);
    return made;
  } catch {
    return "";
  }
}

/** 128 random bits in hex. Not `randomUUID`, which plain HTTP on a LAN does not have. */
function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
