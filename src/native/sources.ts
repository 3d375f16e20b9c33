/**
 * The C sources of the CPU kernels, as text that travels with the module.
 * @module
 */
// One import and one entry per file, in alphabetical order; headers too.
import activationC from "../../native/cpu/activation.c" with { type: "text" };
import activationH from "../../native/cpu/activation.h" with { type: "text" };
import adjustLogitsC from "../../native/cpu/adjust_logits.c" with { type: "text" };
import amxH from "../../native/cpu/amx.h" with { type: "text" };
import amxCheckC from "../../native/cpu/amx_check.c" with { type: "text" };
import amxCheckH from "../../native/cpu/amx_check.h" with { type: "text" };
import attentionC from "../../native/cpu/attention.c" with { type: "text" };
import attentionBf16C from "../../native/cpu/attention_bf16.c" with { type: "text" };
import attentionBf16AmxH from "../../native/cpu/attention_bf16_amx.h" with { type: "text" };
import attentionBlocksH from "../../native/cpu/attention_blocks.h" with { type: "text" };
import attentionF32C from "../../native/cpu/attention_f32.c" with { type: "text" };
import attentionFloatH from "../../native/cpu/attention_float.h" with { type: "text" };
import attentionFloatVectorH from "../../native/cpu/attention_float_vector.h" with { type: "text" };
import attentionGroupH from "../../native/cpu/attention_group.h" with { type: "text" };
import attentionInt8C from "../../native/cpu/attention_int8.c" with { type: "text" };
import attentionInt8AmxH from "../../native/cpu/attention_int8_amx.h" with { type: "text" };
import attentionPartitionC from "../../native/cpu/attention_partition.c" with { type: "text" };
import attentionPartitionH from "../../native/cpu/attention_partition.h" with { type: "text" };
import attentionVectorH from "../../native/cpu/attention_vector.h" with { type: "text" };
import bandwidthC from "../../native/cpu/bandwidth.c" with { type: "text" };
import byteRingC from "../../native/cpu/byte_ring.c" with { type: "text" };
import byteRingH from "../../native/cpu/byte_ring.h" with { type: "text" };
import collectivesC from "../../native/cpu/collectives.c" with { type: "text" };
import elementwiseC from "../../native/cpu/elementwise.c" with { type: "text" };
import embeddingC from "../../native/cpu/embedding.c" with { type: "text" };
import expertsC from "../../native/cpu/experts.c" with { type: "text" };
import gumbelC from "../../native/cpu/gumbel.c" with { type: "text" };
import identityC from "../../native/cpu/identity.c" with { type: "text" };
import integerDotH from "../../native/cpu/integer_dot.h" with { type: "text" };
import integerDotAvx2H from "../../native/cpu/integer_dot_avx2.h" with { type: "text" };
import integerDotAvx512H from "../../native/cpu/integer_dot_avx512.h" with { type: "text" };
import integerDotNeonH from "../../native/cpu/integer_dot_neon.h" with { type: "text" };
import integerDotPortableH from "../../native/cpu/integer_dot_portable.h" with { type: "text" };
import integerDotWasmH from "../../native/cpu/integer_dot_wasm.h" with { type: "text" };
import kvCacheC from "../../native/cpu/kv_cache.c" with { type: "text" };
import kvCacheH from "../../native/cpu/kv_cache.h" with { type: "text" };
import linearC from "../../native/cpu/linear.c" with { type: "text" };
import linearH from "../../native/cpu/linear.h" with { type: "text" };
import linearPanelsC from "../../native/cpu/linear_panels.c" with { type: "text" };
import linearPanelsH from "../../native/cpu/linear_panels.h" with { type: "text" };
import linearRowsC from "../../native/cpu/linear_rows.c" with { type: "text" };
import logSumExpC from "../../native/cpu/log_sum_exp.c" with { type: "text" };
import logitHistogramC from "../../native/cpu/logit_histogram.c" with { type: "text" };
import mappedPagesH from "../../native/cpu/mapped_pages.h" with { type: "text" };
import memoryC from "../../native/cpu/memory.c" with { type: "text" };
import memoryMapC from "../../native/cpu/memory_map.c" with { type: "text" };
import normC from "../../native/cpu/norm.c" with { type: "text" };
import normH from "../../native/cpu/norm.h" with { type: "text" };
import orderedKeyH from "../../native/cpu/ordered_key.h" with { type: "text" };
import panelGroupH from "../../native/cpu/panel_group.h" with { type: "text" };
import panelMemoryC from "../../native/cpu/panel_memory.c" with { type: "text" };
import panelPackC from "../../native/cpu/panel_pack.c" with { type: "text" };
import panelSimdH from "../../native/cpu/panel_simd.h" with { type: "text" };
import panelTileAmxH from "../../native/cpu/panel_tile_amx.h" with { type: "text" };
import panelTileVectorH from "../../native/cpu/panel_tile_vector.h" with { type: "text" };
import pauseH from "../../native/cpu/pause.h" with { type: "text" };
import philoxH from "../../native/cpu/philox.h" with { type: "text" };
import poolC from "../../native/cpu/pool.c" with { type: "text" };
import poolH from "../../native/cpu/pool.h" with { type: "text" };
import quantizedH from "../../native/cpu/quantized.h" with { type: "text" };
import quantizedAmxC from "../../native/cpu/quantized_amx.c" with { type: "text" };
import quantizedExactC from "../../native/cpu/quantized_exact.c" with { type: "text" };
import quantizedImportC from "../../native/cpu/quantized_import.c" with { type: "text" };
import quantizedInputC from "../../native/cpu/quantized_input.c" with { type: "text" };
import quantizedIntegerC from "../../native/cpu/quantized_integer.c" with { type: "text" };
import quantizedLinearC from "../../native/cpu/quantized_linear.c" with { type: "text" };
import quantizedNibblesC from "../../native/cpu/quantized_nibbles.c" with { type: "text" };
import quantizedPackC from "../../native/cpu/quantized_pack.c" with { type: "text" };
import quantizedStreamC from "../../native/cpu/quantized_stream.c" with { type: "text" };
import quantizedTileH from "../../native/cpu/quantized_tile.h" with { type: "text" };
import quantizedTokenH from "../../native/cpu/quantized_token.h" with { type: "text" };
import rotateAndCacheC from "../../native/cpu/rotate_and_cache.c" with { type: "text" };
import sharedMemoryC from "../../native/cpu/shared_memory.c" with { type: "text" };
import sharedMemoryH from "../../native/cpu/shared_memory.h" with { type: "text" };
import sharedPanelsC from "../../native/cpu/shared_panels.c" with { type: "text" };
import sharedRegionC from "../../native/cpu/shared_region.c" with { type: "text" };
import simdH from "../../native/cpu/simd.h" with { type: "text" };
import simdAvx2H from "../../native/cpu/simd_avx2.h" with { type: "text" };
import simdAvx512H from "../../native/cpu/simd_avx512.h" with { type: "text" };
import simdMathH from "../../native/cpu/simd_math.h" with { type: "text" };
import simdNeonH from "../../native/cpu/simd_neon.h" with { type: "text" };
import simdPartialH from "../../native/cpu/simd_partial.h" with { type: "text" };
import simdPortableH from "../../native/cpu/simd_portable.h" with { type: "text" };
import simdWasmH from "../../native/cpu/simd_wasm.h" with { type: "text" };
import slotTokensC from "../../native/cpu/slot_tokens.c" with { type: "text" };
import softmaxC from "../../native/cpu/softmax.c" with { type: "text" };
import softmaxH from "../../native/cpu/softmax.h" with { type: "text" };
import thresholdC from "../../native/cpu/threshold.c" with { type: "text" };
import topKC from "../../native/cpu/top_k.c" with { type: "text" };
import treeReduceH from "../../native/cpu/tree_reduce.h" with { type: "text" };

