/**
 * Folders in which CUDA's libraries and headers are usually installed.
 * @module
 */

/** Kinds of files that a CUDA installation has in folders of their own. */
export type CudaFolderKind = "lib" | "include";

/** Folders of CUDA toolkits: those that the environment names, then the usual ones. */
export function toolkitFolders(kind: CudaFolderKind): string[] {
  const named = [Deno.env.get("CUDA_HOME"), Deno.env.get("CUDA_PATH")].filter(isAbsolute);
  const versioned = names("/usr/local").filter((name) => name.startsWith("cuda-"))
    .sort(newestFirst).map((name) => `/usr/local/${name}`);
  const roots = [...named, "/usr/local/cuda", ...versioned];
  const below = kind === "lib"
    ? ["lib64", "lib", "targets/x86_64-linux/lib"]
    : ["include", "targets/x86_64-linux/include"];
  return distinct(roots.flatMap((root) => below.map((folder) => `${root}/${folder}`)));
}

/**
 * Folders of pip's wheels: `packages` (such as `cu13`) below `nvidia` in the active environment, in
 * those of every python3 on the PATH, and in the user's own. No Python runs.
 */
export function wheelFolders(packages: readonly string[], kind: CudaFolderKind): string[] {
  return distinct(pythonRoots().flatMap(sitePackages))
    .flatMap((site) => packages.map((name) => `${site}/nvidia/${name}/${kind}`));
}

/** Folders that hold `lib/python3.*`, in the order in which they are searched. */
function pythonRoots(): string[] {
  const roots: string[] = [];
  const environment = Deno.env.get("VIRTUAL_ENV");
  if (isAbsolute(environment)) roots.push(environment);
  for (const folder of (Deno.env.get("PATH") ?? "").split(":").filter(isAbsolute)) {
    const python = `${folder}/python3`;
    const target = resolved(python);
    if (target === null) continue;
    // A virtual environment's python3 is a link: its own packages come before those of the target.
    roots.push(parent(folder), parent(parent(target)));
  }
  const home = Deno.env.get("HOME");
  if (isAbsolute(home)) roots.push(`${home}/.local`);
  return roots;
}

/** Folders of installed packages below a Python installation; Debian calls its own dist-packages. */
function sitePackages(root: string): string[] {
  return names(`${root}/lib`).filter((name) => /^python3(\.\d+)?$/.test(name)).sort(newestFirst)
    .flatMap((name) =>
      ["site-packages", "dist-packages"].map((site) => `${root}/lib/${name}/${site}`)
    )
    .filter((folder) => names(`${folder}/nvidia`).length > 0);
}

function names(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch (error) {
    if (isAbsence(error)) return [];
    throw error;
  }
}

function resolved(path: string): string | null {
  try {
    return Deno.realPathSync(path);
  } catch (error) {
    if (isAbsence(error)) return null;
    throw error;
  }
}

/** A folder of the search path that is not there or not ours to read has nothing for us. */
function isAbsence(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory ||
    error instanceof Deno.errors.PermissionDenied;
}

function isAbsolute(path: string | undefined): path is string {
  return path !== undefined && path.startsWith("/");
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function newestFirst(left: string, right: string): number {
  return right.localeCompare(left, "en", { numeric: true });
}

/** `folders` without those that are another one by a link; the first name stays. */
function distinct(folders: readonly string[]): string[] {
  const targets = folders.map((folder) => resolved(folder) ?? folder);
  return folders.filter((_, index) => targets.indexOf(targets[index]) === index);
}
