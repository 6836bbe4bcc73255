// Pointer, wheel and keys over the picture, as moves and zooms in fractions of the frame. Knows nothing of pictures.

/**
 * @typedef {Object} Gestures
 * @property {(dx: number, dy: number) => void} onMove                       the view moves by so much of the frame; right and down are positive
 * @property {(factor: number, u: number, v: number) => void} onZoom         about a point of the frame, from its centre; 2 is nearer
 * @property {() => void} onReset
 * @property {(isHeld: boolean) => void} onHold                              a drag or a pinch has begun or ended
 */

/** How far a pointer may wander and still have tapped, in pixels, and how long a second tap may take. */
const TAP_PX = 5;
const DOUBLE_MS = 280;
const KEY_STEP = 0.1;

/** @param {HTMLElement} frame @param {Gestures} on */
export function listenToGestures(frame, on) {
  pointers(frame, on);
  wheel(frame, on);
  keys(frame, on);
}

/** A point of the screen, in fractions of the frame from its centre. @returns {[number, number]} */
function place(frame, event) {
  const box = frame.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5];
}

function pointers(frame, on) {
  /** @type {Map<number, [number, number]>} */
  const held = new Map();
  let travelled = 0;
  let fingers = 0;
  let lastTap = { at: -1e9, timer: 0 };

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || /** @type {HTMLElement} */ (event.target).closest("button, a")) return;
    frame.setPointerCapture(event.pointerId);
    if (held.size === 0) [travelled, fingers] = [0, 0];
    held.set(event.pointerId, place(frame, event));
    fingers = Math.max(fingers, held.size);
  });

  frame.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const now = place(frame, event);
    const px = Math.hypot((now[0] - before[0]) * frame.clientWidth, (now[1] - before[1]) * frame.clientHeight);
    if (travelled === 0 && px < TAP_PX && held.size === 1) return;
    if (travelled === 0) on.onHold(true);
    travelled += px;
    const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
    held.set(event.pointerId, now);
    if (!other) on.onMove(before[0] - now[0], before[1] - now[1]);
    else pinch(before, now, other);
  });

  /** Two fingers: what is between them stays between them. */
  function pinch(before, now, other) {
    const span = ([u, v]) => Math.hypot((u - other[0]) * frame.clientWidth, (v - other[1]) * frame.clientHeight);
    const factor = Math.min(2, Math.max(0.5, span(now) / Math.max(1, span(before))));
    on.onZoom(factor, (before[0] + other[0]) / 2, (before[1] + other[1]) / 2);
    on.onMove((before[0] - now[0]) / 2, (before[1] - now[1]) / 2);
  }

  function release(event) {
    if (!held.delete(event.pointerId) || held.size > 0) return;
    if (travelled > 0) on.onHold(false);
    else if (event.type === "pointerup" && fingers === 1) tap(event);
  }
  frame.addEventListener("pointerup", release);
  frame.addEventListener("pointercancel", release);

  /** One tap centres, a second one in time zooms instead. */
  function tap(event) {
    const [u, v] = place(frame, event);
    clearTimeout(lastTap.timer);
    if (event.timeStamp - lastTap.at < DOUBLE_MS) {
      lastTap.at = -1e9;
      on.onZoom(event.shiftKey ? 0.5 : 2, u, v);
    } else {
      lastTap = { at: event.timeStamp, timer: window.setTimeout(() => on.onMove(u, v), DOUBLE_MS) };
    }
  }
}

function wheel(frame, on) {
  frame.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
      // A pinch on a touchpad comes as a wheel with Ctrl held, in smaller numbers.
      const speed = event.ctrlKey ? 0.01 : 0.002;
      on.onZoom(Math.exp(-Math.max(-400, Math.min(400, lines)) * speed), ...place(frame, event));
    },
    { passive: false },
  );
}

function keys(frame, on) {
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== frame) return;
    const step = event.shiftKey ? KEY_STEP / 5 : KEY_STEP;
    const acts = {
      ArrowLeft: () => on.onMove(-step, 0), ArrowRight: () => on.onMove(step, 0),
      ArrowUp: () => on.onMove(0, -step), ArrowDown: () => on.onMove(0, step),
      "+": () => on.onZoom(1.5, 0, 0), "=": () => on.onZoom(1.5, 0, 0),
      "-": () => on.onZoom(1 / 1.5, 0, 0), _: () => on.onZoom(1 / 1.5, 0, 0),
      0: on.onReset, Home: on.onReset,
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
