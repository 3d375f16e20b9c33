/**
 * The functions of the CUDA runtime that weft calls (CUDA 12.9 and later).
 * @module
 */

/** FFI table of libcudart; handles and addresses are `usize`. */
export const CUDART_SYMBOLS = {
  // cudaError_t cudaRuntimeGetVersion(int* runtimeVersion)
  cudaRuntimeGetVersion: { parameters: ["buffer"], result: "i32" },
  // cudaError_t cudaDriverGetVersion(int* driverVersion)
  cudaDriverGetVersion: { parameters: ["buffer"], result: "i32" },
  // const char* cudaGetErrorName(cudaError_t error)
  cudaGetErrorName: { parameters: ["i32"], result: "usize" },
  // const char* cudaGetErrorString(cudaError_t error)
  cudaGetErrorString: { parameters: ["i32"], result: "usize" },
  // cudaError_t cudaGetLastError(void)
  cudaGetLastError: { parameters: [], result: "i32" },
  // cudaError_t cudaPeekAtLastError(void)
  cudaPeekAtLastError: { parameters: [], result: "i32" },

  // cudaError_t cudaGetDeviceCount(int* count)
  cudaGetDeviceCount: { parameters: ["buffer"], result: "i32" },
  // cudaError_t cudaSetDevice(int device)
  cudaSetDevice: { parameters: ["i32"], result: "i32" },
  // cudaError_t cudaGetDevice(int* device)
  cudaGetDevice: { parameters: ["buffer"], result: "i32" },
  // cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attr, int device)
  cudaDeviceGetAttribute: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  // cudaError_t cudaGetDeviceProperties(cudaDeviceProp* prop, int device)
  cudaGetDeviceProperties: { parameters: ["buffer", "i32"], result: "i32" },

  // cudaError_t cudaMemGetInfo(size_t* free, size_t* total)
  cudaMemGetInfo: { parameters: ["buffer", "buffer"], result: "i32" },
  // cudaError_t cudaMalloc(void** devPtr, size_t size)
  cudaMalloc: { parameters: ["buffer", "usize"], result: "i32" },
  // cudaError_t cudaFree(void* devPtr)
  cudaFree: { parameters: ["usize"], result: "i32" },
  // cudaError_t cudaHostAlloc(void** pHost, size_t size, unsigned int flags)
  cudaHostAlloc: { parameters: ["buffer", "usize", "u32"], result: "i32" },
  // cudaError_t cudaFreeHost(void* ptr)
  cudaFreeHost: { parameters: ["usize"], result: "i32" },
  // cudaError_t cudaHostRegister(void* ptr, size_t size, unsigned int flags)
  cudaHostRegister: { parameters: ["usize", "usize", "u32"], result: "i32" },
  // cudaError_t cudaHostUnregister(void* ptr)
  cudaHostUnregister: { parameters: ["usize"], result: "i32" },
  // cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t count, cudaMemcpyKind kind,
  //   cudaStream_t stream)
  cudaMemcpyAsync: { parameters: ["usize", "usize", "usize", "i32", "usize"], result: "i32" },
  // cudaError_t cudaMemcpy2DAsync(void* dst, size_t dpitch, const void* src, size_t spitch,
  //   size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream)
  cudaMemcpy2DAsync: {
    parameters: ["usize", "usize", "usize", "usize", "usize", "usize", "i32", "usize"],
    result: "i32",
  },
  // cudaError_t cudaMemsetAsync(void* devPtr, int value, size_t count, cudaStream_t stream)
  cudaMemsetAsync: { parameters: ["usize", "i32", "usize", "usize"], result: "i32" },

  // cudaError_t cudaStreamCreateWithFlags(cudaStream_t* pStream, unsigned int flags)
  cudaStreamCreateWithFlags: { parameters: ["buffer", "u32"], result: "i32" },
  // cudaError_t cudaStreamDestroy(cudaStream_t stream)
  cudaStreamDestroy: { parameters: ["usize"], result: "i32" },
  // cudaError_t cudaStreamQuery(cudaStream_t stream)
  cudaStreamQuery: { parameters: ["usize"], result: "i32" },
  // cudaError_t cudaStreamSynchronize(cudaStream_t stream)
  cudaStreamSynchronize: { parameters: ["usize"], result: "i32" },
  // cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags)
  cudaStreamWaitEvent: { parameters: ["usize", "usize", "u32"], result: "i32" },
  // cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags)
  cudaEventCreateWithFlags: { parameters: ["buffer", "u32"], result: "i32" },
  // cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
  cudaEventRecord: { parameters: ["usize", "usize"], result: "i32" },
  // cudaError_t cudaEventQuery(cudaEvent_t event)
  cudaEventQuery: { parameters: ["usize"], result: "i32" },
  // cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end)
  cudaEventElapsedTime: { parameters: ["buffer", "usize", "usize"], result: "i32" },
  // cudaError_t cudaEventDestroy(cudaEvent_t event)
  cudaEventDestroy: { parameters: ["usize"], result: "i32" },

  // cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
  cudaStreamBeginCapture: { parameters: ["usize", "i32"], result: "i32" },
  // cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* pGraph)
  cudaStreamEndCapture: { parameters: ["usize", "buffer"], result: "i32" },
  // cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* pCaptureStatus)
  cudaStreamIsCapturing: { parameters: ["usize", "buffer"], result: "i32" },
  // cudaError_t cudaGraphInstantiate(cudaGraphExec_t* pGraphExec, cudaGraph_t graph,
  //   unsigned long long flags)
  cudaGraphInstantiate: { parameters: ["buffer", "usize", "u64"], result: "i32" },
  // cudaError_t cudaGraphUpload(cudaGraphExec_t graphExec, cudaStream_t stream)
  cudaGraphUpload: { parameters: ["usize", "usize"], result: "i32" },
  // cudaError_t cudaGraphLaunch(cudaGraphExec_t graphExec, cudaStream_t stream)
  cudaGraphLaunch: { parameters: ["usize", "usize"], result: "i32" },
  // cudaError_t cudaGraphDestroy(cudaGraph_t graph)
  cudaGraphDestroy: { parameters: ["usize"], result: "i32" },
  // cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graphExec)
  cudaGraphExecDestroy: { parameters: ["usize"], result: "i32" },

  // cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void* code,
  //   cudaJitOption* jitOptions, void** jitOptionsValues, unsigned int numJitOptions,
  //   cudaLibraryOption* libraryOptions, void** libraryOptionValues, unsigned int numLibraryOptions)
  cudaLibraryLoadData: {
    parameters: ["buffer", "buffer", "usize", "usize", "u32", "usize", "usize", "u32"],
    result: "i32",
  },
  // cudaError_t cudaLibraryGetKernel(cudaKernel_t* pKernel, cudaLibrary_t library, const char* name)
  cudaLibraryGetKernel: { parameters: ["buffer", "usize", "buffer"], result: "i32" },
  // cudaError_t cudaLibraryUnload(cudaLibrary_t library)
  cudaLibraryUnload: { parameters: ["usize"], result: "i32" },
  // cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t kernel, cudaFuncAttribute attr,
  //   int value, int device)
  cudaKernelSetAttributeForDevice: { parameters: ["usize", "i32", "i32", "i32"], result: "i32" },
  // cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attr, const void* func)
  cudaFuncGetAttributes: { parameters: ["buffer", "usize"], result: "i32" },
  // cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* numBlocks, const void* func,
  //   int blockSize, size_t dynamicSMemSize)
  cudaOccupancyMaxActiveBlocksPerMultiprocessor: {
    parameters: ["buffer", "usize", "i32", "usize"],
    result: "i32",
  },
  // cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* func, void** args)
  cudaLaunchKernelExC: { parameters: ["usize", "usize", "usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
