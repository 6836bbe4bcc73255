// The form: reads and writes the fields as text, offers presets, and shows what is wrong beside the field that it names.

import { pixels } from "./human.js";
import { CMAPS, split } from "./picture.js";
import { SETS, SIZES } from "./presets.js";

const TEXTS = ["cre", "cim", "xre", "xim", "width", "w", "h", "iter", "interior", "bailout"];
/** Which inputs a field of the interface stands for, the one to go to first. */
const INPUTS = {
  c: ["cre", "cim"], center: ["xre", "xim"], width: ["width"], size: ["w", "h"], iter: ["iter"],
  cmap: ["cmap"], interior: ["interior"], bailout: ["bailout"],
};
/** Fields that the gateway names and the form has by another name. */
const ALIASES = { iterations: "iter", window: "size" };

/**
 * @param {HTMLFormElement} form
 * @param {{ onChange: (isChoice: boolean) => void, onSubmit: () => void }} on `isChoice`: picked at once, not typed
 */
export function createForm(form, on) {
  const $ = (id) => /** @type {any} */ (document.getElementById(id));
  const input = (name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
  const errors = [...form.querySelectorAll(".error")];
  fill($);

  function read() {
    const picture = Object.fromEntries(TEXTS.map((name) => [name, input(name).value.trim()]));
    return /** @type {import("./picture.js").Picture} */ ({ ...picture, cmap: input("cmap").value });
  }

  function write(picture) {
    for (const name of TEXTS) if (input(name).value.trim() !== picture[name]) input(name).value = picture[name];
    input("cmap").value = picture.cmap;
    describe();
  }

  /** What follows from the fields: the presets that they equal, and a few words. */
  function describe() {
    const picture = read();
    const same = (wanted) => Object.entries(wanted).every(([name, value]) => picture[name] === value);
    $("preset").value = String(SETS.findIndex((set) => same({ cre: set.picture.cre, cim: set.picture.cim })));
    if ($("preset").selectedIndex < 0) $("preset").value = "";
    $("size").value = String(SIZES.findIndex(({ w, h }) => same({ w, h })));
    if ($("size").selectedIndex < 0) $("size").value = "";
    const area = Number(picture.w) * Number(picture.h);
    $("megapixels").textContent = area > 0 ? pixels(area) : "";
    $("cmap-name").textContent = picture.cmap;
  }

  function changed(isChoice) {
    clear();
    describe();
    on.onChange(isChoice);
  }

  function clear() {
    for (const error of errors) error.textContent = "";
    for (const marked of form.querySelectorAll("[aria-invalid]")) marked.removeAttribute("aria-invalid");
  }

  /** Shows what is wrong beside its field, or above the button. @param {{ field?: string, message: string }} mistake */
  function complain({ field = "", message }, { focus = false } = {}) {
    const known = ALIASES[field] ?? field;
    const names = INPUTS[known] ?? [];
    const text = names.length ? message.replace(new RegExp(`^${field}: `), "") : message;
    $(names.length ? `error-${known}` : "error-form").textContent = text.charAt(0).toUpperCase() + text.slice(1);
    // A choice among radios cannot be wrong by hand.
    const typed = names.filter((name) => TEXTS.includes(name)).map(input);
    if (!typed.length) return;
    for (const one of typed) one.setAttribute("aria-invalid", "true");
    const more = /** @type {HTMLDetailsElement | null} */ (typed[0].closest("details"));
    if (more) more.open = true;
    if (focus) typed[0].focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    on.onSubmit();
  });
  form.addEventListener("input", (event) => {
    const target = /** @type {HTMLInputElement} */ (event.target);
    // -0.8+0.156i may be pasted into the field of the real part.
    const pair = { cre: "cim", xre: "xim" }[target.name];
    const both = pair && /[ij]\s*$/.test(target.value) ? split(target.value) : null;
    if (both) [target.value, input(pair).value] = both;
    if (TEXTS.includes(target.name) || target.name === "cmap") changed(target.type === "radio" || target.type === "color");
  });
  $("preset").addEventListener("change", () => {
    const set = SETS[Number($("preset").value)];
    if (!set || $("preset").value === "") return;
    write({ ...read(), xre: "0", xim: "0", width: "4", ...set.picture });
    changed(true);
  });
  $("size").addEventListener("change", () => {
    const size = SIZES[Number($("size").value)];
    if (!size || $("size").value === "") return;
    write({ ...read(), w: size.w, h: size.h });
    changed(true);
  });
  const scale = (factor) => () => {
    const iterations = Number(input("iter").value) * factor;
    if (!Number.isFinite(iterations)) return;
    input("iter").value = String(Math.min(1e9, Math.max(1, Math.round(iterations))));
    changed(true);
  };
  $("iter-half").addEventListener("click", scale(0.5));
  $("iter-twice").addEventListener("click", scale(2));

  return { read, write, clear, complain };
}

/** The lists that the markup leaves to the data. */
function fill($) {
  SETS.forEach((set, i) => $("preset").append(new Option(set.name, String(i))));
  SIZES.forEach(({ name }, i) => $("size").append(new Option(name, String(i))));
  for (const name of CMAPS) {
    const label = document.createElement("label");
    label.className = "swatch";
    label.dataset.cmap = name;
    label.title = name;
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "cmap", value: name });
    radio.setAttribute("aria-label", name);
    label.append(radio);
    $("cmaps").append(label);
  }
}

