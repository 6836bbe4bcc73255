// The plane of constants: a small map of the Mandelbrot set, over which c is picked with a pointer or the arrow keys. Every point of the map
// names a Julia set; its shore has the intricate ones.

import { decimal } from "./plane.js";

/** What the map shows: real from left to right, imaginary from bottom to top. */
const LEFT = -2.1;
const TOP = 1.3;
const SPAN = 2.6;
const ITERATIONS = 100;
const KEY_STEP = 0.01;

/**
 * @param {HTMLElement} pad a focusable element with a canvas and a marker in it
 * @param {{ onPick: (re: string, im: string) => void }} on
 */
export function createPad(pad, on) {
  const canvas = /** @type {HTMLCanvasElement} */ (pad.querySelector("canvas"));
  const marker = /** @type {HTMLElement} */ (pad.querySelector(".marker"));
  let at = [0, 0];
  draw(canvas);

  function pick(re, im, step) {
    at = [Math.min(LEFT + SPAN, Math.max(LEFT, re)), Math.min(TOP, Math.max(TOP - SPAN, im))];
    on.onPick(decimal(at[0], step), decimal(at[1], step));
  }

  function point(event) {
    const box = pad.getBoundingClientRect();
    const step = SPAN / box.width;
    pick(LEFT + (event.clientX - box.left) * step, TOP - (event.clientY - box.top) * step, step * 10);
  }
  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pad.setPointerCapture(event.pointerId);
    point(event);
  });
  pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && point(event));

  pad.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if ((!dx && !dy) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const step = event.shiftKey ? KEY_STEP / 10 : KEY_STEP;
    pick(at[0] + dx * step, at[1] + dy * step, step);
  });

  return {
    /** Puts the marker where c is; outside of the map it stands at the edge. @param {string} re @param {string} im */
    mark(re, im) {
      const [x, y] = [Number(re), Number(im)];
      if (!Number.isFinite(x) || !Number.isFinite(y)) return;
      at = [x, y];
      const part = (value) => `${Math.min(1, Math.max(0, value)) * 100}%`;
      marker.style.left = part((x - LEFT) / SPAN);
      marker.style.top = part((TOP - y) / SPAN);
      pad.setAttribute("aria-valuenow", String(Math.min(LEFT + SPAN, Math.max(LEFT, x))));
      pad.setAttribute("aria-valuetext", `real ${re}, imaginary ${im}`);
    },
  };
}

/** The set in the canvas's own pixels: dark inside, brighter towards the shore outside. */
function draw(canvas) {
  const context = canvas.getContext("2d");
  const { width: w, height: h } = canvas;
  const image = context.createImageData(w, h);
  for (let j = 0; j < h; j++) {
    for (let i = 0; i < w; i++) {
      const n = escapeTime(LEFT + ((i + 0.5) / w) * SPAN, TOP - ((j + 0.5) / h) * SPAN);
      image.data.set(shade(n), 4 * (j * w + i));
    }
  }
  context.putImageData(image, 0, 0);
}

function escapeTime(cx, cy) {
  let [x, y] = [0, 0];
  for (let n = 0; n < ITERATIONS; n++) {
    [x, y] = [x * x - y * y + cx, 2 * x * y + cy];
    if (x * x + y * y > 64) return n + 1 - Math.log2(Math.log(Math.hypot(x, y)));
  }
  return ITERATIONS;
}

/** From a deep violet far outside to ember at the shore; nearly black inside. */
function shade(n) {
  if (n >= ITERATIONS) return [11, 8, 18, 255];
  const t = Math.min(1, Math.max(0, (n + 1) / 24)) ** 1.5;
  const mix = (from, to) => from + (to - from) * t;
  return [mix(30, 255), mix(20, 178), mix(58, 84), 255];
}
