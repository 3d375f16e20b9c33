/**
 * The sources of the CUDA kernels, as text that travels with the module.
 * @module
 */
// One import and one entry per file, in alphabetical order; headers too.
import numbersCuh from "../../native/cuda/numbers.cuh" with { type: "text" };
import ptxCuh from "../../native/cuda/ptx.cuh" with { type: "text" };
import reduceCuh from "../../native/cuda/reduce.cuh" with { type: "text" };
import type { NativeSource } from "./sources.ts";

/** Every file of `native/cuda`. */
export const CUDA_SOURCES: readonly NativeSource[] = [
  { name: "numbers.cuh", text: numbersCuh },
  { name: "ptx.cuh", text: ptxCuh },
  { name: "reduce.cuh", text: reduceCuh },
];
