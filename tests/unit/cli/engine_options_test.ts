import { assertEquals } from "@std/assert";
import { engineOptions } from "../../../src/cli/engine_options.ts";
import { ENGINE_FLAGS } from "../../../src/cli/flags.ts";
import { parseFlags } from "../../../src/cli/parse_flags.ts";

const machine = { cores: 8, freeMemory: 64e9 };

function options(...args: string[]) {
  const { values } = parseFlags(args, { table: ENGINE_FLAGS, env: () => undefined });
  return engineOptions(values, { model: "folder", machine });
}

Deno.test("replicas and ranks share the cores, and replicas the default KV memory", () => {
  const { threads, kvCacheMemory } = options(
    "--tensor-parallel-size=2",
    "--data-parallel-size=2",
  );
  assertEquals([threads, kvCacheMemory], [2, 8e9]);
});

Deno.test("a rank has at least one thread", () => {
  assertEquals(options("--pipeline-parallel-size=16").threads, 1);
});

Deno.test("flags win over what the machine would give", () => {
  assertEquals(options("--threads=3", "--kv-cache-memory=1GiB").threads, 3);
  assertEquals(options("--kv-cache-memory=1GiB").kvCacheMemory, 2 ** 30);
});

Deno.test("a number of blocks replaces the KV memory", () => {
  const { numKvBlocks, kvCacheMemory } = options("--num-kv-blocks=100");
  assertEquals([numKvBlocks, kvCacheMemory], [100, undefined]);
});

Deno.test("every engine flag but the number of replicas reaches the engine", () => {
  const given = options(
    ...["--tensor-parallel-size=2", "--pipeline-parallel-size=3", "--max-model-len=100"],
    ...["--max-num-seqs=5", "--max-num-batched-tokens=77", "--device=cpu", "--dtype=half"],
    ...["--launcher=process", "--threads=1", "--seed=9", "--num-kv-blocks=6"],
    "--kv-cache-memory=4096",
  );
  assertEquals(given, {
    model: "folder",
    tensorParallelSize: 2,
    pipelineParallelSize: 3,
    maxModelLen: 100,
    maxNumSeqs: 5,
    maxNumBatchedTokens: 77,
    numKvBlocks: 6,
    kvCacheMemory: 4096,
    device: "cpu",
    dtype: "f16",
    launcher: "process",
    threads: 1,
    seed: 9n,
  });
});
