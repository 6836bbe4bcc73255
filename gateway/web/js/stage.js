// The frame that the picture is seen in. Holds what was drawn last as layers that know their view, so that a moved or zoomed view shows
// them in their new place at once, until sharper ones arrive.

import { viewOf } from "./plane.js";

/** @typedef {import("./picture.js").Picture} Picture */

/** @param {HTMLElement} frame */
export function createStage(frame) {
  /** @type {{ image: HTMLImageElement, view: import("./plane.js").View, url: string, order: number }[]} */
  let layers = [];
  let view = { x: 0, y: 0, width: 4, aspect: 1.5 };
  let order = 0;

  function place({ image, view: own }) {
    const scale = own.width / view.width;
    const dx = (own.x - view.x) / view.width;
    const dy = ((view.y - own.y) / view.width) * view.aspect;
    // A layer fills the frame where its view is the frame's; its shape may be another.
    image.style.transform = `translate(${dx * 100}%, ${dy * 100}%) scale(${scale}, ${(scale * view.aspect) / own.aspect})`;
  }

  function remove(layer) {
    layer.image.remove();
    if (layer.url.startsWith("blob:")) URL.revokeObjectURL(layer.url);
  }

  return {
    /** The frame shows this picture's view, in this picture's shape. @param {Picture} picture */
    look(picture) {
      const next = viewOf(picture);
      if (![next.x, next.y, next.width, next.aspect].every(Number.isFinite) || next.width <= 0 || next.aspect <= 0) return;
      view = next;
      frame.style.setProperty("--aspect", String(Math.min(20, Math.max(0.05, view.aspect))));
      layers.forEach(place);
    },

    /**
     * Shows an image of a picture's view once it is decoded, and forgets the ones below; false if it does not load, or was overtaken.
     * @param {string | Blob} source @param {Picture} picture @param {string} [alt]
     */
    async show(source, picture, alt = "") {
      const mine = ++order;
      const url = typeof source === "string" ? source : URL.createObjectURL(source);
      const image = new Image();
      image.className = "layer";
      image.draggable = false;
      image.alt = alt;
      image.src = url;
      const layer = { image, view: viewOf(picture), url, order: mine };
      const isDecoded = await image.decode().then(() => true, () => false);
      if (!isDecoded || layers.some((other) => other.order > mine)) {
        remove(layer);
        return false;
      }
      const below = layers;
      layers = [layer];
      place(layer);
      frame.append(image);
      frame.dataset.has = "picture";
      below.forEach(remove);
      return true;
    },

    /** Width of the frame in device pixels. */
    width: () => Math.round(frame.clientWidth * Math.min(2, window.devicePixelRatio || 1)),
  };
}