/** A source file that is compiled into the native library (`.c`) or included by one (`.h`). */
export interface NativeSource {
  /** File name, used by `#include "..."`. */
  readonly name: string;
  /** Contents. */
  readonly text: string;
}

/** Every file of `native/cpu`. */
export const CPU_SOURCES: readonly NativeSource[] = [
  { name: "activation.c", text: activationC },
  { name: "activation.h", text: activationH },
  { name: "adjust_logits.c", text: adjustLogitsC },
  { name: "amx.h", text: amxH },
  { name: "amx_check.c", text: amxCheckC },
  { name: "amx_check.h", text: amxCheckH },
  { name: "attention.c", text: attentionC },
  { name: "attention_bf16.c", text: attentionBf16C },
  { name: "attention_bf16_amx.h", text: attentionBf16AmxH },
  { name: "attention_blocks.h", text: attentionBlocksH },
  { name: "attention_f32.c", text: attentionF32C },
  { name: "attention_float.h", text: attentionFloatH },
  { name: "attention_float_vector.h", text: attentionFloatVectorH },
  { name: "attention_group.h", text: attentionGroupH },
  { name: "attention_int8.c", text: attentionInt8C },
  { name: "attention_int8_amx.h", text: attentionInt8AmxH },
  { name: "attention_partition.c", text: attentionPartitionC },
  { name: "attention_partition.h", text: attentionPartitionH },
  { name: "attention_vector.h", text: attentionVectorH },
  { name: "bandwidth.c", text: bandwidthC },
  { name: "byte_ring.c", text: byteRingC },
  { name: "byte_ring.h", text: byteRingH },
  { name: "collectives.c", text: collectivesC },
  { name: "elementwise.c", text: elementwiseC },
  { name: "embedding.c", text: embeddingC },
  { name: "experts.c", text: expertsC },
  { name: "gumbel.c", text: gumbelC },
  { name: "identity.c", text: identityC },
  { name: "integer_dot.h", text: integerDotH },
  { name: "integer_dot_avx2.h", text: integerDotAvx2H },
  { name: "integer_dot_avx512.h", text: integerDotAvx512H },
  { name: "integer_dot_neon.h", text: integerDotNeonH },
  { name: "integer_dot_portable.h", text: integerDotPortableH },
  { name: "integer_dot_wasm.h", text: integerDotWasmH },
  { name: "kv_cache.c", text: kvCacheC },
  { name: "kv_cache.h", text: kvCacheH },
  { name: "linear.c", text: linearC },
  { name: "linear.h", text: linearH },
  { name: "linear_panels.c", text: linearPanelsC },
  { name: "linear_panels.h", text: linearPanelsH },
  { name: "linear_rows.c", text: linearRowsC },
  { name: "log_sum_exp.c", text: logSumExpC },
  { name: "logit_histogram.c", text: logitHistogramC },
  { name: "mapped_pages.h", text: mappedPagesH },
  { name: "memory.c", text: memoryC },
  { name: "memory_map.c", text: memoryMapC },
  { name: "norm.c", text: normC },
  { name: "norm.h", text: normH },
  { name: "ordered_key.h", text: orderedKeyH },
  { name: "panel_group.h", text: panelGroupH },
  { name: "panel_memory.c", text: panelMemoryC },
  { name: "panel_pack.c", text: panelPackC },
  { name: "panel_simd.h", text: panelSimdH },
  { name: "panel_tile_amx.h", text: panelTileAmxH },
  { name: "panel_tile_vector.h", text: panelTileVectorH },
  { name: "pause.h", text: pauseH },
  { name: "philox.h", text: philoxH },
  { name: "pool.c", text: poolC },
  { name: "pool.h", text: poolH },
  { name: "quantized.h", text: quantizedH },
  { name: "quantized_amx.c", text: quantizedAmxC },
  { name: "quantized_exact.c", text: quantizedExactC },
  { name: "quantized_import.c", text: quantizedImportC },
  { name: "quantized_input.c", text: quantizedInputC },
  { name: "quantized_integer.c", text: quantizedIntegerC },
  { name: "quantized_linear.c", text: quantizedLinearC },
  { name: "quantized_nibbles.c", text: quantizedNibblesC },
  { name: "quantized_pack.c", text: quantizedPackC },
  { name: "quantized_stream.c", text: quantizedStreamC },
  { name: "quantized_tile.h", text: quantizedTileH },
  { name: "quantized_token.h", text: quantizedTokenH },
  { name: "rotate_and_cache.c", text: rotateAndCacheC },
  { name: "shared_memory.c", text: sharedMemoryC },
  { name: "shared_memory.h", text: sharedMemoryH },
  { name: "shared_panels.c", text: sharedPanelsC },
  { name: "shared_region.c", text: sharedRegionC },
  { name: "simd.h", text: simdH },
  { name: "simd_avx2.h", text: simdAvx2H },
  { name: "simd_avx512.h", text: simdAvx512H },
  { name: "simd_math.h", text: simdMathH },
  { name: "simd_neon.h", text: simdNeonH },
  { name: "simd_partial.h", text: simdPartialH },
  { name: "simd_portable.h", text: simdPortableH },
  { name: "simd_wasm.h", text: simdWasmH },
  { name: "slot_tokens.c", text: slotTokensC },
  { name: "softmax.c", text: softmaxC },
  { name: "softmax.h", text: softmaxH },
  { name: "threshold.c", text: thresholdC },
  { name: "top_k.c", text: topKC },
  { name: "tree_reduce.h", text: treeReduceH },
];
