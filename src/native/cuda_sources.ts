/**
 * The sources of the CUDA kernels, as text that travels with the module.
 * @module
 */
// One import and one entry per file, in alphabetical order; headers too.
import activationsCuh from "../../native/cuda/activations.cuh" with { type: "text" };
import attentionDecodeCu from "../../native/cuda/attention_decode.cu" with { type: "text" };
import attentionMergeCuh from "../../native/cuda/attention_merge.cuh" with { type: "text" };
import attentionPrefillCu from "../../native/cuda/attention_prefill.cu" with { type: "text" };
import attentionRowsCu from "../../native/cuda/attention_rows.cu" with { type: "text" };
import attentionTaskCuh from "../../native/cuda/attention_task.cuh" with { type: "text" };
import attentionTileCuh from "../../native/cuda/attention_tile.cuh" with { type: "text" };
import elementwiseCu from "../../native/cuda/elementwise.cu" with { type: "text" };
import expertTilesCuh from "../../native/cuda/expert_tiles.cuh" with { type: "text" };
import expertsCu from "../../native/cuda/experts.cu" with { type: "text" };
import groupedLinearCu from "../../native/cuda/grouped_linear.cu" with { type: "text" };
import linearCu from "../../native/cuda/linear.cu" with { type: "text" };
import linearBlockCuh from "../../native/cuda/linear_block.cuh" with { type: "text" };
import linearTileCuh from "../../native/cuda/linear_tile.cuh" with { type: "text" };
import mmaCuh from "../../native/cuda/mma.cuh" with { type: "text" };
import normCu from "../../native/cuda/norm.cu" with { type: "text" };
import numbersCuh from "../../native/cuda/numbers.cuh" with { type: "text" };
import philoxCuh from "../../native/cuda/philox.cuh" with { type: "text" };
import ptxCuh from "../../native/cuda/ptx.cuh" with { type: "text" };
import quantizeCu from "../../native/cuda/quantize.cu" with { type: "text" };
import quantizedCuh from "../../native/cuda/quantized.cuh" with { type: "text" };
import quantizedLinearCu from "../../native/cuda/quantized_linear.cu" with { type: "text" };
import quantizedMatrixCu from "../../native/cuda/quantized_matrix.cu" with { type: "text" };
import quantizedStagesCuh from "../../native/cuda/quantized_stages.cuh" with { type: "text" };
import quantizedTileCuh from "../../native/cuda/quantized_tile.cuh" with { type: "text" };
import reduceCuh from "../../native/cuda/reduce.cuh" with { type: "text" };
import resultCuh from "../../native/cuda/result.cuh" with { type: "text" };
import rotateAndCacheCu from "../../native/cuda/rotate_and_cache.cu" with { type: "text" };
import rowsCuh from "../../native/cuda/rows.cuh" with { type: "text" };
import samplingCuh from "../../native/cuda/sampling.cuh" with { type: "text" };
import samplingAdjustCu from "../../native/cuda/sampling_adjust.cu" with { type: "text" };
import samplingDrawCu from "../../native/cuda/sampling_draw.cu" with { type: "text" };
import samplingLogprobsCu from "../../native/cuda/sampling_logprobs.cu" with { type: "text" };
import samplingSlotsCu from "../../native/cuda/sampling_slots.cu" with { type: "text" };
import samplingThresholdCu from "../../native/cuda/sampling_threshold.cu" with { type: "text" };
import weightsCu from "../../native/cuda/weights.cu" with { type: "text" };
import type { NativeSource } from "./sources.ts";

/** Every file of `native/cuda`. */
export const CUDA_SOURCES: readonly NativeSource[] = [
  { name: "activations.cuh", text: activationsCuh },
  { name: "attention_decode.cu", text: attentionDecodeCu },
  { name: "attention_merge.cuh", text: attentionMergeCuh },
  { name: "attention_prefill.cu", text: attentionPrefillCu },
  { name: "attention_rows.cu", text: attentionRowsCu },
  { name: "attention_task.cuh", text: attentionTaskCuh },
  { name: "attention_tile.cuh", text: attentionTileCuh },
  { name: "elementwise.cu", text: elementwiseCu },
  { name: "expert_tiles.cuh", text: expertTilesCuh },
  { name: "experts.cu", text: expertsCu },
  { name: "grouped_linear.cu", text: groupedLinearCu },
  { name: "linear.cu", text: linearCu },
  { name: "linear_block.cuh", text: linearBlockCuh },
  { name: "linear_tile.cuh", text: linearTileCuh },
  { name: "mma.cuh", text: mmaCuh },
  { name: "norm.cu", text: normCu },
  { name: "numbers.cuh", text: numbersCuh },
  { name: "philox.cuh", text: philoxCuh },
  { name: "ptx.cuh", text: ptxCuh },
  { name: "quantize.cu", text: quantizeCu },
  { name: "quantized.cuh", text: quantizedCuh },
  { name: "quantized_linear.cu", text: quantizedLinearCu },
  { name: "quantized_matrix.cu", text: quantizedMatrixCu },
  { name: "quantized_stages.cuh", text: quantizedStagesCuh },
  { name: "quantized_tile.cuh", text: quantizedTileCuh },
  { name: "reduce.cuh", text: reduceCuh },
  { name: "result.cuh", text: resultCuh },
  { name: "rotate_and_cache.cu", text: rotateAndCacheCu },
  { name: "rows.cuh", text: rowsCuh },
  { name: "sampling.cuh", text: samplingCuh },
  { name: "sampling_adjust.cu", text: samplingAdjustCu },
  { name: "sampling_draw.cu", text: samplingDrawCu },
  { name: "sampling_logprobs.cu", text: samplingLogprobsCu },
  { name: "sampling_slots.cu", text: samplingSlotsCu },
  { name: "sampling_threshold.cu", text: samplingThresholdCu },
  { name: "weights.cu", text: weightsCu },
];
