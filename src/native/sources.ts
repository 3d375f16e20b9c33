/**
 * The C sources of the CPU kernels, as text that travels with the module.
 * @module
 */
// One import and one entry per file, in alphabetical order; headers too.
import bandwidthC from "../../native/cpu/bandwidth.c" with { type: "text" };
import linearC from "../../native/cpu/linear.c" with { type: "text" };
import linearH from "../../native/cpu/linear.h" with { type: "text" };
import memoryMapC from "../../native/cpu/memory_map.c" with { type: "text" };
import poolC from "../../native/cpu/pool.c" with { type: "text" };
import poolH from "../../native/cpu/pool.h" with { type: "text" };
import simdH from "../../native/cpu/simd.h" with { type: "text" };
import simdAvx2H from "../../native/cpu/simd_avx2.h" with { type: "text" };
import simdAvx512H from "../../native/cpu/simd_avx512.h" with { type: "text" };
import simdMathH from "../../native/cpu/simd_math.h" with { type: "text" };
import simdPortableH from "../../native/cpu/simd_portable.h" with { type: "text" };

/** A source file that is compiled into the native library (`.c`) or included by one (`.h`). */
export interface NativeSource {
  /** File name, used by `#include "..."`. */
  readonly name: string;
  /** Contents. */
  readonly text: string;
}

/** Every file of `native/cpu`. */
export const CPU_SOURCES: readonly NativeSource[] = [
  { name: "bandwidth.c", text: bandwidthC },
  { name: "linear.c", text: linearC },
  { name: "linear.h", text: linearH },
  { name: "memory_map.c", text: memoryMapC },
  { name: "pool.c", text: poolC },
  { name: "pool.h", text: poolH },
  { name: "simd.h", text: simdH },
  { name: "simd_avx2.h", text: simdAvx2H },
  { name: "simd_avx512.h", text: simdAvx512H },
  { name: "simd_math.h", text: simdMathH },
  { name: "simd_portable.h", text: simdPortableH },
];
