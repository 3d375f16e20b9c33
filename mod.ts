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
// Engines: one model on its ranks, requests streamed through it.
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
export { type DigestOptions, folderDigest } from "./src/engine/folder_digest.ts";
export {
  type LoadedWeights,
  type PauseMode,
  type UpdatableWeights,
  WeightsError,
  type WeightsErrorReason,
  type WeightsFolder,
  type WeightsStatus,
} from "./src/engine/weights.ts";

// Serving: more in "@weft/weft/server".
export { createServer, type ServerApp, type ServerOptions } from "./src/serving/server.ts";
export type { TextService } from "./src/serving/text_service.ts";
export {
  type Dispatch,
  ReplicaRouter,
  type ReplicaRouterOptions,
} from "./src/serving/replica_router.ts";
export type {
  BalancingPolicy,
  ReplicaLoad,
  RoutedOutcome,
  RoutedRequest,
} from "./src/routing/balancing_policy.ts";
export { RequestGate, type RequestGateOptions } from "./src/serving/request_gate.ts";

// Text: tokenizer, chat template, incremental detokenizer.
export { TextProcessor, type TextProcessorOptions } from "./src/text/text_processor.ts";
export type { ChatContentPart, ChatMessage } from "./src/text/chat_message.ts";
export type { RenderChatOptions } from "./src/text/chat_template.ts";
export type { StopHit, TextDelta } from "./src/text/detokenizer.ts";
export { TextError, type TextErrorReason } from "./src/text/text_error.ts";
export type { RenderedChat, TextInfo, TextStreamOptions } from "./src/text/text_model.ts";
export type { TextStream } from "./src/text/text_stream.ts";
export type { TokenText } from "./src/text/token_bytes.ts";

// Models: checkpoints in Hugging Face form.
export { Checkpoint, type CheckpointTensor } from "./src/models/checkpoint.ts";
export { DummyWeights } from "./src/models/dummy_weights.ts";
export { ModelLoadError, type ModelLoadErrorOptions } from "./src/models/errors.ts";
export {
  initCheckpoint,
  type InitCheckpointOptions,
  type InitializedCheckpoint,
} from "./src/models/init_checkpoint.ts";
export type { JsonObject, JsonValue } from "./src/models/json_file.ts";
export {
  type ExpertsConfig,
  type ModelConfig,
  readModelConfig,
} from "./src/models/model_config.ts";
export {
  type ParameterKind,
  type ParameterShape,
  parameterShapes,
} from "./src/models/parameter_shapes.ts";
export type { QuantizationConfig } from "./src/models/quantization_config.ts";
export type { NamedLayer } from "./src/models/quantized_layer.ts";
export {
  quantizeCheckpoint,
  type QuantizeCheckpointOptions,
  type QuantizedCheckpoint,
} from "./src/models/quantize/quantize_checkpoint.ts";
export { presetConfig, type PresetName } from "./src/models/presets.ts";
export { SafetensorsWriter } from "./src/models/safetensors_writer.ts";

// Layers: tensor parallelism.
export {
  ColumnParallelLinear,
  MergedColumnParallelLinear,
} from "./src/layers/column_parallel_linear.ts";
export type { LinearConfig } from "./src/layers/local_linear.ts";
export { type QkvConfig, QkvParallelLinear } from "./src/layers/qkv_parallel_linear.ts";
export { RowParallelLinear } from "./src/layers/row_parallel_linear.ts";
export {
  ParallelLmHead,
  VocabParallelEmbedding,
  type VocabShard,
} from "./src/layers/vocab_parallel.ts";
export {
  type HostTensor,
  type LayerContext,
  type LinearSize,
  MemoryWeights,
  type WeightSource,
} from "./src/layers/weight_source.ts";
export { type HeadShard, partition, type Shard } from "./src/layers/partition.ts";
export type { RopeConfig, RopeScaling } from "./src/layers/rotary_embedding.ts";

// Ranks: launchers, communicators, the mesh.
export {
  type Communicator,
  CommunicatorError,
  type ReduceOp,
} from "./src/distributed/communicator.ts";
export {
  createDeviceMesh,
  type DeviceMesh,
  type MeshCoordinates,
  meshCoordinates,
  type MeshSizes,
} from "./src/distributed/device_mesh.ts";
export type {
  LauncherKind,
  LaunchOptions,
  RankContext,
  RankGroup,
  RankMain,
} from "./src/distributed/launcher.ts";
export { launchRanks } from "./src/distributed/launch_ranks.ts";
export {
  SingleRankCommunicator,
  type SingleRankOptions,
} from "./src/distributed/single_rank_communicator.ts";
export type { HostBuffer } from "./src/native/communication.ts";
export type { SharedMemoryHandle } from "./src/native/shared_memory.ts";

// Devices and tensors.
export type {
  Device,
  DeviceDescription,
  DeviceKind,
  DeviceMemory,
  Readback,
  Recording,
} from "./src/tensor/device.ts";
export type {
  AttentionKernels,
  AttentionShape,
  BatchTensors,
  KvCacheLayer,
  KvCacheShape,
  QueryKeyTransform,
} from "./src/tensor/attention_kernels.ts";
export type { ElementwiseKernels } from "./src/tensor/elementwise_kernels.ts";
export type { ExpertKernels } from "./src/tensor/expert_kernels.ts";
export type {
  GatedLinearOptions,
  HostMatrix,
  HostVector,
  LinearKernels,
  LinearOptions,
  LinearWeight,
  QuantizedMatrix,
  WeightFormat,
  WeightOptions,
  WeightPart,
} from "./src/tensor/linear_kernels.ts";
export type { NormKernels, NormOptions } from "./src/tensor/norm_kernels.ts";
export type {
  GumbelOptions,
  LogitEntries,
  SamplingKernels,
  ThresholdRound,
} from "./src/tensor/sampling_kernels.ts";
export { type DType, dtypeBytes, type KvDType, type WeightDType } from "./src/tensor/dtype.ts";
export { CapacityError } from "./src/tensor/errors.ts";
export { type DeviceName, openDevice, type OpenDeviceOptions } from "./src/tensor/open_device.ts";
export type { PanelSpace, SharedPanels } from "./src/tensor/cpu/panel_memory.ts";
export { WeightStore, type WeightStoreHandle } from "./src/tensor/cpu/weight_store.ts";
export { Tensor, type TensorOptions } from "./src/tensor/tensor.ts";

if (import.meta.main) {
  const { main } = await import("./src/cli/main.ts");
  Deno.exit(await main(Deno.args));
}
