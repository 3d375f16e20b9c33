/**
 * The C compiler of this machine.
 * @module
 */
import { createHash } from "node:crypto";
import { cached } from "./cache.ts";

const COMPILERS = ["cc", "gcc", "clang"] as const;

/** A C compiler. */
export interface Compiler {
  /** Its name on the PATH. */
  readonly command: string;
  /** First line of what it says of its version. */
  readonly version: string;
}

/** The C compiler that is used; throws an error that says how to install one when there is none. */
export function findCompiler(): Compiler {
  for (const command of COMPILERS) {
    const path = findOnPath(command);
    if (path !== null) return { command, version: versionOf(path) };
  }
  throw new Error(
    `Cannot compile the CPU kernels as no C compiler is on the PATH: looked for ${
      COMPILERS.join(", ")
    }. Install one with: apt install gcc libc6-dev (Debian, Ubuntu), dnf install gcc (Fedora, RHEL), ` +
      `apk add gcc musl-dev (Alpine), pacman -S gcc (Arch), zypper install gcc (openSUSE)`,
  );
}

function findOnPath(command: string): string | null {
  for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
    if (!folder.startsWith("/")) continue;
    try {
      const path = Deno.realPathSync(`${folder}/${command}`);
      const { isFile, mode } = Deno.statSync(path);
      if (isFile && ((mode ?? 0) & 0o111) !== 0) return path;
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }
  return null;
}

/**
 * What the compiler at `path` says of its version, from the cache where the file is as it was: every
 * opening of the native library asks.
 */
function versionOf(path: string): string {
  const { size, mtime } = Deno.statSync(path);
  const identity = createHash("sha256").update(JSON.stringify([path, size, mtime])).digest("hex");
  return cached({
    name: `compiler-${identity.slice(0, 32)}.txt`,
    read: (file) => {
      try {
        return Deno.readTextFileSync(file);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return null;
        throw error;
      }
    },
    make: (work) => {
      Deno.writeTextFileSync(`${work}/version`, askForVersion(path));
      return `${work}/version`;
    },
  });
}

function askForVersion(path: string): string {
  const { success, stdout } = new Deno.Command(path, {
    args: ["--version"],
    env: { LC_ALL: "C" },
    stdin: "null",
    stderr: "null",
  }).outputSync();
  if (!success) throw new Error(`Cannot compile with ${path} as it does not tell its version`);
  return new TextDecoder().decode(stdout).split("\n")[0];
}

function isAbsent(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory ||
    error instanceof Deno.errors.PermissionDenied;
}
