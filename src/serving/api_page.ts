/**
 * An OpenAPI document as a page: routes, fields with their types and limits, answers.
 * @module
 */
import { html, raw } from "hono/html";

/** As much of JSON Schema as the server's schemas use. */
interface ApiSchema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, ApiSchema>>;
  readonly required?: readonly string[];
  readonly items?: ApiSchema;
  readonly anyOf?: readonly ApiSchema[];
  readonly oneOf?: readonly ApiSchema[];
  readonly allOf?: readonly ApiSchema[];
  readonly additionalProperties?: unknown;
  readonly [limit: string]: unknown;
}

interface ApiContent {
  readonly content?: Readonly<Record<string, { readonly schema?: ApiSchema }>>;
}

interface ApiOperation {
  readonly summary?: string;
  readonly requestBody?: ApiContent;
  readonly responses?: Readonly<Record<string, ApiContent & { readonly description?: string }>>;
}

/** As much of an OpenAPI document as the page shows. */
export interface ApiDocument {
  /** What it is about. */
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  /** Not empty where requests must bring a key. */
  readonly security?: readonly unknown[];
  /** Operations by path and method. */
  readonly paths: Readonly<Record<string, Readonly<Record<string, ApiOperation>>>>;
  /** Schemas by name. */
  readonly components?: { readonly schemas?: Readonly<Record<string, ApiSchema>> };
}

/** Limits that are shown beside a type, and how. */
const LIMITS: readonly (readonly [key: string, sign: string])[] = [
  ["minimum", "≥"],
  ["exclusiveMinimum", ">"],
  ["maximum", "≤"],
  ["exclusiveMaximum", "<"],
  ["minLength", "length ≥"],
  ["maxLength", "length ≤"],
  ["minItems", "items ≥"],
  ["maxItems", "items ≤"],
];

const STYLE = raw(`
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
details { border-top: 1px solid #8886; padding: .5rem 0; }
summary { cursor: pointer; }
code { font: 14px/1.5 ui-monospace, monospace; }
.method { display: inline-block; min-width: 4rem; font-weight: bold; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { border-top: 1px solid #8884; padding: .2rem .5rem; text-align: left; vertical-align: top; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } a { color: #8bf; } }
`);

type Html = ReturnType<typeof html>;

/** The page, whole: it needs no script, and nothing from anywhere else. */
export function apiPage({ info, security = [], paths, components }: ApiDocument): Html {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationPart(path, method, operation))
  );
  const schemas = Object.entries(components?.schemas ?? {}).map(([name, schema]) =>
    html`<details id="schema-${name}"><summary><code>${name}</code></summary>${
      schemaPart(schema)
    }</details>`
  );
  return html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>${info.title}: API</title>
        <style>${STYLE}</style>
      </head>
      <body>
    <h1>${info.title} ${info.version}</h1>
    <p>${info.description}. The same for programs: <a href="openapi.json">openapi.json</a></p>
    ${keyPart(security.length > 0)}
    <h2>Routes</h2>
    ${operations}
    <h2>Schemas</h2>
    ${schemas}
      </body>
    </html>
  `;
}

function keyPart(needsKey: boolean): Html | "" {
  return needsKey ? html`<p>Every request brings <code>Authorization: Bearer KEY</code>.</p>` : "";
}

function operationPart(path: string, method: string, operation: ApiOperation): Html {
  const answers = Object.entries(operation.responses ?? {}).map(([status, answer]) =>
    html`
      <tr>
        <td>${status}</td>
        <td>${answer.description ?? ""}</td>
        <td>${contentTypes(answer)}</td>
      </tr>
    `
  );
  return html`
    <details>
    <summary><span class="method">${method.toUpperCase()}</span> <code>${path}</code>
    ${operation.summary ?? ""}</summary>
    ${operation.requestBody === undefined
      ? ""
      : html`<p>Body: ${contentTypes(operation.requestBody)}</p>`}
    <table><tr><th>Status</th><th>Meaning</th><th>Body</th></tr>${answers}</table>
    </details>
  `;
}

function contentTypes({ content = {} }: ApiContent): Html[] {
  return Object.entries(content).map(([type, { schema }]) =>
    html`<code>${type}</code> ${schema === undefined ? "" : typePart(schema)}<br>`
  );
}

function schemaPart(schema: ApiSchema): Html {
  const { properties, required = [] } = schema;
  if (properties === undefined) return html`<p>${typePart(schema)}</p>`;
  const fields = Object.entries(properties).map(([name, field]) =>
    html`
      <tr>
        <td><code>${name}</code>${required.includes(name) ? " (required)" : ""}</td>
        <td>${typePart(field)}</td>
        <td>${field.description ?? ""}</td>
      </tr>
    `
  );
  return html`<table><tr><th>Field</th><th>Type</th><th></th></tr>${fields}</table>`;
}

/** A type in a few words; what has a name is a link to it. */
function typePart(schema: ApiSchema): Html {
  const name = schema.$ref?.split("/").at(-1);
  if (name !== undefined) return html`<a href="#schema-${name}">${name}</a>`;
  const either = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (either !== undefined) {
    return html`${either.map((one, index) => html`${index === 0 ? "" : " | "}${typePart(one)}`)}`;
  }
  if (schema.enum !== undefined || "const" in schema) {
    const values = schema.enum ?? [schema.const];
    return html`${values.map((value) => JSON.stringify(value)).join(" | ")}`;
  }
  const types = [schema.type ?? "any"].flat().join(" | ");
  const limits = LIMITS.filter(([key]) => schema[key] !== undefined)
    .map(([key, sign]) => `${sign} ${schema[key]}`);
  const shown = limits.length === 0 ? types : `${types} (${limits.join(", ")})`;
  return schema.items === undefined ? html`${shown}` : html`${shown} of ${typePart(schema.items)}`;
}
