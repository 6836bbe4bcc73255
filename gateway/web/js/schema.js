// Schemas of OpenAPI 3.1 (JSON Schema 2020-12) for people: what a type is called, which fields it has, and an example of it. Pure functions
// over the document; cycles and missing parts are met with patience.

/** @param {any} document */
export function createSchemas(document) {
  /** What a `$ref` inside the document points to, through several of them; null where nothing is. */
  function resolve(node, depth = 0) {
    if (!node || typeof node !== "object") return node === true ? {} : null;
    if (typeof node.$ref !== "string") return node;
    if (depth > 16 || !node.$ref.startsWith("#/")) return null;
    const steps = node.$ref.slice(2).split("/").map((step) => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~"));
    const found = resolve(steps.reduce((at, step) => at?.[step], document), depth + 1);
    // In 3.1 words may stand beside a reference.
    const { $ref, ...beside } = node;
    return found && Object.keys(beside).length ? { ...found, ...beside } : found;
  }

  /** The name of a component that a node refers to, or none. */
  const nameOf = (node) => /^#\/components\/schemas\/([^/]+)$/.exec(node?.$ref ?? "")?.[1] ?? "";

  /** A schema with the parts of its `allOf` put together. */
  function flat(node, depth = 0) {
    const schema = resolve(node);
    if (!schema || !Array.isArray(schema.allOf) || depth > 16) return schema ?? {};
    const { allOf, ...own } = schema;
    return [...allOf.map((part) => flat(part, depth + 1)), own].reduce((all, part) => ({
      ...all, ...part,
      properties: { ...all.properties, ...part.properties },
      required: [...(all.required ?? []), ...(part.required ?? [])],
    }), {});
  }

  const typesOf = (schema) => (Array.isArray(schema.type) ? schema.type : schema.type ? [schema.type] : schema.properties ? ["object"] : []);
  const isNull = (node) => resolve(node)?.type === "null";
  const choices = (schema) => schema.oneOf ?? schema.anyOf ?? null;

  /**
   * A type as pieces of text, those with `ref` naming a component: `[{ text: "array of " }, { text: "Render", ref: "Render" }]`.
   * @returns {{ text: string, ref?: string }[]}
   */
  function pieces(node, depth = 0) {
    const ref = nameOf(node);
    if (ref) return [{ text: ref, ref }];
    const schema = resolve(node);
    if (!schema || depth > 8) return [{ text: "any" }];
    const of = choices(schema);
    if (of) return joined(of.filter((part) => !isNull(part)).map((part) => pieces(part, depth + 1)), of.some(isNull));
    if (schema.allOf) {
      const parts = schema.allOf.filter((part) => nameOf(part));
      return parts.length ? joined(parts.map((part) => pieces(part, depth + 1)), false, " and ") : [{ text: "object" }];
    }
    if (schema.const !== undefined) return [{ text: JSON.stringify(schema.const) }];
    const types = typesOf(schema);
    const plain = types.filter((type) => type !== "null");
    const named = plain.map((type) => (type === "array" ? list(schema, depth) : [{ text: word(schema, type) }]));
    return named.length ? joined(named, types.includes("null")) : [{ text: schema.enum ? "one of the names" : "any" }];
  }

  function list(schema, depth) {
    const count = schema.minItems !== undefined && schema.minItems === schema.maxItems ? `${schema.minItems} x ` : "";
    if (schema.prefixItems) return [{ text: "[" }, ...joined(schema.prefixItems.map((item) => pieces(item, depth + 1)), false, ", "), { text: "]" }];
    return [{ text: `array of ${count}` }, ...pieces(schema.items ?? {}, depth + 1)];
  }

  function word(schema, type) {
    if (type === "object" && schema.additionalProperties && typeof schema.additionalProperties === "object") return "map";
    return schema.format && !/^u?int\d+$|^double$|^float$/.test(schema.format) ? `${type} (${schema.format})` : type;
  }

  function joined(lists, isNullable, by = " or ") {
    const all = isNullable ? [...lists, [{ text: "null" }]] : lists;
    return all.flatMap((list, i) => (i ? [{ text: by }, ...list] : list));
  }

  /** The rules of a schema, beside its type: a few words each. */
  function rules(node) {
    const schema = flat(node);
    const found = [];
    const say = (name, text) => schema[name] !== undefined && found.push(text(schema[name]));
    say("minimum", (n) => `from ${n}`);
    say("exclusiveMinimum", (n) => `above ${n}`);
    say("maximum", (n) => `up to ${n}`);
    say("exclusiveMaximum", (n) => `below ${n}`);
    say("minLength", (n) => `at least ${n} characters`);
    say("maxLength", (n) => `at most ${n} characters`);
    if (schema.minItems !== schema.maxItems) {
      say("minItems", (n) => `at least ${n} items`);
      say("maxItems", (n) => `at most ${n} items`);
    }
    say("pattern", (text) => `matches ${text}`);
    say("default", (value) => `default ${JSON.stringify(value)}`);
    if (schema.deprecated) found.push("deprecated");
    if (schema.readOnly) found.push("read only");
    return found;
  }

  /** The values of an enum, also one spelled as a choice of constants. */
  function values(node) {
    const schema = flat(node);
    if (Array.isArray(schema.enum)) return schema.enum;
    const of = choices(schema)?.map((part) => resolve(part) ?? {});
    return of?.length && of.every((part) => part.const !== undefined || part.enum?.length === 1)
      ? of.map((part) => part.const ?? part.enum[0])
      : (typesOf(schema).includes("array") && schema.items && !nameOf(schema.items) ? values(schema.items) : []);
  }

  /** The fields of an object, or of what an array holds: name, schema, and whether it must be there. */
  function fields(node) {
    const schema = flat(node);
    const inner = typesOf(schema).includes("array") && schema.items ? flat(schema.items) : schema;
    const required = new Set(inner.required ?? []);
    return Object.entries(inner.properties ?? {}).map(([name, property]) => ({ name, schema: property, isRequired: required.has(name) }));
  }

  /** A value that the schema allows: its example or default where it has one. */
  function example(node, depth = 0) {
    const schema = flat(node);
    if (schema.example !== undefined) return schema.example;
    if (Array.isArray(schema.examples) && schema.examples.length) return schema.examples[0];
    if (schema.default !== undefined) return schema.default;
    if (schema.const !== undefined) return schema.const;
    if (schema.enum?.length) return schema.enum[0];
    if (depth > 5) return null;
    const of = choices(schema)?.find((part) => !isNull(part));
    if (of) return example(of, depth + 1);
    switch (typesOf(schema).find((type) => type !== "null")) {
      case "object": return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, part]) => [name, example(part, depth + 1)]));
      case "array": return Array.from({ length: Math.min(schema.minItems ?? 1, 4) }, () => example(schema.items ?? {}, depth + 1));
      case "integer": case "number": return schema.minimum ?? 0;
      case "boolean": return true;
      case "string": return "…";
      default: return null;
    }
  }

  return { resolve, flat, nameOf, pieces, rules, values, fields, example };
}
