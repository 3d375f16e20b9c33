/**
 * weft: distributed LLM inference for Deno.
 *
 * The library face: engines, parallel layers, devices, communicators and launchers. Run as a program
 * it is the `weft` command: `deno run -A mod.ts serve --model DIR`.
 *
 * @example
 * ```ts no-assert
 * import { LlmEngine } from "@weft/weft";
 * await using engine = await LlmEngine.load({ model: "models/demo", tensorParallelSize: 2 });
 * for await (const chunk of engine.generate({ prompt: "The KV cache" })) console.log(chunk.text);
 * ```
 *
 * @module
 */
export { LlmEngine, type LlmEngineOptions } from "./src/engine/llm_engine.ts";
export {
  EngineDeadError,
  type EngineInfo,
  type EngineOptions,
  type EngineStats,
  type FinishReason,
  type GenerateRequest,
  type GenerationChunk,
  type Replica,
  type SamplingParams,
  type TokenLogprob,
  UnsupportedRequestError,
} from "./src/engine/types.ts";
export { ReplicaRouter } from "./src/serving/replica_router.ts";
export { createServer } from "./src/serving/server.ts";
export { TextProcessor } from "./src/text/text_processor.ts";
export { ModelLoadError } from "./src/models/errors.ts";
export {
  ColumnParallelLinear,
  type LinearConfig,
  MergedColumnParallelLinear,
  type QkvConfig,
  QkvParallelLinear,
  RowParallelLinear,
} from "./src/layers/parallel_linear.ts";
export { ParallelLmHead, VocabParallelEmbedding } from "./src/layers/vocab_parallel.ts";
export {
  type HostTensor,
  type LayerContext,
  MemoryWeights,
  type WeightSource,
} from "./src/layers/weight_source.ts";
export { type HeadShard, partition, type Shard } from "./src/layers/partition.ts";
export {
  type Communicator,
  CommunicatorError,
  type ReduceOp,
} from "./src/distributed/communicator.ts";
export { createDeviceMesh, type DeviceMesh } from "./src/distributed/device_mesh.ts";
export type {
  LauncherKind,
  LaunchOptions,
  RankContext,
  RankGroup,
  RankMain,
} from "./src/distributed/launcher.ts";
export { launchRanks } from "./src/distributed/launch_ranks.ts";
export { SharedMemoryCommunicator } from "./src/distributed/shared_memory_communicator.ts";
export { SingleRankCommunicator } from "./src/distributed/single_rank_communicator.ts";
export type { Device, DeviceDescription, DeviceKind } from "./src/tensor/device.ts";
export { type DType, dtypeBytes, type WeightDType } from "./src/tensor/dtype.ts";
export { openDevice } from "./src/tensor/open_device.ts";
export { Tensor, type TensorOptions } from "./src/tensor/tensor.ts";

if (import.meta.main) {
  const { main } = await import("./src/cli/main.ts");
  Deno.exit(await main(Deno.args));
}
