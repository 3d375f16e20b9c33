import type { NativeSource } from "../../src/native/sources.ts";

/**
 * `sources` with the matrix instructions in plain C: the AMX kernels for a machine without AMX. Flags
 * should have AVX-512 where the machine has it, as AMX's own set does, or AVX2; not `-mamx-...`.
 */
export function withAmxTwin(sources: readonly NativeSource[]): NativeSource[] {
  const read = (name: string) => Deno.readTextFileSync(new URL(name, import.meta.url));
  return [
    ...sources.filter(({ name }) => name !== "amx.h"),
    { name: "amx.h", text: read("amx.h") },
    { name: "amx_twin.c", text: read("amx_twin.c") },
  ];
}
