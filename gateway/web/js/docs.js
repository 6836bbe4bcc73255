// The page of the interface: reads /openapi.json and shows its operations by tag, its schemas and its problems, each with an anchor, and a
// search over all of them. What a schema means stands in schema.js.

import { h, line, prose } from "./dom.js";
import { createSchemas } from "./schema.js";
import { copy } from "./share.js";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];
/** What stands for a group without a word of its own. */
const UNTAGGED = "other";
/** Statuses of problems, with what a caller does about them. */
const ADVICE = {
  400: "Mend the request; the detail names the part that cannot be read.",
  404: "Ask for the render first: a POST of its fields. It may have been forgotten.",
  405: "Use one of the methods that the header Allow names.",
  406: "Accept one of the types that the detail names.",
  408: "Send the body faster, or smaller.",
  409: "POST the fields again: it starts anew.",
  413: "Send less: a request is a few hundred bytes.",
  415: "Send JSON, with Content-Type: application/json.",
  416: "Ask for a range inside the file, or for all of it.",
  422: "Change the field that is named; the detail has the limit and the way out.",
  429: "Wait for as long as Retry-After says, then ask again.",
  500: "Report it with the request's id.",
  503: "Wait for as long as Retry-After says: the broker is away, or full.",
};

const content = document.getElementById("content");
const contents = document.getElementById("contents");
const toc = /** @type {HTMLDetailsElement} */ (document.getElementById("toc"));
const search = /** @type {HTMLInputElement} */ (document.getElementById("search"));

start().catch((error) => {
  content.replaceChildren(h("h1", {}, "The interface"), h("p", { class: "error", role: "alert" }, `openapi.json cannot be read: ${error.message}`));
});

async function start() {
  // Where the contents stand above the entries rather than beside them, they would be in the way.
  toc.open = window.matchMedia("(min-width: 900px)").matches;
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
  const spec = await answer.json();
  const operations = operationsOf(spec);
  draw(spec, operations);
  listen();
  // What the address names was not there when the page opened.
  goToHash();
}

/** All operations, in the order of the document: method, path, and what is said of them. */
function operationsOf(spec) {
  return Object.entries(spec.paths ?? {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const operation = item[method];
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])];
      return { ...operation, parameters, method, path, tag: operation.tags?.[0] ?? UNTAGGED, id: anchor(method, path) };
    }),
  );
}

const anchor = (method, path) => `${method}-${path.replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "") || "root"}`;

function draw(spec, operations) {
  const schemas = createSchemas(spec);
  const tags = [...new Set([...(spec.tags ?? []).map((tag) => tag.name), ...operations.map((operation) => operation.tag)])];
  const groups = tags.map((tag) => ({
    name: tag, id: `tag-${tag}`, text: spec.tags?.find((other) => other.name === tag)?.description,
    operations: operations.filter((operation) => operation.tag === tag),
  })).filter((group) => group.operations.length);
  const named = Object.entries(spec.components?.schemas ?? {});
  const problems = problemsOf(operations, schemas);

  content.replaceChildren(
    h("h1", {}, spec.info?.title ?? "The interface", spec.info?.version ? h("small", {}, ` ${spec.info.version}`) : null),
    ...prose(spec.info?.description ?? "", { class: "lead" }),
    ...groups.map((group) => h("section", { id: group.id, "aria-labelledby": `${group.id}-title` },
      h("h2", { id: `${group.id}-title` }, group.name),
      ...prose(group.text ?? ""),
      ...group.operations.map((operation) => drawOperation(operation, schemas)))),
    named.length ? h("section", { id: "schemas" }, h("h2", {}, "Schemas"), ...named.map(([name, schema]) => drawSchema(name, schema, schemas))) : "",
    problems.length ? h("section", { id: "problems" }, h("h2", {}, "Problems"),
      h("p", {}, "What is not a success is answered in application/problem+json (RFC 9457): a title, a detail with the way out, the field where there is one, and the request's id."),
      ...problems.map(drawProblem)) : "",
    h("p", { id: "nothing", hidden: true }, "Nothing matches."),
  );
  contents.replaceChildren(
    ...groups.map((group) => h("section", {}, h("h2", {}, group.name), h("ul", {}, ...group.operations.map((operation) =>
      h("li", { "data-for": operation.id }, h("a", { href: `#${operation.id}`, title: `${operation.method.toUpperCase()} ${operation.path}` },
        method(operation.method), h("span", {}, operation.summary || operation.path))))))),
    list("Schemas", named.map(([name]) => [`schema-${name}`, name])),
    list("Problems", problems.map(({ status, title }) => [`problem-${status}`, `${status} ${title}`])),
  );
}

