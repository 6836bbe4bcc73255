// The renders of this visit as a strip of thumbnails, kept for as long as the tab is open where the browser allows it.

import { complex, fromRequest } from "./picture.js";

const KEPT_MAX = 24;
const STORE = "fractally-visit";

/** @typedef {{ id: string, preview: string, request: import("./api.js").RenderRequest }} Kept */

/** @param {{ onOpen: (picture: import("./picture.js").Picture) => void }} on */
export function createStrip(on) {
  const list = document.getElementById("strip");
  const empty = document.getElementById("visit-empty");
  /** @type {Kept[]} */
  let kept = load();
  kept.slice().reverse().forEach(put);

  function put(render) {
    const picture = fromRequest(render.request);
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button", className: "thumb" });
    button.dataset.cmap = picture.cmap;
    button.dataset.id = render.id;
    const name = `c = ${complex(picture.cre, picture.cim)}, ${picture.w} × ${picture.h}, ${picture.cmap}`;
    button.title = name;
    const image = Object.assign(document.createElement("img"), { alt: name, width: 96, height: 64, src: `${render.preview}?width=96` });
    // The grid may have forgotten it; then its colours stand for it.
    image.addEventListener("error", () => image.classList.add("lost"));
    button.append(image);
    button.addEventListener("click", () => on.onOpen(picture));
    item.append(button);
    list.prepend(item);
    empty.hidden = true;
  }

  return {
    /** @param {import("./api.js").Render} render one that is done */
    add(render) {
      if (kept[0]?.id === render.id) return;
      list.querySelector(`[data-id="${render.id}"]`)?.closest("li").remove();
      const entry = { id: render.id, preview: render.links.preview, request: render.request };
      kept = [entry, ...kept.filter(({ id }) => id !== render.id)].slice(0, KEPT_MAX);
      put(entry);
      while (list.children.length > KEPT_MAX) list.lastElementChild.remove();
      list.scrollTo({ left: 0 });
      store(kept);
    },
  };
}

function load() {
  try {
    const entries = JSON.parse(sessionStorage.getItem(STORE) ?? "[]");
    return entries.filter((entry) => entry?.id && entry.preview && entry.request).slice(0, KEPT_MAX);
  } catch {
    return [];
  }
}

function store(kept) {
  try {
    sessionStorage.setItem(STORE, JSON.stringify(kept));
  } catch {
    // The strip then lives as long as the page.
  }
}
