// What can be copied of a picture: its address, the commands that fetch it without a browser, and its JSON.

import { toHash, toRequest } from "./picture.js";

/** @param {import("./picture.js").Picture} picture */
export const link = (picture) => `${location.origin}/${toHash(picture)}`;

/**
 * Two commands for a shell: one asks, one waits for the picture and writes it.
 * @param {import("./picture.js").Picture} picture
 */
export function curl(picture) {
  const body = JSON.stringify(toRequest(picture)).replaceAll("'", "'\\''");
  return [
    `render=$(curl -fsS -o /dev/null -w '%header{location}' ${location.origin}/api/v1/renders \\`,
    `  -H 'Content-Type: application/json' -d '${body}')`,
    `curl -fsS "${location.origin}$render/image" -o julia.png`,
    "",
  ].join("\n");
}

/** The render as the gateway tells it, or, before there is one, the body that asks for it. */
export const json = (picture, render) => `${JSON.stringify(render ?? toRequest(picture), null, 2)}\n`;

/** Puts a text on the clipboard, or shows it to be copied by hand: plain HTTP on a LAN has no clipboard of its own. */
export async function copy(text) {
  const isCopied = (await modern(text)) || old(text);
  if (!isCopied) show(text);
  return isCopied;
}

async function modern(text) {
  if (!navigator.clipboard) return false;
  return navigator.clipboard.writeText(text).then(() => true, () => false);
}

function old(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text, className: "unseen", readOnly: true });
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  document.body.append(area);
  area.select();
  let isCopied = false;
  try {
    isCopied = document.execCommand("copy");
  } catch {
    // Shown instead.
  }
  area.remove();
  before?.focus();
  return isCopied;
}

function show(text) {
  const dialog = document.createElement("dialog");
  const close = Object.assign(document.createElement("button"), { className: "primary", textContent: "Close" });
  const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, rows: 8 });
  area.setAttribute("aria-label", "Text to copy");
  const form = Object.assign(document.createElement("form"), { method: "dialog" });
  form.append(area, close);
  dialog.append(form);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  area.select();
}
