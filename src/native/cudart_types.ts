/**
 * Values and structures of the CUDA runtime, under their C names.
 * @module
 */
import type { CConstants, CStructure } from "./c_declarations.ts";

/** The statuses (`cudaError_t`) that weft treats in a way of their own. */
export const CudaError = {
  cudaSuccess: 0,
  cudaErrorInvalidValue: 1,
  cudaErrorMemoryAllocation: 2,
  cudaErrorInsufficientDriver: 35,
  cudaErrorNoDevice: 100,
  cudaErrorNotReady: 600,
} as const satisfies CConstants;

/** What `cudaDeviceGetAttribute` can be asked. Clock rates are in kHz, sizes in bytes. */
export const CudaDeviceAttribute = {
  cudaDevAttrMaxThreadsPerBlock: 1,
  cudaDevAttrMaxSharedMemoryPerBlock: 8,
  cudaDevAttrWarpSize: 10,
  cudaDevAttrClockRate: 13,
  cudaDevAttrMultiProcessorCount: 16,
  cudaDevAttrMemoryClockRate: 36,
  cudaDevAttrGlobalMemoryBusWidth: 37,
  cudaDevAttrL2CacheSize: 38,
  cudaDevAttrMaxThreadsPerMultiProcessor: 39,
  cudaDevAttrComputeCapabilityMajor: 75,
  cudaDevAttrComputeCapabilityMinor: 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor: 81,
  cudaDevAttrMaxSharedMemoryPerBlockOptin: 97,
  cudaDevAttrHostRegisterReadOnlySupported: 113,
} as const satisfies CConstants;

/** Direction of a copy. */
export const CudaMemcpyKind = {
  cudaMemcpyHostToHost: 0,
  cudaMemcpyHostToDevice: 1,
  cudaMemcpyDeviceToHost: 2,
  cudaMemcpyDeviceToDevice: 3,
  cudaMemcpyDefault: 4,
} as const satisfies CConstants;

/** Flags of host memory. */
export const CudaHostFlags = {
  cudaHostAllocDefault: 0,
  cudaHostAllocPortable: 1,
  cudaHostRegisterDefault: 0,
  cudaHostRegisterPortable: 1,
  cudaHostRegisterReadOnly: 8,
} as const satisfies CConstants;

/** Flags of streams and events. */
export const CudaStreamFlags = {
  cudaStreamNonBlocking: 1,
  cudaEventDefault: 0,
  cudaEventDisableTiming: 2,
} as const satisfies CConstants;

/** Which calls of other threads a capture forbids, and how a capture stands. */
export const CudaStreamCapture = {
  cudaStreamCaptureModeGlobal: 0,
  cudaStreamCaptureModeThreadLocal: 1,
  cudaStreamCaptureModeRelaxed: 2,
  cudaStreamCaptureStatusNone: 0,
  cudaStreamCaptureStatusActive: 1,
  cudaStreamCaptureStatusInvalidated: 2,
} as const satisfies CConstants;

/** Attributes of a kernel that can be set. */
export const CudaFunctionAttribute = {
  cudaFuncAttributeMaxDynamicSharedMemorySize: 8,
  cudaFuncAttributePreferredSharedMemoryCarveout: 9,
} as const satisfies CConstants;

/** Attributes of one launch. */
export const CudaLaunchAttribute = {
  cudaLaunchAttributeProgrammaticStreamSerialization: 6,
} as const satisfies CConstants;

/** Properties of a device; CUDA 12 has fewer of them, in the same places. */
export const CUDA_DEVICE_PROPERTIES = {
  type: "cudaDeviceProp",
  byteLength: 4096,
  extent: "room",
  offsets: { name: 0, totalGlobalMem: 288 },
} as const satisfies CStructure;

/** Attributes of a compiled kernel. */
export const CUDA_FUNCTION_ATTRIBUTES = {
  type: "cudaFuncAttributes",
  byteLength: 512,
  extent: "room",
  offsets: { sharedSizeBytes: 0, localSizeBytes: 16, maxThreadsPerBlock: 24, numRegs: 28 },
} as const satisfies CStructure;

/** The configuration of a launch. */
export const CUDA_LAUNCH_CONFIG = {
  type: "cudaLaunchConfig_t",
  byteLength: 56,
  extent: "whole",
  offsets: {
    gridDim: 0,
    blockDim: 12,
    dynamicSmemBytes: 24,
    stream: 32,
    attrs: 40,
    numAttrs: 48,
  },
} as const satisfies CStructure;

/** One attribute of a launch. */
export const CUDA_LAUNCH_ATTRIBUTE = {
  type: "cudaLaunchAttribute",
  byteLength: 72,
  extent: "whole",
  offsets: { id: 0, val: 8, "val.programmaticStreamSerializationAllowed": 8 },
} as const satisfies CStructure;
