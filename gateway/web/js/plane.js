// From the picture's frame to the complex plane and back: moving, zooming, and as many digits as a view needs. Pure functions.

/** The view of a picture as numbers. @typedef {{ x: number, y: number, width: number, aspect: number }} View */

/** @param {import("./picture.js").Picture} picture @returns {View} */
export const viewOf = (picture) => ({
  x: Number(picture.xre), y: Number(picture.xim), width: Number(picture.width), aspect: Number(picture.w) / Number(picture.h),
});

/** A picture whose centre moved by fractions of the frame: right and down are positive. */
export function moved(picture, dx, dy) {
  const view = viewOf(picture);
  return centred(picture, view.x + dx * view.width, view.y - (dy * view.width) / view.aspect, view.width);
}

/** A picture zoomed by `factor` (2 shows half the width) about a point of the frame, given as fractions from its centre. */
export function zoomed(picture, factor, u = 0, v = 0) {
  const view = viewOf(picture);
  const width = clampWidth(view.width / factor, view, Number(picture.w));
  const keep = 1 - width / view.width;
  return centred(picture, view.x + u * view.width * keep, view.y - (v * view.width * keep) / view.aspect, width);
}

/** The same constant and colours, the whole set in view. */
export const reset = (picture) => ({ ...picture, xre: "0", xim: "0", width: Number(picture.w) < Number(picture.h) ? "3" : "4" });

function centred(picture, x, y, width) {
  const step = width / Math.max(Number(picture.w), 1000);
  return { ...picture, xre: decimal(x, step), xim: decimal(y, step), width: significant(width, 6) };
}

/** Whether neighbouring pixels still differ by four units in the last place, as the renderer asks; else the width that does. */
function clampWidth(width, view, pixels) {
  const reach = Math.max(Math.abs(view.x), Math.abs(view.y)) + width;
  const ulp = 2 ** (Math.floor(Math.log2(Math.max(reach, 1e-300))) - 52);
  return Math.min(Math.max(width, 8 * ulp * Math.max(pixels, 1)), 1000);
}

/** A number with as many decimals as tell hundredths of `step` apart. */
export function decimal(x, step) {
  const digits = Math.min(60, Math.max(0, Math.ceil(-Math.log10(step)) + 2));
  return plain(Math.abs(x) < step / 100 ? "0" : x.toFixed(digits));
}

function significant(x, digits) {
  return x < 1e-6 ? x.toExponential(digits - 1).replace(/\.?0+e/, "e") : plain(x.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(x)))));
}

const plain = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text).replace(/^-0$/, "0");

