/**
 * The folder of files that this machine makes once.
 * @module
 */

/** How the names of folders begin in which a file is made. */
const WORK_PREFIX = "build-";

/** A file of the cache. */
export interface CacheEntry<T> {
  /** Its name, which differs whenever its contents may. */
  readonly name: string;
  /** What the file at `path` holds; null when it is not there or is damaged. */
  read(path: string): T | null;
  /** Makes the file in the empty folder `work` and returns its path. */
  make(work: string): string;
}

/**
 * What an entry of the cache holds; made first when it is not there. Safe to call from many processes
 * at once: one makes it, the others wait.
 */
export function cached<T>(entry: CacheEntry<T>): T {
  const folder = cacheFolder();
  const path = `${folder}/${entry.name}`;
  const found = entry.read(path);
  if (found !== null) return found;

  // The lock ends with its process.
  using lock = inCache(
    folder,
    () => Deno.openSync(`${folder}/lock`, { write: true, create: true, mode: 0o600 }),
  );
  lock.lockSync(true);
  const foundSince = entry.read(path);
  if (foundSince !== null) return foundSince;
  sweepWorkFolders(folder);
  // A folder of its own, then a rename: others see a whole file or none.
  const work = Deno.makeTempDirSync({ dir: folder, prefix: WORK_PREFIX });
  try {
    const made = entry.make(work);
    flush(made);
    Deno.renameSync(made, path);
  } finally {
    Deno.removeSync(work, { recursive: true });
  }
  const contents = entry.read(path);
  if (contents === null) {
    throw new Error(`Cannot use ${path} as it is damaged: it was just written`);
  }
  return contents;
}

/** Removes what processes that were killed have left; the caller holds the lock. */
function sweepWorkFolders(folder: string): void {
  for (const { name } of Deno.readDirSync(folder)) {
    if (name.startsWith(WORK_PREFIX)) Deno.removeSync(`${folder}/${name}`, { recursive: true });
  }
}

/** To the disk before it gets its name: a crash must not leave half a file under it. */
function flush(path: string): void {
  using file = Deno.openSync(path, { write: true });
  file.syncSync();
}

/**
 * Folder for what this machine need not make or fetch twice; made when it is not there. Throws when
 * other users can write to it.
 */
export function cacheFolder(): string {
  const folder = cachePath();
  inCache(folder, () => Deno.mkdirSync(folder, { recursive: true, mode: 0o700 }));
  const { uid, mode } = Deno.statSync(folder);
  // Code is loaded from here: nobody else may be able to put it there.
  if (uid !== Deno.uid() || ((mode ?? 0) & 0o022) !== 0) {
    throw new Error(
      `Cannot use the cache folder ${folder} as other users can write to it: set WEFT_CACHE_DIR to a private folder`,
    );
  }
  return folder;
}

/** What `use` returns; when it fails, the error says which folder is meant and how to choose another. */
function inCache<T>(folder: string, use: () => T): T {
  try {
    return use();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `Cannot write to the cache folder ${folder}: ${reason}; set WEFT_CACHE_DIR to a private folder`,
      { cause },
    );
  }
}

function cachePath(): string {
  const explicit = Deno.env.get("WEFT_CACHE_DIR");
  if (explicit) return explicit;
  // Relative ones mean nothing (XDG Base Directory Specification).
  const cache = Deno.env.get("XDG_CACHE_HOME");
  if (cache?.startsWith("/")) return `${cache}/weft`;
  const home = Deno.env.get("HOME");
  if (home?.startsWith("/")) return `${home}/.cache/weft`;
  return `${Deno.env.get("TMPDIR") || "/tmp"}/weft-${Deno.uid()}`;
}
