/** A process that packs weights of a store, and then waits for its end: `_pack_weights.ts STORE KEY [finish|private]`. */
import { SharedWeights } from "../../../../src/tensor/cpu/shared_weights.ts";

const PR_SET_THP_DISABLE = 41;

const [path, key, how] = Deno.args;
if (how === "private") {
  // From here on this process gets no huge pages.
  const system = Deno.dlopen("libc.so.6", {
    prctl: { parameters: ["i32", "usize", "usize", "usize", "usize"], result: "i32" },
  });
  system.symbols.prctl(PR_SET_THP_DISABLE, 1n, 0n, 0n, 0n);
}
const weights = new SharedWeights({ path }, { timeoutMs: 10_000, check: () => {} });
weights.begin(key);
const space = weights.allocate(4);
if (space !== null) {
  const pointer = Deno.UnsafePointer.create(space.address)!;
  if (!space.isPacked) new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, 4)).fill(7);
}
if (how === "finish") weights.finish();
console.log(weights.packedBy);
Deno.stdin.readSync(new Uint8Array(1));