function list(title, entries) {
  if (!entries.length) return "";
  return h("section", {}, h("h2", {}, title), h("ul", {}, ...entries.map(([id, text]) => h("li", { "data-for": id }, h("a", { href: `#${id}` }, h("span", {}, text))))));
}

const method = (name) => h("b", { class: `method ${name}` }, name.toUpperCase());

/** A heading that can be linked to. */
const heading = (level, id, ...inside) => h(`h${level}`, {}, ...inside, h("a", { class: "here", href: `#${id}`, "aria-label": "Link to this part" }, "#"));

function drawOperation(operation, schemas) {
  const { id, path, parameters } = operation;
  const body = schemas.resolve(operation.requestBody);
  const known = parameters.map((parameter) => schemas.resolve(parameter)).filter(Boolean);
  return h("article", { id, class: "entry", "data-words": words(operation.summary, operation.description, operation.method, path, operation.operationId) },
    heading(3, id, operation.summary || `${operation.method.toUpperCase()} ${path}`, operation.deprecated ? h("small", {}, " deprecated") : null),
    h("p", { class: "path" }, method(operation.method), h("code", {}, ...slashed(path))),
    ...prose(operation.description ?? ""),
    known.length ? [h("h4", {}, "Parameters"), table(known.map((parameter) => ({
      name: parameter.name, note: parameter.in, schema: parameter.schema ?? {}, isRequired: parameter.required,
      text: parameter.description, example: parameter.example,
    })), schemas)] : null,
    body ? [h("h4", {}, "Body", body.required ? null : h("small", {}, " optional")), ...prose(body.description ?? ""), ...media(body.content, schemas)] : null,
    h("h4", {}, "Answers"),
    h("ul", { class: "answers" }, ...Object.entries(operation.responses ?? {}).map(([status, response]) => drawAnswer(status, schemas.resolve(response) ?? {}, schemas))),
    h("h4", {}, "curl"),
    command(curlOf(operation, known, body, schemas)),
  );
}

/** A path that may break where a line ends. */
const slashed = (path) => path.split(/(?<=\/)/).flatMap((part) => [part, h("wbr")]);

function drawAnswer(status, response, schemas) {
  const kinds = Object.entries(response.content ?? {});
  const headers = Object.entries(response.headers ?? {});
  return h("li", {},
    h("span", { class: `status s${status[0]}` }, status),
    h("div", {}, h("p", {}, ...line(response.description ?? "")),
      kinds.length ? h("p", { class: "kinds" }, ...kinds.flatMap(([kind, of], i) => [i ? ", " : "", type(of.schema, schemas), " ", h("small", {}, kind)])) : null,
      headers.length ? h("p", { class: "kinds" }, h("small", {}, "Headers: "), ...headers.flatMap(([name, header], i) => [i ? ", " : "", h("code", { title: schemas.resolve(header)?.description ?? "" }, name)])) : null));
}

/** The bodies of a request, by media type: a named one is linked, and its fields shown all the same. */
function media(content, schemas) {
  return Object.entries(content ?? {}).flatMap(([kind, of]) => [
    h("p", { class: "kinds" }, type(of.schema, schemas), " ", h("small", {}, kind)),
    schemas.fields(of.schema).length ? table(rowsOf(of.schema, schemas), schemas) : null,
  ]);
}

const rowsOf = (schema, schemas) => schemas.fields(schema).map((field) => ({ ...field, text: schemas.flat(field.schema).description }));

