/**
 * The sources of the CUDA kernels, as text that travels with the module.
 * @module
 */
// One import and one entry per file, in alphabetical order; headers too.
import elementwiseCu from "../../native/cuda/elementwise.cu" with { type: "text" };
import expertsCu from "../../native/cuda/experts.cu" with { type: "text" };
import normCu from "../../native/cuda/norm.cu" with { type: "text" };
import numbersCuh from "../../native/cuda/numbers.cuh" with { type: "text" };
import ptxCuh from "../../native/cuda/ptx.cuh" with { type: "text" };
import reduceCuh from "../../native/cuda/reduce.cuh" with { type: "text" };
import rowsCuh from "../../native/cuda/rows.cuh" with { type: "text" };
import type { NativeSource } from "./sources.ts";

/** Every file of `native/cuda`. */
export const CUDA_SOURCES: readonly NativeSource[] = [
  { name: "elementwise.cu", text: elementwiseCu },
  { name: "experts.cu", text: expertsCu },
  { name: "norm.cu", text: normCu },
  { name: "numbers.cuh", text: numbersCuh },
  { name: "ptx.cuh", text: ptxCuh },
  { name: "reduce.cuh", text: reduceCuh },
  { name: "rows.cuh", text: rowsCuh },
];
