import { createHash } from "node:crypto";
import { cached } from "../../src/native/cache.ts";
import { CPU_SOURCES } from "../../src/native/sources.ts";
import type { Aarch64Tools } from "./tools.ts";

const FLAGS = [
  ...["-O2", "-std=gnu11", "-Wall", "-Werror=implicit-function-declaration"],
  ...["-ffp-contract=off", "-fno-math-errno", "-pthread", `-DWEFT_KERNEL_HASH="emulated"`],
];

const BUILD_SCRIPT = `
printf '%s\\n' "$@" | xargs -P "$JOBS" -I '{}' $CC $FLAGS -c '{}' -o '{}.o' || exit 1
exec $CC -static -pthread -o program *.o -lm
`;

/**
 * Path of a program for aarch64 that calls the kernels' functions for others: those of `symbols`, by
 * number in their order.
 */
export function buildDispatcher(
  tools: Aarch64Tools,
  architectureFlags: readonly string[],
  symbols: Deno.ForeignLibraryInterface,
): string {
  const sources = [
    ...CPU_SOURCES,
    {
      name: "dispatcher.c",
      text: Deno.readTextFileSync(new URL("./dispatcher.c", import.meta.url)),
    },
    { name: "dispatched.c", text: functionTable(symbols) },
  ];
  const flags = [...FLAGS, ...architectureFlags];
  const hash = createHash("sha256").update(JSON.stringify([tools.compilerVersion, flags, sources]));
  return cached({
    name: `aarch64-${hash.digest("hex").slice(0, 32)}`,
    read: (path) => exists(path) ? path : null,
    make: (work) => {
      for (const { name, text } of sources) Deno.writeTextFileSync(`${work}/${name}`, text);
      const files = sources.map(({ name }) => name).filter((name) => name.endsWith(".c"));
      const { success, stderr } = new Deno.Command("/bin/sh", {
        args: ["-c", BUILD_SCRIPT, "sh", ...files],
        cwd: work,
        env: {
          CC: tools.compiler,
          FLAGS: flags.join(" "),
          JOBS: String(navigator.hardwareConcurrency),
        },
      }).outputSync();
      if (!success) {
        throw new Error(`Cannot compile for aarch64: ${new TextDecoder().decode(stderr)}`);
      }
      return `${work}/program`;
    },
  });
}

function functionTable(symbols: Deno.ForeignLibraryInterface): string {
  const functions = Object.entries(symbols).map(([key, symbol]) => ({
    name: "name" in symbol && symbol.name !== undefined ? symbol.name : key,
    isString: "result" in symbol && symbol.result === "pointer",
  }));
  const names = new Set(functions.map(({ name }) => name));
  return [
    ...[...names].map((name) => `void ${name}(void);`),
    `void (*const dispatched[])(void) = {${functions.map(({ name }) => name).join(", ")}};`,
    `const char returns_string[] = {${
      functions.map(({ isString }) => Number(isString)).join(", ")
    }};`,
    "",
  ].join("\n");
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
