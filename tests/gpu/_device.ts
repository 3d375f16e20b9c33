/**
 * The GPU of the tests: the emulator, or the real one when WEFT_TEST_GPU=1.
 * @module
 */
import { openCudart } from "../../src/native/cudart.ts";
import { type CudaDevice, openCudaDevice } from "../../src/tensor/cuda/device.ts";
import type { CudaContextSettings } from "../../src/tensor/cuda/open_context.ts";
import { emulatorLibraries } from "../cuda_emulator/build.ts";
import { EmulatorControls } from "../cuda_emulator/controls.ts";

/** Whether the tests run on the emulator. */
export const onEmulator: boolean = Deno.env.get("WEFT_TEST_GPU") !== "1";

/**
 * Makes this process, and those that it starts, find the emulated libraries; does nothing for the tests
 * on a real GPU.
 */
export async function useTestLibraries(): Promise<void> {
  if (!onEmulator) return;
  for (const [variable, path] of Object.entries(await emulatorLibraries())) {
    if (!replaced.has(variable)) replaced.set(variable, Deno.env.get(variable));
    Deno.env.set(variable, path);
  }
}

/** Variables as they were. */
const replaced = new Map<string, string | undefined>();

// All files of tests run in one process, and engines of the others would take the emulator for a GPU.
Deno.test.afterAll(() => {
  for (const [variable, value] of replaced) {
    if (value === undefined) Deno.env.delete(variable);
    else Deno.env.set(variable, value);
  }
});

/** Opens the GPU of the tests. */
export async function openTestDevice(settings: CudaContextSettings = {}): Promise<CudaDevice> {
  await useTestLibraries();
  return openCudaDevice(settings);
}

/** Number of GPUs that the tests have. */
export async function gpuCount(): Promise<number> {
  await useTestLibraries();
  using cudart = openCudart();
  return cudart.getDeviceCount();
}

/** The controls of the emulator; null on a real GPU. */
export async function emulatorControls(): Promise<EmulatorControls | null> {
  if (!onEmulator) return null;
  return new EmulatorControls((await emulatorLibraries()).WEFT_CUDART_PATH);
}

/**
 * Throws when this process has not freed something on the GPU, or misused the API since the last call.
 * Does nothing on a real GPU.
 */
export async function assertNothingLeft(): Promise<void> {
  using controls = await emulatorControls();
  if (controls === null) return;
  const [leaks, misuses] = [controls.leaks(), controls.takeMisuses()];
  if (leaks.length > 0) throw new Error(`Not freed on the GPU: ${leaks.join(", ")}`);
  if (misuses.length > 0) throw new Error(`The CUDA API was misused: ${misuses.join(", ")}`);
}
