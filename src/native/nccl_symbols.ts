/**
 * The functions of NCCL that weft calls (NCCL 2.18 and later).
 * @module
 */

/** `ncclUniqueId`, 128 bytes by value. */
// deno-fmt-ignore
const UNIQUE_ID = {
  struct: [
    "u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64",
    "u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64",
  ],
} as const;

/** FFI table of libnccl; communicators, windows and addresses are `usize`. */
export const NCCL_SYMBOLS = {
  // ncclResult_t ncclGetVersion(int* version)
  ncclGetVersion: { parameters: ["buffer"], result: "i32" },
  // const char* ncclGetErrorString(ncclResult_t result)
  ncclGetErrorString: { parameters: ["i32"], result: "usize" },
  // const char* ncclGetLastError(ncclComm_t comm)
  ncclGetLastError: { parameters: ["usize"], result: "usize" },

  // ncclResult_t ncclGetUniqueId(ncclUniqueId* uniqueId)
  ncclGetUniqueId: { parameters: ["buffer"], result: "i32" },
  // NCCL >= 2.23: ncclResult_t ncclCommInitRankScalable(ncclComm_t* newcomm, int nranks, int myrank,
  //   int nId, ncclUniqueId* commIds, ncclConfig_t* config)
  ncclCommInitRankScalable: {
    parameters: ["buffer", "i32", "i32", "i32", "buffer", "buffer"],
    result: "i32",
    optional: true,
  },
  // ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int nranks, ncclUniqueId commId, int rank,
  //   ncclConfig_t* config)
  ncclCommInitRankConfig: {
    parameters: ["buffer", "i32", UNIQUE_ID, "i32", "buffer"],
    result: "i32",
  },
  // ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* newcomm,
  //   ncclConfig_t* config)
  ncclCommSplit: { parameters: ["usize", "i32", "i32", "buffer", "buffer"], result: "i32" },
  // ncclResult_t ncclCommFinalize(ncclComm_t comm)
  ncclCommFinalize: { parameters: ["usize"], result: "i32" },
  // ncclResult_t ncclCommDestroy(ncclComm_t comm)
  ncclCommDestroy: { parameters: ["usize"], result: "i32" },
  // ncclResult_t ncclCommAbort(ncclComm_t comm)
  ncclCommAbort: { parameters: ["usize"], result: "i32" },
  // ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* asyncError)
  ncclCommGetAsyncError: { parameters: ["usize", "buffer"], result: "i32" },

  // ncclResult_t ncclAllReduce(const void* sendbuff, void* recvbuff, size_t count,
  //   ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
  ncclAllReduce: {
    parameters: ["usize", "usize", "usize", "i32", "i32", "usize", "usize"],
    result: "i32",
  },
  // ncclResult_t ncclAllGather(const void* sendbuff, void* recvbuff, size_t sendcount,
  //   ncclDataType_t datatype, ncclComm_t comm, cudaStream_t stream)
  ncclAllGather: {
    parameters: ["usize", "usize", "usize", "i32", "usize", "usize"],
    result: "i32",
  },
  // ncclResult_t ncclReduceScatter(const void* sendbuff, void* recvbuff, size_t recvcount,
  //   ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
  ncclReduceScatter: {
    parameters: ["usize", "usize", "usize", "i32", "i32", "usize", "usize"],
    result: "i32",
  },
  // ncclResult_t ncclBroadcast(const void* sendbuff, void* recvbuff, size_t count,
  //   ncclDataType_t datatype, int root, ncclComm_t comm, cudaStream_t stream)
  ncclBroadcast: {
    parameters: ["usize", "usize", "usize", "i32", "i32", "usize", "usize"],
    result: "i32",
  },
  // ncclResult_t ncclSend(const void* sendbuff, size_t count, ncclDataType_t datatype, int peer,
  //   ncclComm_t comm, cudaStream_t stream)
  ncclSend: { parameters: ["usize", "usize", "i32", "i32", "usize", "usize"], result: "i32" },
  // ncclResult_t ncclRecv(void* recvbuff, size_t count, ncclDataType_t datatype, int peer,
  //   ncclComm_t comm, cudaStream_t stream)
  ncclRecv: { parameters: ["usize", "usize", "i32", "i32", "usize", "usize"], result: "i32" },
  // ncclResult_t ncclGroupStart()
  ncclGroupStart: { parameters: [], result: "i32" },
  // ncclResult_t ncclGroupEnd()
  ncclGroupEnd: { parameters: [], result: "i32" },

  // NCCL >= 2.19: ncclResult_t ncclMemAlloc(void** ptr, size_t size)
  ncclMemAlloc: { parameters: ["buffer", "usize"], result: "i32", optional: true },
  // NCCL >= 2.19: ncclResult_t ncclMemFree(void* ptr)
  ncclMemFree: { parameters: ["usize"], result: "i32", optional: true },
  // NCCL >= 2.27: ncclResult_t ncclCommWindowRegister(ncclComm_t comm, void* buff, size_t size,
  //   ncclWindow_t* win, int winFlags)
  ncclCommWindowRegister: {
    parameters: ["usize", "usize", "usize", "buffer", "i32"],
    result: "i32",
    optional: true,
  },
  // NCCL >= 2.27: ncclResult_t ncclCommWindowDeregister(ncclComm_t comm, ncclWindow_t win)
  ncclCommWindowDeregister: { parameters: ["usize", "usize"], result: "i32", optional: true },
} as const satisfies Deno.ForeignLibraryInterface;
