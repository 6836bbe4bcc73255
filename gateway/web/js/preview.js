// The picture of a render while it arrives: one request at a time, at most two a second.

import { blob } from "./api.js";

const GAP_MS = 500;

/** @param {{ onPicture: (blob: Blob) => void, width: () => number }} listener */
export function createPreview(listener) {
  let ends = new AbortController();
  let isBusy = false;
  let wanted = null;
  let last = 0;
  let timer = 0;

  async function fetchNow() {
    if (isBusy || !wanted || document.hidden) return;
    const early = last + GAP_MS - performance.now();
    if (early > 0) {
      clearTimeout(timer);
      timer = window.setTimeout(fetchNow, early);
      return;
    }
    const [link, signal] = [wanted, ends.signal];
    wanted = null;
    isBusy = true;
    last = performance.now();
    // A preview that does not come is no reason to say anything: the next one will.
    const bytes = await blob(`${link}?width=${listener.width()}`, signal).catch(() => null);
    isBusy = false;
    if (bytes && !signal.aborted) listener.onPicture(bytes);
    fetchNow();
  }

  return {
    /** Something of this render is new. @param {import("./api.js").Render} render */
    refresh(render) {
      wanted = render.links.preview;
      fetchNow();
    },
    /** No preview is shown from now on, not even one that is on its way. */
    stop() {
      ends.abort();
      ends = new AbortController();
      wanted = null;
      clearTimeout(timer);
    },
  };
}