function table(rows, schemas) {
  return h("ul", { class: "fields-of" }, ...rows.map((row) => {
    const values = schemas.values(row.schema);
    const rules = schemas.rules(row.schema);
    const own = schemas.flat(row.schema);
    const sample = row.example ?? own.example ?? own.examples?.[0];
    return h("li", {},
      h("p", { class: "name" }, h("code", {}, row.name), row.note ? h("small", {}, row.note) : null,
        row.isRequired ? h("span", { class: "must" }, "required") : null, h("span", { class: "kind" }, type(row.schema, schemas))),
      h("div", {}, ...prose(row.text ?? ""),
        values.length ? h("p", { class: "values" }, ...values.flatMap((value) => [h("code", {}, typeof value === "string" ? value : JSON.stringify(value)), " "])) : null,
        rules.length || sample !== undefined ? h("p", { class: "rules" }, [...rules, ...(sample !== undefined ? [`for example ${typeof sample === "string" ? sample : JSON.stringify(sample)}`] : [])].join("; ")) : null));
  }));
}

function type(schema, schemas) {
  const parts = schemas.pieces(schema ?? {}).map(({ text, ref }) => (ref ? h("a", { href: `#schema-${ref}` }, text) : text));
  return h("span", { class: "type" }, ...parts);
}

function drawSchema(name, node, schemas) {
  const id = `schema-${name}`;
  const schema = schemas.flat(node);
  const rows = rowsOf(node, schemas);
  const values = schemas.values(node);
  return h("article", { id, class: "entry", "data-words": words(name, schema.description, ...rows.map((row) => row.name)) },
    heading(3, id, h("code", {}, name)),
    ...prose(schema.description ?? ""),
    rows.length ? table(rows, schemas) : h("p", { class: "kinds" }, type({ ...node, description: undefined }, schemas)),
    !rows.length && values.length ? h("p", { class: "values" }, ...values.flatMap((value) => [h("code", {}, String(value)), " "])) : null,
    !rows.length && schemas.rules(node).length ? h("p", { class: "rules" }, schemas.rules(node).join("; ")) : null,
    rows.length ? h("details", {}, h("summary", {}, "Example"), command(JSON.stringify(schemas.example(node), null, 2))) : null);
}

/** The statuses that any operation answers with a problem, and those that need no operation. */
function problemsOf(operations, schemas) {
  const found = new Map();
  for (const operation of operations) {
    for (const [status, node] of Object.entries(operation.responses ?? {})) {
      const response = schemas.resolve(node) ?? {};
      if (!Object.keys(response.content ?? {}).some((kind) => kind.includes("problem"))) continue;
      found.set(status, [...(found.get(status) ?? []), { operation, text: response.description }]);
    }
  }
  for (const status of ["405", "413", "429", "503"]) if (!found.has(status)) found.set(status, []);
  const titles = { 400: "Malformed", 404: "Not found", 405: "Method not allowed", 406: "Not acceptable", 408: "Timeout", 409: "No picture", 413: "Too large", 415: "Unsupported media type", 416: "Range not satisfiable", 422: "Invalid field", 429: "Too many requests", 503: "Not available now" };
  return [...found].sort(([a], [b]) => a.localeCompare(b)).map(([status, uses]) => ({ status, uses, title: titles[status] ?? "" }));
}

function drawProblem({ status, uses, title }) {
  const id = `problem-${status}`;
  return h("article", { id, class: "entry", "data-words": words(status, title, ADVICE[status], ...uses.map((use) => use.text)) },
    heading(3, id, h("span", { class: `status s${status[0]}` }, status), ` ${title}`),
    ADVICE[status] ? h("p", {}, ADVICE[status]) : null,
    uses.length ? h("ul", { class: "uses" }, ...uses.map(({ operation, text }) => h("li", {},
      h("a", { href: `#${operation.id}` }, method(operation.method), h("code", {}, operation.path)), text ? ` ${text}` : ""))) : h("p", {}, h("small", {}, "Any operation may answer so.")));
}

