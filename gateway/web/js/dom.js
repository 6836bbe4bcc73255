// Elements in one call. Text is text: nothing here parses HTML.

/**
 * `h("p", { class: "lead" }, "text", h("b", {}, "bold"))`. Attributes that are null or false are left out.
 * @param {string} tag @param {Record<string, any>} [attributes] @param {any[]} children nodes and texts, in lists or not; what is empty is left out
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Text in which `words in backticks` are code and an empty line begins a paragraph. Returns paragraphs. */
export function prose(text, attributes = {}) {
  const paragraphs = String(text ?? "").trim().split(/\n\s*\n/).filter(Boolean);
  return paragraphs.map((paragraph) => h("p", attributes, ...line(paragraph)));
}

/** The same for one line. */
export const line = (text) => String(text ?? "").split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
