import { assert, assertEquals, assertThrows } from "@std/assert";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { PanelSpace } from "../../../../src/tensor/cpu/panel_memory.ts";
import { SharedWeights } from "../../../../src/tensor/cpu/shared_weights.ts";
import { WeightStore } from "../../../../src/tensor/cpu/weight_store.ts";
import type { WeightOptions, WeightPart } from "../../../../src/tensor/linear_kernels.ts";
import { assertSameBits, hostMatrix, Matrix } from "../_matrix.ts";
import { storedWeight } from "../_quantized.ts";
import { Random } from "../_random.ts";

const HUGE_PAGE = 2 ** 21;

/** More than room is made for at once. */
const LARGE = 2 ** 25 + 5;

const OPTIONS = { timeoutMs: 10_000, check: () => {} };

/** Linux can be older than what makes huge pages of memory that is shared, or be told to make none. */
const CAN_SHARE = (() => {
  using store = WeightStore.create();
  using weights = new SharedWeights(store.handle, OPTIONS);
  weights.begin("any");
  if (weights.packedBy === "this") return true;
  console.warn("NOT CHECKED: shared weights, as the system has no huge pages for shared memory");
  return false;
})();

function test(name: string, run: () => void | Promise<void>): void {
  Deno.test({ name, ignore: !CAN_SHARE, fn: run });
}

function bytesOf({ address }: PanelSpace, length: number): Uint8Array {
  const pointer = Deno.UnsafePointer.create(address)!;
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length));
}

/** Access rights of the mapping at an address, as `/proc/PID/maps` has them. */
function rightsOf({ address }: PanelSpace): string | undefined {
  return Deno.readTextFileSync("/proc/self/maps").split("\n").flatMap((line) => {
    const found = line.match(/^([0-9a-f]+)-([0-9a-f]+) (\S+)/);
    if (!found || address < BigInt(`0x${found[1]}`) || address >= BigInt(`0x${found[2]}`)) {
      return [];
    }
    return [found[3]];
  })[0];
}

function descriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

test("the second to come finds what the first has packed, and neither can change it", () => {
  const before = descriptors();
  {
    using store = WeightStore.create();
    using first = new SharedWeights(store.handle, OPTIONS);
    using second = new SharedWeights(store.handle, OPTIONS);
    assertEquals(first.allocate(1), null); // before anything was announced
    first.begin("weights");
    const spaces = [5, LARGE, 1, 0].map((bytes) => first.allocate(bytes)!);
    assert(spaces.every(({ isPacked, address }) => !isPacked && address % 4096n === 0n));
    assertEquals(spaces[0].address % BigInt(HUGE_PAGE), 0n);
    const large = bytesOf(spaces[1], LARGE);
    assertEquals([large[0], large[HUGE_PAGE], large[LARGE - 1]], [0, 0, 0]);
    large.fill(3);
    bytesOf(spaces[2], 1)[0] = 4;
    assertEquals(rightsOf(spaces[1]), "rw-s");
    first.finish();
    assertEquals([first.packedBy, first.allocate(1), rightsOf(spaces[1])], ["this", null, "r--s"]);

    second.begin("weights");
    const found = [5, LARGE, 1, 0].map((bytes) => second.allocate(bytes)!);
    second.finish();
    assertEquals(second.packedBy, "other");
    assertEquals(second.byteLength, first.byteLength);
    assert(found.every(({ isPacked }) => isPacked));
    assert(found[1].address !== spaces[1].address && rightsOf(found[1]) === "r--s");
    const shared = bytesOf(found[1], LARGE);
    assertEquals([shared[0], shared[HUGE_PAGE], shared[LARGE - 1]], [3, 3, 3]);

    // The first goes; the second, which is found in its place, keeps all.
    first[Symbol.dispose]();
    assertEquals(rightsOf(spaces[1]), undefined);
    using third = new SharedWeights(store.handle, OPTIONS);
    third.begin("weights");
    assertEquals([third.packedBy, third.allocate(5)!.isPacked], ["other", true]);
    assertEquals(bytesOf(found[2], 1), Uint8Array.of(4));
  }
  assertEquals(descriptors(), before);
});

test("other weights are other memory, and gone with the last who has them", () => {
  using store = WeightStore.create();
  const load = (key: string) => {
    const weights = new SharedWeights(store.handle, OPTIONS);
    weights.begin(key);
    weights.allocate(8);
    weights.finish();
    return weights;
  };
  using old = load("old");
  const updated = load("new");
  assertEquals([old.packedBy, updated.packedBy], ["this", "this"]);
  updated[Symbol.dispose]();
  using again = load("new");
  using beside = load("old");
  assertEquals([again.packedBy, beside.packedBy], ["this", "other"]);
});

test("weights of another size or number are refused", () => {
  using store = WeightStore.create();
  using first = new SharedWeights(store.handle, OPTIONS);
  first.begin("weights");
  first.allocate(8);
  first.allocate(9);
  first.finish();
  using second = new SharedWeights(store.handle, OPTIONS);
  second.begin("weights");
  second.allocate(8);
  assertThrows(() => second.finish(), Error, "it has 2 weights, and 1 are here");
  using third = new SharedWeights(store.handle, OPTIONS);
  third.begin("weights");
  assertThrows(() => third.allocate(9), Error, "weight 0 has 8 bytes there and 9 here");
  assertThrows(() => third.begin("weights"), Error, "twice");
});

