import { assertEquals } from "@std/assert";
import { engineOptions } from "../../../src/cli/engine_options.ts";
import { ENGINE_FLAGS } from "../../../src/cli/flags.ts";
import { parseFlags } from "../../../src/cli/parse_flags.ts";

function options(...args: string[]) {
  const { values } = parseFlags(args, { table: ENGINE_FLAGS, env: () => undefined });
  return engineOptions(values, "folder");
}

Deno.test("every engine flag reaches the engine", () => {
  const given = options(
    ...["--tensor-parallel-size=2", "--pipeline-parallel-size=3", "--data-parallel-size=4"],
    ...["--max-model-len=100", "--max-num-seqs=5", "--max-num-batched-tokens=77"],
    ...["--device=cpu", "--dtype=half", "--launcher=process", "--threads=1", "--seed=9"],
    ...["--gpu-memory-utilization=0.5", "--enforce-eager", "--quantization=int4"],
    ...["--num-kv-blocks=6", "--kv-cache-memory=4096", "--kv-cache-dtype=int8"],
    ...["--load-format=dummy", "--pipeline-layers=2,1,3", "--no-enable-prefix-caching"],
    ...["--scheduling-policy=priority"],
  );
  assertEquals(given, {
    model: "folder",
    tensorParallelSize: 2,
    pipelineParallelSize: 3,
    pipelineLayers: [2, 1, 3],
    replicasOnHost: 4,
    maxModelLen: 100,
    maxNumSeqs: 5,
    maxNumBatchedTokens: 77,
    numKvBlocks: 6,
    kvCacheMemory: 4096,
    kvCacheDtype: "int8",
    schedulingPolicy: "priority",
    enablePrefixCaching: false,
    gpuMemoryUtilization: 0.5,
    enforceEager: true,
    device: "cpu",
    dtype: "f16",
    quantization: "int4",
    loadFormat: "dummy",
    launcher: "process",
    threads: 1,
    seed: 9n,
  });
  const flags = Object.keys(ENGINE_FLAGS).filter((name) => name !== "model");
  assertEquals(Object.keys(given).length - 1, flags.length);
});

Deno.test("what no flag gives is left to the engine", () => {
  const { threads, numKvBlocks, kvCacheMemory, maxModelLen, seed } = options();
  assertEquals(
    [threads, numKvBlocks, kvCacheMemory, maxModelLen, seed],
    Array(5).fill(undefined),
  );
});
