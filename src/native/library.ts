/**
 * Finds and opens shared libraries that weft does not bring along.
 * @module
 */
import { encodeCString } from "./c_declarations.ts";
import { toolkitFolders, wheelFolders } from "./library_folders.ts";

/** A version; libraries that have no third part give 0. */
export type LibraryVersion = readonly [major: number, minor: number, patch: number];

/** Where a library is looked for, and how its version is read. */
export interface LibraryDescription<V extends Deno.ForeignLibraryInterface> {
  /** Short name, such as `cudart`. */
  readonly name: string;
  /** Environment variable that overrides the search. */
  readonly variable: string;
  /** File names that the loader knows, newest first. */
  readonly sonames: readonly string[];
  /** Packages of pip's wheels below `site-packages/nvidia`. */
  readonly wheels: readonly string[];
  /** Command that installs it. */
  readonly install: string;
  /** Oldest version that does. */
  readonly minimum: LibraryVersion;
  /** A library that has to be opened first, when it lies beside this one. */
  readonly companion?: LibraryCompanion;
  /** Whether its code stays in memory when it is closed, as its threads or exit handlers go on. */
  readonly resident?: boolean;
  /** The functions that give the version, which every version has. */
  readonly versionSymbols: V;
  /** Reads the version. */
  readVersion(symbols: Deno.DynamicLibrary<V>["symbols"]): LibraryVersion;
}

/** A library on which another one depends. */
export interface LibraryCompanion {
  /** Environment variable that gives its path. */
  readonly variable?: string;
  /** Replaces the part of the file name before `.so`. */
  readonly stem: string;
}

/** A library that is open. */
export interface OpenLibrary<S extends Deno.ForeignLibraryInterface> {
  /** Its functions. */
  readonly symbols: Deno.DynamicLibrary<S>["symbols"];
  /** File that was opened. */
  readonly path: string;
  /** Its version. */
  readonly version: LibraryVersion;
  /** Closes it; its functions must not be called any more. */
  close(): void;
}

/** A path that was tried in vain. */
export interface LibraryAttempt {
  /** The path, or the name that the system's loader was given. */
  readonly path: string;
  /** Why it was not taken. */
  readonly reason: string;
}

/** No usable library was found. */
export class LibraryError extends Error {
  /** Short name of the library. */
  readonly library: string;
  /** Everything that was tried. */
  readonly attempts: readonly LibraryAttempt[];

  /** The error of one search. */
  constructor(
    description: LibraryDescription<Deno.ForeignLibraryInterface>,
    attempts: readonly LibraryAttempt[],
  ) {
    const { name, variable, minimum, install } = description;
    const tried = attempts.map(({ path, reason }) => `  ${path}: ${reason}`).join("\n");
    super(
      `Cannot open ${name} as version ${
        formatVersion(minimum)
      } or later was not found: tried\n${tried}\n` +
        `Install it with \`${install}\`, or set ${variable} to the path of the library`,
    );
    this.name = "LibraryError";
    this.library = name;
    this.attempts = attempts;
  }
}

/** Options of {@linkcode openLibrary}. */
export interface OpenLibraryOptions {
  /** Takes only files of this major version, unless the environment overrides the search. */
  readonly major?: number;
}

/**
 * Opens the first usable library: the one that the description's variable names (and no other then),
 * or what the system's loader finds, or a file in CUDA's usual folders or in those of pip's wheels.
 * Throws LibraryError.
 */
export function openLibrary<
  V extends Deno.ForeignLibraryInterface,
  S extends Deno.ForeignLibraryInterface,
>(
  description: LibraryDescription<V>,
  symbols: S,
  options: OpenLibraryOptions = {},
): OpenLibrary<S> {
  const attempts: LibraryAttempt[] = [];
  for (const path of candidates(description, options)) {
    try {
      return openCandidate(path, description, symbols);
    } catch (error) {
      attempts.push({ path, reason: reasonOf(error, path) });
    }
  }
  throw new LibraryError(description, attempts);
}

/** `version` with dots; a last part of 0 is left out. */
export function formatVersion(version: LibraryVersion): string {
  const [major, minor, patch] = version;
  return patch === 0 ? `${major}.${minor}` : `${major}.${minor}.${patch}`;
}

