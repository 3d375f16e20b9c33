/**
 * The small model that ships with weft and is served when no other is named.
 * @module
 */
import type { Logger } from "./log.ts";

/** SHA-256 of each file of the demo model. */
export const DEMO_MODEL_FILES: Readonly<Record<string, string>> = {
  "config.json": "901ff0105c22d32d94b6fb10312c2053073ce83aa55dbd228494433e66492d9c",
  "generation_config.json": "97d65f20f112d6455c3c2cd69035ac63027b1c6a8ad0af93b1bc2e849f80303a",
  "model.safetensors": "8b7b7c159c74347bb7377d8d05d232f09773973c9ae5345dda76b3a67d8fbc5a",
  "tokenizer.json": "431b5c921a6064736860da5a5a0932dd53856256e669f44ead68cf56afbe5c97",
  "tokenizer_config.json": "951f85a49f2322d2d602322058a90cf4fed8c60106f23255d3d52250288aa929",
};

/** Options of {@linkcode demoModelFolder}. */
export interface DemoModelOptions {
  /** Where the model ships: a `file:` or `https:` URL that ends with a slash. */
  readonly source?: string;
  /** Folder that keeps what is fetched; called only when the source is remote. */
  readonly cacheFolder: () => string;
  /** Takes events. */
  readonly log: Logger;
}

/**
 * Folder of the demo model: beside the module when that is on disk; otherwise it is fetched once
 * from where the module came from, checked by SHA-256, and kept in the cache. Throws when a file
 * cannot be fetched or is not the one that ships with this version.
 */
export async function demoModelFolder(options: DemoModelOptions): Promise<string> {
  const { source = import.meta.resolve("../../models/demo/"), cacheFolder, log } = options;
  if (source.startsWith("file:")) return decodeURIComponent(new URL(source).pathname).slice(0, -1);
  const version = DEMO_MODEL_FILES["model.safetensors"].slice(0, 16);
  const folder = `${cacheFolder()}/demo-${version}`;
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  for (const [name, digest] of Object.entries(DEMO_MODEL_FILES)) {
    const path = `${folder}/${name}`;
    if (await digestOf(path) === digest) continue;
    log.info(`fetching ${source}${name}`);
    await fetchFile(`${source}${name}`, { path, digest });
  }
  return folder;
}

async function digestOf(path: string): Promise<string | null> {
  try {
    return await sha256(await Deno.readFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function fetchFile(url: string, target: { path: string; digest: string }): Promise<void> {
  const response = await fetch(url);
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`Cannot fetch ${url}: status is ${response.status}`);
  }
  const bytes = await response.bytes();
  const digest = await sha256(bytes);
  if (digest !== target.digest) {
    throw new Error(`Cannot use ${url} as its SHA-256 is wrong: ${digest}`);
  }
  // Written under another name first: a reader never sees half a file.
  const partial = await Deno.makeTempFile({
    dir: target.path.slice(0, target.path.lastIndexOf("/")),
  });
  await Deno.writeFile(partial, bytes);
  await Deno.rename(partial, target.path);
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
