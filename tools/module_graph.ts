/**
 * The module graph of the project, and the rules that its imports keep (DESIGN: layers).
 * @module
 */

/** One module importing another; paths are relative to the project's root. */
export interface ImportEdge {
  /** Module that imports. */
  readonly from: string;
  /** Module that is imported. */
  readonly to: string;
  /** Only types are taken, so that nothing is imported when the program runs. */
  readonly typeOnly: boolean;
}

/** Every import between files of the project. */
export interface ModuleGraph {
  /** Imports, types and dynamic ones included. */
  readonly edges: readonly ImportEdge[];
  /** Modules that export `rankMain` and are started as ranks. */
  readonly rankEntries: readonly string[];
}

/** A layer imports its own files and layers with a lower number only. */
const LAYERS: Readonly<Record<string, number>> = {
  native: 0,
  tensor: 1,
  distributed: 2,
  layers: 3,
  models: 4,
  text: 4,
  engine: 5,
  planner: 5,
  routing: 6,
  serving: 7,
  cli: 8,
};

/** Layers that may use fewer of the others than their number allows. */
const NARROWER: Readonly<Record<string, readonly string[]>> = {
  text: [],
  routing: [],
  planner: ["models", "tensor"],
};

/** Folders and files outside `src` that sources may import: data that travels with the module. */
const IMPORTABLE_DATA = ["native/", "deno.json"];

/** One line for each import that breaks a rule; none when the architecture holds. */
export function brokenLayerRules(graph: ModuleGraph): string[] {
  const broken: string[] = [];
  for (const edge of graph.edges) {
    if (!edge.from.startsWith("src/")) continue;
    const reason = reasonAgainst(edge, graph.rankEntries);
    if (reason !== null) broken.push(`${edge.from} imports ${edge.to}: ${reason}`);
  }
  return broken;
}

function reasonAgainst(edge: ImportEdge, rankEntries: readonly string[]): string | null {
  const { from, to, typeOnly } = edge;
  if (!to.startsWith("src/")) {
    return IMPORTABLE_DATA.some((data) => to.startsWith(data)) ? null : "it lies outside src";
  }
  if (rankEntries.includes(to) && !typeOnly) return "rank entries are started by URL";
  const [importer, imported] = [layerOf(from), layerOf(to)];
  if (!(importer in LAYERS)) return `${importer} is no layer`;
  if (!(imported in LAYERS)) return `${imported} is no layer`;
  if (importer === imported) return null;
  if (LAYERS[importer] < LAYERS[imported]) return `${importer} is below ${imported}`;
  if (LAYERS[importer] === LAYERS[imported]) return `${importer} is beside ${imported}`;
  const allowed = NARROWER[importer];
  return allowed && !allowed.includes(imported) ? `${importer} must not need ${imported}` : null;
}

function layerOf(path: string): string {
  return path.split("/")[1];
}

interface DenoInfo {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string };
      readonly type?: { readonly specifier?: string };
    }[];
  }[];
}

/** Reads the graph of `mod.ts` and of every source that it does not reach, from `deno info --json`. */
export async function readModuleGraph(root: URL): Promise<ModuleGraph> {
  const sources = await listSources(root, "src/");
  const edges: ImportEdge[] = [];
  const seen = new Set<string>();
  for (const start of ["mod.ts", ...sources]) {
    if (seen.has(start)) continue;
    for (const module of (await denoInfo(new URL(start, root))).modules) {
      const from = relative(module.specifier, root);
      if (from === null || seen.has(from)) continue;
      seen.add(from);
      for (const { code, type } of module.dependencies ?? []) {
        const specifier = code?.specifier ?? type?.specifier;
        const to = specifier === undefined ? null : relative(specifier, root);
        if (to !== null) edges.push({ from, to, typeOnly: code === undefined });
      }
    }
  }
  const rankEntries: string[] = [];
  for (const path of sources) {
    const text = await Deno.readTextFile(new URL(path, root));
    if (/^export (async )?(function|const) rankMain\b/m.test(text)) rankEntries.push(path);
  }
  return { edges, rankEntries };
}

function relative(specifier: string, root: URL): string | null {
  return specifier.startsWith(root.href) ? specifier.slice(root.href.length) : null;
}

async function listSources(root: URL, folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(new URL(folder, root))) {
    if (entry.isDirectory) found.push(...await listSources(root, `${folder}${entry.name}/`));
    else if (entry.name.endsWith(".ts")) found.push(`${folder}${entry.name}`);
  }
  return found.sort();
}

async function denoInfo(module: URL): Promise<DenoInfo> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", module.href],
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) {
    throw new Error(`Cannot read imports of ${module}: ${new TextDecoder().decode(stderr)}`);
  }
  return JSON.parse(new TextDecoder().decode(stdout));
}