/** Whether `version` is `minimum` or later. */
export function isAtLeast(version: LibraryVersion, minimum: LibraryVersion): boolean {
  const index = version.findIndex((part, index) => part !== minimum[index]);
  return index < 0 || version[index] > minimum[index];
}

function candidates(
  { variable, sonames, wheels }: LibraryDescription<Deno.ForeignLibraryInterface>,
  { major }: OpenLibraryOptions,
): string[] {
  const explicit = Deno.env.get(variable);
  if (explicit) return [explicit];
  const names = major === undefined
    ? sonames
    : sonames.filter((name) => name.endsWith(`.so.${major}`));
  const folders = [...toolkitFolders("lib"), ...wheelFolders(wheels, "lib")];
  return [...names, ...folders.flatMap((folder) => names.map((name) => `${folder}/${name}`))];
}

function openCandidate<
  V extends Deno.ForeignLibraryInterface,
  S extends Deno.ForeignLibraryInterface,
>(path: string, description: LibraryDescription<V>, symbols: S): OpenLibrary<S> {
  if (path.includes("/") && !Deno.statSync(path).isFile) throw new Error("not a file");
  const opened: { close(): void }[] = [];
  const close = () => opened.splice(0).reverse().forEach((library) => library.close());
  try {
    for (const companion of companionPaths(path, description.companion)) {
      opened.push(Deno.dlopen(companion, {}));
    }
    const probe = Deno.dlopen(path, description.versionSymbols);
    opened.push(probe);
    const version = description.readVersion(probe.symbols);
    if (!isAtLeast(version, description.minimum)) {
      throw new Error(
        `version ${formatVersion(version)} is older than ${formatVersion(description.minimum)}`,
      );
    }
    const library = Deno.dlopen(path, symbols);
    opened.push(library);
    if (description.resident) keepLoaded(path);
    const file = loadedFile(path, Object.keys(description.versionSymbols)[0]);
    return { symbols: library.symbols, path: file, version, close };
  } catch (error) {
    close();
    throw error;
  }
}

function companionPaths(path: string, companion: LibraryCompanion | undefined): string[] {
  if (companion === undefined) return [];
  const explicit = companion.variable === undefined ? undefined : Deno.env.get(companion.variable);
  if (explicit) return [explicit];
  const [, folder, suffix] = path.match(/^(.*)\/[^/]*(\.so\.\d+)[^/]*$/) ?? [];
  if (folder === undefined) return [];
  const prefix = `${companion.stem}${suffix}`;
  return [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name.startsWith(prefix) && /^[.\d]*$/.test(name.slice(prefix.length)))
    .map((name) => `${folder}/${name}`);
}

/** Takes away the right of the library at `path`, which is open, to be unloaded. */
function keepLoaded(path: string): void {
  const RTLD_NOW = 0x0002;
  const RTLD_NODELETE = 0x1000;
  // void* dlopen(const char* filename, int flags)
  const loader = Deno.dlopen("libdl.so.2", {
    dlopen: { parameters: ["buffer", "i32"], result: "usize" },
  });
  loader.symbols.dlopen(encodeCString(path), RTLD_NOW | RTLD_NODELETE);
  loader.close();
}

/** The file behind `path`, which may be a name that the loader has looked up. */
function loadedFile(path: string, symbol: string): string {
  if (path.includes("/")) return path;
  const library = Deno.dlopen(path, { [symbol]: { type: "pointer" } });
  const address = Deno.UnsafePointer.value(library.symbols[symbol]);
  library.close();
  for (const line of Deno.readTextFileSync("/proc/self/maps").split("\n")) {
    const [, begin, end, file] = line.match(/^([0-9a-f]+)-([0-9a-f]+) .*? (\/.*)$/) ?? [];
    if (file !== undefined && BigInt(`0x${begin}`) <= address && address < BigInt(`0x${end}`)) {
      return file;
    }
  }
  return path;
}

function reasonOf(error: unknown, path: string): string {
  if (error instanceof Deno.errors.NotFound) return "no such file";
  const message = error instanceof Error ? error.message : String(error);
  return message.replaceAll("Could not open library: ", "").replace(`${path}: `, "");
}