test("one who leaves before all is packed leaves nothing behind", () => {
  using store = WeightStore.create();
  const first = new SharedWeights(store.handle, OPTIONS);
  first.begin("weights");
  first.allocate(8);
  using second = new SharedWeights(store.handle, {
    ...OPTIONS,
    check: () => first[Symbol.dispose](),
  });
  second.begin("weights");
  assertEquals([second.packedBy, second.allocate(8)!.isPacked], ["this", false]);
});

test("who waits for another can be told to end, and does at the deadline", () => {
  using store = WeightStore.create();
  using first = new SharedWeights(store.handle, OPTIONS);
  first.begin("weights");
  const stop = () => {
    throw new Error("stop");
  };
  using told = new SharedWeights(store.handle, { timeoutMs: 60_000, check: stop });
  assertThrows(() => told.begin("weights"), Error, "stop");
  using late = new SharedWeights(store.handle, { timeoutMs: 0, check: () => {} });
  assertThrows(() => late.begin("weights"), Error, "did not finish in 0 ms");
});

test("a store that was disposed takes nobody in, and who is in stays", () => {
  const store = WeightStore.create();
  const { handle } = store;
  using first = new SharedWeights(handle, OPTIONS);
  store[Symbol.dispose]();
  assertThrows(() => new SharedWeights(handle, OPTIONS), Error, "their store was disposed");
  const file = Deno.makeTempFileSync();
  Deno.writeTextFileSync(file, "mine");
  assertThrows(() => new SharedWeights({ path: file }, OPTIONS), Error, "never was one");
  assertEquals(Deno.readTextFileSync(file), "mine");
  Deno.removeSync(file);
  first.begin("weights");
  first.finish();
});

/** Runs `_pack_weights.ts` until it has said who packed, then `use`. */
async function withProcess(
  args: readonly string[],
  use: (child: Deno.ChildProcess, said: string) => void,
): Promise<void> {
  const script = new URL("./_pack_weights.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, ...args],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  try {
    const { value } = await reader.read();
    use(child, new TextDecoder().decode(value).trim());
  } finally {
    child.stdin.close().catch(() => {});
    await reader.cancel();
    await child.status;
  }
}

test("weights that a process has packed outlive it, however it ends", async () => {
  using store = WeightStore.create();
  using weights = new SharedWeights(store.handle, OPTIONS);
  await withProcess([store.handle.path, "weights", "finish"], (child, said) => {
    assertEquals(said, "this");
    weights.begin("weights");
    child.kill("SIGKILL");
  });
  assertEquals([...bytesOf(weights.allocate(4)!, 4)], [7, 7, 7, 7]);
  using next = new SharedWeights(store.handle, OPTIONS);
  next.begin("weights");
  assertEquals([weights.packedBy, next.packedBy], ["other", "other"]);
});

test("a process that is killed while it packs is not waited for", async () => {
  using store = WeightStore.create();
  await withProcess([store.handle.path, "weights"], (child, said) => {
    assertEquals(said, "this");
    const check = () => child.kill("SIGKILL");
    using weights = new SharedWeights(store.handle, { timeoutMs: 10_000, check });
    weights.begin("weights");
    const space = weights.allocate(4)!;
    assertEquals([space.isPacked, ...bytesOf(space, 4)], [false, 0, 0, 0, 0]);
  });
});

test("where the system gives no huge pages nobody shares", async () => {
  using store = WeightStore.create();
  await withProcess([store.handle.path, "weights", "private"], (_, said) => {
    assertEquals(said, "private");
    // It has packed nothing that others could find.
    using weights = new SharedWeights(store.handle, OPTIONS);
    weights.begin("weights");
    assertEquals(weights.packedBy, "this");
  });
});

const FORMATS: Readonly<Record<string, WeightOptions & { readonly stored?: boolean }>> = {
  "bf16": {},
  "int8": { quantization: "int8", blockSize: 40 },
  "int4": { quantization: "int4" },
  "a checkpoint with groups in any order": { stored: true },
};

for (const [name, { stored, ...options }] of Object.entries(FORMATS)) {
  test(`products with ${name} that another device has packed have the same bits`, () => {
    const [rows, columns, tokens] = [40, 96, 3];
    const random = new Random(7);
    const dense = random.normals(rows * columns);
    const x = random.normals(tokens * columns);
    using store = WeightStore.create();
    /** One product with weights of the store, or with weights of its own. */
    const multiply = (weights?: SharedWeights, values = dense) => {
      using device = openCpuDevice({ threads: 1, sharedPanels: weights });
      const part: WeightPart = stored
        ? storedWeight(device, new Random(8), {
          ...{ packing: "gptq", bits: 4, rows, columns, groupSize: 32, actOrder: true },
          zeroOffset: 1,
        })
        : hostMatrix(device, values, { rows, columns, dtype: "bf16" });
      weights?.begin(name);
      using weight = device.linearWeight([part], "bf16", options);
      weights?.finish();
      const input = new Matrix(device, tokens, columns, { values: x });
      const out = new Matrix(device, tokens, rows);
      device.linear(out.tensor, input.tensor, weight, tokens);
      return out.read();
    };
    using first = new SharedWeights(store.handle, OPTIONS);
    using second = new SharedWeights(store.handle, OPTIONS);
    const alone = multiply();
    assertSameBits(multiply(first), alone);
    // Nothing is read of weights that are packed.
    assertSameBits(multiply(second, dense.map(() => NaN)), alone);
    assertEquals([first.packedBy, second.packedBy], ["this", "other"]);
  });
}
