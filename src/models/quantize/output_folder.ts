/**
 * A folder that is there only when it is whole.
 * @module
 */

/** Files of weights, and the config: what a copy has of its own. */
const OWN_FILES =
  /^config\.json$|\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pt|pth|gguf|onnx|h5|msgpack)$/;

/**
 * Runs `write` on a new folder beside `out` and gives it that name when it is done; a failure leaves
 * nothing behind. Throws Error when `out` is there and not an empty folder.
 */
export function writeFolder<T>(out: string, write: (folder: string) => T): T {
  const path = out.replace(/\/+$/, "");
  refuseUsed(path);
  const slash = path.lastIndexOf("/");
  const parent = slash < 0 ? "." : path.slice(0, slash) || "/";
  Deno.mkdirSync(parent, { recursive: true });
  const folder = Deno.makeTempDirSync({ dir: parent, prefix: `.${path.slice(slash + 1)}.` });
  try {
    const result = write(folder);
    // The system makes temporary folders for one user; this one is a result.
    Deno.chmodSync(folder, 0o777 & ~Deno.umask());
    Deno.renameSync(folder, path);
    return result;
  } catch (error) {
    Deno.removeSync(folder, { recursive: true });
    throw error;
  }
}

/** Copies the tokenizer and whatever else lies in `source` beside its weights. */
export function copyOtherFiles(source: string, folder: string): void {
  for (const { name } of Deno.readDirSync(source)) {
    if (name.startsWith(".") || OWN_FILES.test(name)) continue;
    // Of a link that which it leads to: caches of the Hub are full of them.
    if (Deno.statSync(`${source}/${name}`).isFile) {
      Deno.copyFileSync(`${source}/${name}`, `${folder}/${name}`);
    }
  }
}

function refuseUsed(path: string): void {
  try {
    for (const { name } of Deno.readDirSync(path)) {
      throw new Error(`Cannot write a checkpoint to ${path} as it is not empty: it has ${name}`);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
