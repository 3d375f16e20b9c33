import type { NcclDevice } from "../../src/distributed/nccl_communicator.ts";
import type { CudaMemory } from "../../src/tensor/cuda/memory.ts";
import type { CudaStream } from "../../src/tensor/cuda/stream.ts";

/** What a communicator needs of a GPU, without the kernels of a whole device. */
export function ncclDevice(memory: CudaMemory, stream: CudaStream): NcclDevice {
  return {
    stream,
    allocate: memory.allocate.bind(memory),
    free: memory.free.bind(memory),
    upload: memory.upload.bind(memory),
    download: memory.download.bind(memory),
    copy: memory.copy.bind(memory),
  };
}