/** A command that works as it stands, against the gateway that serves this page. */
function curlOf(operation, parameters, body, schemas) {
  const value = (parameter) => parameter.example ?? schemas.example(parameter.schema ?? {}) ?? "…";
  const path = parameters.filter((parameter) => parameter.in === "path")
    .reduce((text, parameter) => text.replace(`{${parameter.name}}`, value(parameter) === "…" ? parameter.name.toUpperCase() : String(value(parameter))), operation.path);
  const query = parameters.filter((parameter) => parameter.in === "query" && (parameter.required || parameter.example !== undefined))
    .map((parameter) => `${parameter.name}=${encodeURIComponent(String(value(parameter) === "…" ? parameter.name.toUpperCase() : value(parameter)))}`).join("&");
  const kind = Object.keys(body?.content ?? {})[0];
  const lines = [`curl${operation.method === "get" ? "" : ` -X ${operation.method.toUpperCase()}`} '${location.origin}${path}${query ? `?${query}` : ""}'`];
  if (kind) {
    const sample = body.content[kind].example ?? schemas.example(body.content[kind].schema);
    lines.push(`-H 'Content-Type: ${kind}'`, `-d '${JSON.stringify(sample).replaceAll("'", "'\\''")}'`);
  }
  const answers = Object.values(operation.responses ?? {}).map((response) => Object.keys(schemas.resolve(response)?.content ?? {})[0] ?? "");
  if (answers[0]?.startsWith("image/")) lines.push("-o julia.png");
  if (answers[0] === "text/event-stream") lines[0] = lines[0].replace("curl", "curl -N");
  return lines.join(" \\\n  ");
}

/** Text to copy, with a button that does. */
function command(text) {
  const button = h("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", async () => {
    if (await copy(text)) button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return h("div", { class: "command" }, h("pre", { tabindex: "0" }, h("code", {}, text)), button);
}

const words = (...texts) => texts.filter(Boolean).join(" ").toLowerCase();

function listen() {
  search.addEventListener("input", filter);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") [search.value = "", filter()];
    if (event.key !== "Enter" && event.key !== "ArrowDown") return;
    event.preventDefault();
    const first = /** @type {HTMLElement | null} */ (contents.querySelector("li:not([hidden]) a"));
    if (event.key === "Enter") first?.click();
    first?.focus();
  });
  contents.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const links = /** @type {HTMLElement[]} */ ([...contents.querySelectorAll("li:not([hidden]) a")]);
    const at = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    event.preventDefault();
    if (at + step < 0) search.focus();
    else links[Math.min(links.length - 1, at + step)].focus();
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = /** @type {HTMLElement} */ (event.target).closest("input, textarea");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    search.focus();
  });
  window.addEventListener("hashchange", goToHash);
}

/** Leaves what has all the words that were typed. */
function filter() {
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  if (wanted.length) toc.open = true;
  for (const entry of /** @type {NodeListOf<HTMLElement>} */ (content.querySelectorAll(".entry"))) {
    entry.hidden = !wanted.every((word) => entry.dataset.words.includes(word));
    left += entry.hidden ? 0 : 1;
    const link = /** @type {HTMLElement | null} */ (contents.querySelector(`[data-for="${CSS.escape(entry.id)}"]`));
    if (link) link.hidden = entry.hidden;
  }
  for (const section of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#content > section"))) section.hidden = !section.querySelector(".entry:not([hidden])");
  for (const section of /** @type {NodeListOf<HTMLElement>} */ (contents.querySelectorAll("section"))) section.hidden = !section.querySelector("li:not([hidden])");
  document.getElementById("nothing").hidden = left > 0;
  document.getElementById("found").textContent = wanted.length ? `${left} found` : "";
}

/** Goes to what the address names, also while a search hides it. */
function goToHash() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !content.contains(target)) return;
  if (target.closest("[hidden]") || target.hidden) [search.value = "", filter()];
  target.scrollIntoView();
  for (const link of contents.querySelectorAll("a")) link.toggleAttribute("aria-current", link.hash === location.hash);
}
