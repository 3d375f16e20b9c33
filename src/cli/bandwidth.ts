/**
 * The memory bandwidth that decoding is held against.
 * @module
 */
import type { EngineConfig } from "../engine/engine_config.ts";
import { measureReadBandwidth } from "../native/memory_bandwidth.ts";
import { measureCopyBandwidth } from "../tensor/cuda/copy_bandwidth.ts";
import { openCudaContext } from "../tensor/cuda/open_context.ts";

const MAX_THREADS = 1024;

/**
 * Bytes a second that all ranks of `replicas` engines move together: read by their threads on the CPU;
 * read and written by copies on the first GPU, times the number of GPUs.
 */
export function measureBandwidth(config: EngineConfig, replicas: number): number {
  const ranks = config.tensorParallelSize * config.pipelineParallelSize * replicas;
  if (config.device === "cpu") {
    const threads = Math.min(MAX_THREADS, config.threads * ranks);
    return measureReadBandwidth({ threads, wasm: config.wasm });
  }
  using gpu = openCudaContext({ index: config.firstGpu });
  return ranks * measureCopyBandwidth(gpu.context);
}
