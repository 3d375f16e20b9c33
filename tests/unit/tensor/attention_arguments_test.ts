import { assertEquals, assertThrows } from "@std/assert";
import type {
  AttentionKernels,
  AttentionShape,
  QueryKeyTransform,
} from "../../../src/tensor/attention_kernels.ts";
import { checkedAttentionKernels } from "../../../src/tensor/attention_arguments.ts";
import { openCpuDevice } from "../../../src/tensor/cpu/device.ts";
import type { DType } from "../../../src/tensor/dtype.ts";
import { Tensor } from "../../../src/tensor/tensor.ts";

const ROWS = 3;
const HEAD_DIM = 8;

/** Good arguments over memory that no kernel reads, and what the kernels behind the checks got. */
function setUp(memory: Parameters<typeof Tensor.view>[0]) {
  const calls: string[] = [];
  const unchecked: AttentionKernels = {
    kvCache: (_, { dtype }) => {
      calls.push("kvCache");
      const part = view([1, 2, 16, HEAD_DIM]);
      return { keys: part, values: part, dtype };
    },
    rotateAndCache: () => calls.push("rotateAndCache"),
    pagedAttention: () => calls.push("pagedAttention"),
  };
  const view = (shape: number[], dtype: DType = "f32") => Tensor.view(memory, 0n, { shape, dtype });
  const good = {
    queries: view([ROWS, 4 * HEAD_DIM]),
    keys: view([ROWS, 2 * HEAD_DIM]),
    values: view([ROWS, 2 * HEAD_DIM]),
    out: view([ROWS, 4 * HEAD_DIM]),
    positions: view([ROWS], "i32"),
    slotMapping: view([ROWS], "i32"),
    queryStarts: view([3], "i32"),
    contextStarts: view([2], "i32"),
    tableRows: view([2], "i32"),
    blockTables: view([2, 5], "i32"),
    kvHeadOfHead: view([4], "i32"),
    norm: view([HEAD_DIM]),
    table: view([9, HEAD_DIM]),
  };
  type Overrides = Partial<typeof good> & {
    rotaryDim?: number;
    shape?: Partial<AttentionShape>;
  };
  const kernels = checkedAttentionKernels(unchecked);
  const run = (kernel: "rotateAndCache" | "pagedAttention", overrides: Overrides = {}) => {
    const { rotaryDim = HEAD_DIM } = overrides;
    const all = { ...good, ...overrides };
    const shape: AttentionShape = {
      numHeads: 4,
      numKvHeads: 2,
      kvHeadOfHead: all.kvHeadOfHead,
      headDim: HEAD_DIM,
      scale: 1,
      slidingWindow: 0,
      ...overrides.shape,
    };
    const cache = kernels.kvCache(1, { numKvHeads: 2, headDim: HEAD_DIM, dtype: "f32" });
    if (kernel === "pagedAttention") {
      const counts = { tokens: ROWS, sequences: 2 };
      kernels.pagedAttention(all.out, all.queries, cache, all, counts, shape);
      return;
    }
    const transform: QueryKeyTransform = {
      headNorms: { query: good.norm, key: all.norm, epsilon: 1e-5 },
      rotary: { table: all.table, rotaryDim },
    };
    kernels.rotateAndCache(cache, all, all, ROWS, shape, transform);
  };
  return { calls, kernels, run, view };
}

Deno.test("attention kernels run with arguments that fit", () => {
  using device = openCpuDevice({ threads: 1 });
  const { calls, run } = setUp(device);
  run("rotateAndCache");
  run("pagedAttention");
  assertEquals(calls, ["kvCache", "rotateAndCache", "kvCache", "pagedAttention"]);
});

Deno.test("attention kernels refuse arguments that do not fit, before they run", () => {
  using device = openCpuDevice({ threads: 1 });
  const { calls, kernels, run, view } = setUp(device);
  const refuse = (message: string, ...args: Parameters<typeof run>) => {
    assertThrows(() => run(...args), RangeError, message);
  };
  const f16 = view([ROWS, 2 * HEAD_DIM], "f16");
  refuse("queries must hold", "rotateAndCache", { queries: view([ROWS - 1, 4 * HEAD_DIM]) });
  refuse("keys must hold f32", "rotateAndCache", { keys: f16 });
  refuse("values must hold f32", "rotateAndCache", { values: f16 });
  refuse("positions must hold", "rotateAndCache", { positions: view([ROWS - 1], "i32") });
  refuse("slotMapping must hold", "rotateAndCache", { slotMapping: view([ROWS]) });
  refuse("the norm of keys", "rotateAndCache", { norm: view([HEAD_DIM - 1]) });
  refuse("the rotary table", "rotateAndCache", { table: view([0, HEAD_DIM]) });
  refuse("rotaryDim must be even", "rotateAndCache", { rotaryDim: 3 });
  refuse("at most headDim 8: it is 10", "rotateAndCache", { rotaryDim: 10, table: view([9, 10]) });

  refuse("out must hold f32", "pagedAttention", { out: view([ROWS, 4 * HEAD_DIM], "bf16") });
  refuse("queryStarts must hold 3", "pagedAttention", { queryStarts: view([2], "i32") });
  refuse("contextStarts must hold 2", "pagedAttention", { contextStarts: view([1], "i32") });
  refuse("tableRows must hold 2", "pagedAttention", { tableRows: view([1], "i32") });
  refuse("blockTables must hold i32", "pagedAttention", { blockTables: view([2, 5]) });
  refuse("the size of blockTables", "pagedAttention", {
    blockTables: view([2 ** 16, 2 ** 15], "i32"),
  });
  refuse("kvHeadOfHead must hold 4", "pagedAttention", { kvHeadOfHead: view([3], "i32") });
  refuse("slidingWindow is not a count", "pagedAttention", { shape: { slidingWindow: -1 } });
  refuse("scale must be positive", "pagedAttention", { shape: { scale: NaN } });
  assertEquals(calls.filter((call) => call !== "kvCache"), []);
  assertThrows(
    () => kernels.kvCache(2 ** 27, { numKvHeads: 1, headDim: 8, dtype: "f32" }),
    RangeError,
    "the number of slots",
  );
});
