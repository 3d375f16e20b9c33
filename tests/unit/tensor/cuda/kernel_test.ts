import { assertEquals } from "@std/assert";
import type { Cudart } from "../../../../src/native/cudart.ts";
import { CUDA_LAUNCH_CONFIG } from "../../../../src/native/cudart_types.ts";
import { CudaKernel } from "../../../../src/tensor/cuda/kernel.ts";

/** Number of launch attributes that CUDA is given. */
function launchAttributes(startsEarly: boolean): number {
  let attributes = -1;
  const cudart = {
    launchKernelExC(config: bigint): void {
      const view = new Deno.UnsafePointerView(Deno.UnsafePointer.create(config)!);
      attributes = view.getUint32(CUDA_LAUNCH_CONFIG.offsets.numAttrs);
    },
  } as unknown as Cudart;
  const kernel = new CudaKernel(cudart, {
    name: "some_kernel",
    kernel: 1n,
    stream: 1n,
    parameters: ["i32"],
    maxSharedBytes: 0,
    startsEarly,
  });
  kernel.launch({ grid: [1], threads: 32 }, [1]);
  return attributes;
}

Deno.test("only kernels that wait by themselves are launched before the ones ahead have ended", () => {
  assertEquals(launchAttributes(true), 1);
  assertEquals(launchAttributes(false), 0);
});
