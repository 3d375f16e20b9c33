/**
 * Values and structures of NCCL, under their C names.
 * @module
 */
import type { CConstants, CStructure } from "./c_declarations.ts";

/** Statuses (`ncclResult_t`). */
export const NcclResult = {
  ncclSuccess: 0,
  ncclUnhandledCudaError: 1,
  ncclSystemError: 2,
  ncclInternalError: 3,
  ncclInvalidArgument: 4,
  ncclInvalidUsage: 5,
  ncclRemoteError: 6,
  ncclInProgress: 7,
} as const satisfies CConstants;

/** Types of elements. */
export const NcclDataType = {
  ncclInt8: 0,
  ncclUint8: 1,
  ncclInt32: 2,
  ncclUint32: 3,
  ncclInt64: 4,
  ncclUint64: 5,
  ncclFloat16: 6,
  ncclFloat32: 7,
  ncclFloat64: 8,
  ncclBfloat16: 9,
} as const satisfies CConstants;

/** Reductions. */
export const NcclReduction = {
  ncclSum: 0,
  ncclProd: 1,
  ncclMax: 2,
  ncclMin: 3,
  ncclAvg: 4,
} as const satisfies CConstants;

/** Other values. */
export const NcclConstant = {
  NCCL_UNIQUE_ID_BYTES: 128,
  NCCL_CONFIG_UNDEF_INT: -0x8000_0000,
  NCCL_API_MAGIC: 0xcafebeef,
  NCCL_SPLIT_NOCOLOR: -1,
  NCCL_WIN_DEFAULT: 0,
  NCCL_WIN_COLL_SYMMETRIC: 1,
} as const satisfies CConstants;

/**
 * The configuration of a communicator as NCCL 2.18 had it; later versions only added to its end, and
 * `trafficClass` where there was padding.
 */
export const NCCL_CONFIG = {
  type: "ncclConfig_t",
  byteLength: 48,
  extent: "begin",
  offsets: {
    size: 0,
    magic: 8,
    version: 12,
    blocking: 16,
    cgaClusterSize: 20,
    minCTAs: 24,
    maxCTAs: 28,
    netName: 32,
    splitShare: 40,
    trafficClass: 44,
  },
} as const satisfies CStructure;
