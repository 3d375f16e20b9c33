/**
 * Where an engine computes, settled before anything starts.
 * @module
 */
import { type GpuDescription, listGpus } from "../tensor/cuda/list_gpus.ts";
import { nativeObstacle } from "../native/native_library.ts";
import type { DeviceKind } from "../tensor/device.ts";
import type { DeviceName } from "../tensor/open_device.ts";
import type { EngineOptions } from "./types.ts";

/** A device that was chosen, and why. */
export interface DeviceChoice {
  /** Backend. */
  readonly kind: DeviceKind;
  /** Whether the CPU computes through WebAssembly. */
  readonly wasm: boolean;
  /** Why, for people. */
  readonly reason: string;
  /** The GPUs that the process sees; none when the CPU was chosen. */
  readonly gpus: readonly GpuDescription[];
}

/** How {@linkcode chooseDevice} finds out what there is. */
export interface DeviceProbes {
  /** The GPUs; throws what keeps them from being used. */
  readonly gpus?: () => readonly GpuDescription[];
  /** Why the native kernels cannot be compiled; null when they can. */
  readonly obstacle?: () => string | null;
}

/**
 * Settles what `auto` means: GPUs where there are any that can be used, else the CPU; and what the CPU
 * computes with: native kernels where they can be compiled, else WebAssembly. `cuda` throws what keeps it
 * from being used, the others say it.
 */
export function chooseDevice(
  asked: "auto" | DeviceName,
  { gpus: list = listGpus, obstacle = nativeObstacle }: DeviceProbes = {},
): DeviceChoice {
  if (asked === "wasm") return { kind: "cpu", wasm: true, reason: "asked for", gpus: [] };
  if (asked === "cpu") return chooseCpu("asked for", obstacle);
  if (asked === "cuda") return { kind: "cuda", wasm: false, reason: "asked for", gpus: list() };
  try {
    const gpus = list();
    if (gpus.length === 0) throw new Error("there is no GPU");
    const reason = `auto takes GPUs where there are any: ${gpus.length}`;
    return { kind: "cuda", wasm: false, reason, gpus };
  } catch (error) {
    // What was tried stands in the lines that follow: `inspect` shows them.
    const [why] = (error instanceof Error ? error.message : String(error)).split("\n");
    return chooseCpu(`auto finds no GPU to use: ${why}`, obstacle);
  }
}

function chooseCpu(reason: string, obstacle: () => string | null): DeviceChoice {
  const why = obstacle();
  if (why === null) return { kind: "cpu", wasm: false, reason, gpus: [] };
  return { kind: "cpu", wasm: true, reason: `${reason}; WebAssembly is used: ${why}`, gpus: [] };
}

/** Ranks of an engine that are to be placed on GPUs. */
export interface GpuPlacement {
  /** First GPU of the engine; each rank takes the next one. */
  readonly firstGpu: number;
  /** Ranks of the engine. */
  readonly ranks: number;
  /** Engines of this size that share the host. */
  readonly replicas: number;
}

/** Refuses more ranks than GPUs; throws RangeError that says what fits. */
export function verifyGpuPlacement(placement: GpuPlacement, gpus: number): void {
  const { firstGpu, ranks, replicas } = placement;
  const wanted = Math.max(firstGpu + ranks, ranks * replicas);
  if (wanted <= gpus) return;
  const each = replicas > 1 ? `${replicas} replicas of ${ranks} ranks` : `${ranks} ranks`;
  const from = firstGpu > 0 && replicas === 1 ? ` from GPU ${firstGpu} on` : "";
  throw new RangeError(
    `Cannot place ${each}${from} as each rank needs a GPU of its own and this process sees ${gpus}: ` +
      `tensor parallel size x pipeline parallel size x replicas may be at most ${gpus}`,
  );
}

/** Refuses options that the device has no use for, or cannot follow; throws RangeError. */
export function verifyDeviceOptions(
  options: EngineOptions,
  { device, wasm, ranks }: {
    readonly device: DeviceKind;
    readonly wasm: boolean;
    readonly ranks: number;
  },
): void {
  const { gpuMemoryUtilization, threads, launcher, weightStore, firstGpu = 0 } = options;
  if (!Number.isInteger(firstGpu) || firstGpu < 0) {
    throw new RangeError(`Cannot use firstGpu as it must be an integer from 0: ${firstGpu}`);
  }
  if (weightStore !== undefined && (wasm || device === "cuda")) {
    throw new RangeError(
      `Cannot share packed weights as ${
        wasm ? "WebAssembly kernels reach their own memory only" : "they lie in the memory of GPUs"
      }: leave weightStore out`,
    );
  }
  if (wasm && launcher === "process") {
    throw new RangeError(
      "Cannot run ranks as processes as the WebAssembly kernels share one memory: use launcher thread",
    );
  }
  if (device === "cpu") {
    if (gpuMemoryUtilization === undefined) return;
    throw new RangeError(
      "Cannot follow gpuMemoryUtilization as the device is the CPU: use kvCacheMemory",
    );
  }
  if (
    gpuMemoryUtilization !== undefined && !(gpuMemoryUtilization > 0 && gpuMemoryUtilization <= 1)
  ) {
    throw new RangeError(
      `Cannot use gpuMemoryUtilization as it must lie above 0 and go up to 1: ${gpuMemoryUtilization}`,
    );
  }
  if (threads !== undefined && threads !== 1) {
    throw new RangeError(
      `Cannot give a rank ${threads} threads as it computes on a GPU: one thread queues its work`,
    );
  }
  if (launcher === "thread" && ranks > 1) {
    throw new RangeError(
      `Cannot run ${ranks} ranks as threads as each GPU needs a process of its own: ` +
        `use launcher process`,
    );
  }
}
