/**
 * A checkpoint's tensors, whatever files they lie in.
 * @module
 */
import type { WeightDType } from "../tensor/dtype.ts";

/** A tensor of a checkpoint where it lies in memory (read-only, valid until the checkpoint closes). */
export interface CheckpointTensor {
  /** Name in the checkpoint. */
  readonly name: string;
  /** Host address of the first element; at least aligned to the element size. */
  readonly address: bigint;
  /** Type of the elements. */
  readonly dtype: WeightDType;
  /** Sizes, outermost first; row-major. */
  readonly shape: readonly number[];
}

/** What layers ask of a checkpoint. */
export interface TensorSource {
  /** Whether a tensor is there. Doesn't count as reading it. */
  has(name: string): boolean;
  /** The tensor `name`; throws ModelLoadError naming file and tensor unless it has `shape` and is f32, f16 or bf16. */
  tensor(name: string, shape: readonly number[]): CheckpointTensor;
}
