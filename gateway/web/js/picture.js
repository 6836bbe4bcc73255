// A picture as the form and the address bar hold it: every field the text that was typed. Turns into a request, an address and back.
// Nothing here touches the page.

/**
 * @typedef {Object} Picture
 * @property {string} cre @property {string} cim      the constant c
 * @property {string} xre @property {string} xim      the centre of the view
 * @property {string} width                           plane units
 * @property {string} w @property {string} h          pixels
 * @property {string} iter @property {string} cmap @property {string} interior @property {string} bailout
 */

/** What the page opens with: the scene of the talk, in a size for a screen. @type {Readonly<Picture>} */
export const DEFAULT = Object.freeze({
  cre: "-0.8", cim: "0.156", xre: "0", xim: "0", width: "4", w: "1200", h: "800",
  iter: "256", cmap: "inferno", interior: "#000000", bailout: "2",
});

/** The colour maps, in the order of the swatches. */
export const CMAPS = [
  "inferno", "magma", "plasma", "viridis", "cividis", "turbo", "twilight",
  "hot", "copper", "gnuplot2", "cubehelix", "ocean", "bone", "gray",
];

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const isNumber = (text) => NUMBER.test(text.trim());
const isCount = (text) => /^\d{1,10}$/.test(text.trim());

/**
 * What is no number at all, by field of the interface. Ranges are the gateway's to judge.
 * @param {Picture} picture @returns {{ field: string, message: string }[]}
 */
export function mistakes(picture) {
  const found = [];
  const expect = (field, ok, message) => ok || found.push({ field, message });
  expect("c", isNumber(picture.cre) && isNumber(picture.cim), "write two numbers, as -0.8 and 0.156");
  expect("center", isNumber(picture.xre) && isNumber(picture.xim), "write two numbers, as 0 and 0");
  expect("width", isNumber(picture.width), "write a number above 0, as 4");
  expect("size", isCount(picture.w) && isCount(picture.h), "write two whole numbers of pixels, as 1200 and 800");
  expect("iter", isCount(picture.iter), "write a whole number, as 256");
  expect("bailout", isNumber(picture.bailout), "write a radius from 2, as 2");
  return found;
}

/** The body of a POST. @param {Picture} picture @returns {import("./api.js").RenderRequest} */
export function toRequest(picture) {
  return {
    c: [Number(picture.cre), Number(picture.cim)],
    center: [Number(picture.xre), Number(picture.xim)],
    width: Number(picture.width),
    size: [Number(picture.w), Number(picture.h)],
    iter: Number(picture.iter),
    bailout: Number(picture.bailout),
    cmap: picture.cmap,
    interior: picture.interior,
  };
}

/** The picture that a render resource draws. @param {import("./api.js").RenderRequest} request @returns {Picture} */
export function fromRequest(request) {
  const [cre, cim] = parts(request.c);
  const [xre, xim] = parts(request.center);
  const [w, h] = Array.isArray(request.size) ? request.size : String(request.size).split("x");
  return {
    cre, cim, xre, xim, width: String(request.width), w: String(w), h: String(h),
    iter: String(request.iter), cmap: request.cmap, interior: request.interior, bailout: String(request.bailout),
  };
}

/** Equal for two texts of the same picture, whatever they write it like. @param {Picture} picture */
export const keyOf = (picture) => JSON.stringify(toRequest(picture));

/** `#c=-0.8+0.156i&center=0&…`: the numbers stand there as they were typed. @param {Picture} picture */
export function toHash(picture) {
  const fields = {
    c: complex(picture.cre, picture.cim),
    center: complex(picture.xre, picture.xim),
    width: picture.width.trim(),
    size: `${picture.w.trim()}x${picture.h.trim()}`,
    iter: picture.iter.trim(),
    cmap: picture.cmap,
    interior: picture.interior.replace("#", ""),
    bailout: picture.bailout.trim(),
  };
  return `#${Object.entries(fields).map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2B", "+")}`).join("&")}`;
}

/** What an address names, or null where it names no picture. Fields that are missing or odd have their defaults. @returns {Picture | null} */
export function fromHash(hash) {
  const fields = new Map(hash.replace(/^#/, "").split("&").map((field) => field.split("=", 2).map(decoded)));
  if (!["c", "center", "width", "size", "iter", "cmap"].some((name) => fields.get(name))) return null;
  const picture = { ...DEFAULT };
  const put = (names, values) => values && names.forEach((name, i) => (picture[name] = values[i]));
  put(["cre", "cim"], split(fields.get("c") ?? ""));
  put(["xre", "xim"], split(fields.get("center") ?? ""));
  put(["w", "h"], /^\d+x\d+$/.test(fields.get("size") ?? "") ? fields.get("size").split("x") : null);
  for (const name of ["width", "iter", "bailout"]) put([name], isNumber(fields.get(name) ?? "") ? [fields.get(name)] : null);
  put(["cmap"], CMAPS.includes(fields.get("cmap")) ? [fields.get("cmap")] : null);
  put(["interior"], /^[0-9a-f]{6}$/i.test(fields.get("interior") ?? "") ? [`#${fields.get("interior").toLowerCase()}`] : null);
  return picture;
}

/** `-0.8+0.156i` out of its two texts. */
export function complex(re, im) {
  const [real, imaginary] = [re.trim(), im.trim()];
  if (isNumber(imaginary) && Number(imaginary) === 0 && !imaginary.startsWith("-")) return real;
  return `${real}${/^[+-]/.test(imaginary) ? "" : "+"}${imaginary}i`;
}

/** Real and imaginary part, as texts, of what people write for a complex number; null where it is none. */
export function split(text) {
  const body = text.trim().replace(/\s+/g, "").replace("−", "-");
  if (isNumber(body)) return [body, "0"];
  const found = /^(?<re>[+-]?[\d.]+(?:e[+-]?\d+)?(?=[+-]))?(?<im>[+-]?(?:[\d.]+(?:e[+-]?\d+)?)?)[ij]$/i.exec(body);
  if (!found) return null;
  const { re = "0", im } = found.groups;
  const imaginary = { "": "1", "+": "1", "-": "-1" }[im] ?? im.replace(/^\+/, "");
  return isNumber(re) && isNumber(imaginary) ? [re, imaginary] : null;
}

const parts = (value) => (Array.isArray(value) ? value.map(String) : (split(String(value)) ?? ["0", "0"]));

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
