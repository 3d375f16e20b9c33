/**
 * The C sources of the CPU kernels, as text that travels with the module.
 * @module
 */
// One import and one entry per file, in alphabetical order; headers too.

/** A source file that is compiled into the native library (`.c`) or included by one (`.h`). */
export interface NativeSource {
  /** File name, used by `#include "..."`. */
  readonly name: string;
  /** Contents. */
  readonly text: string;
}

/** Every file of `native/cpu`. */
export const CPU_SOURCES: readonly NativeSource[] = [];
