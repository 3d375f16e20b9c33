/**
 * What becomes of one parameter of a checkpoint that is quantised.
 * @module
 */
import { dtypeBytes, type WeightDType } from "../../tensor/dtype.ts";
import type { Checkpoint } from "../checkpoint.ts";
import type { ParameterShape } from "../parameter_shapes.ts";
import type { QuantizationConfig } from "../quantization_config.ts";
import { announcesLayer, layerTensors, type NamedLayer } from "../quantized_layer.ts";
import { storedTypeBytes } from "../safetensors.ts";
import type { SafetensorsTensor } from "../safetensors_writer.ts";
import { packAwq } from "./pack_awq.ts";
import { roundGroups, roundRows } from "./round_weights.ts";
import type { ScaledWeights } from "./scaled_weights.ts";
import { encodeFloats } from "./stored_floats.ts";

/** The tensors that a parameter becomes, and their bytes when they are wanted. */
export interface QuantizedParameter {
  /** What will be written. */
  readonly tensors: readonly SafetensorsTensor[];
  /** Computes the bytes of each tensor. */
  readonly data: () => readonly ArrayBufferView[];
}

/** Where parameters come from, and what they become. */
export interface ParameterSource {
  /** The dense checkpoint. */
  readonly checkpoint: Checkpoint;
  /** Its weights, scaled. */
  readonly weights: ScaledWeights;
  /** The format to write. */
  readonly quantization: QuantizationConfig;
}

const STORED_NAMES = { f32: "F32", f16: "F16", bf16: "BF16" } as const;

/** Plans one parameter; throws RangeError when a layer's size does not fit the format. */
export function quantizeParameter(
  parameter: ParameterShape,
  source: ParameterSource,
): QuantizedParameter {
  const { layer } = parameter;
  return layer && announcesLayer(source.quantization, layer.name)
    ? quantizeLayer(layer, parameter, source)
    : keepDense(parameter, source);
}

function keepDense(
  parameter: ParameterShape,
  { checkpoint, weights }: ParameterSource,
): QuantizedParameter {
  const { name, shape } = parameter;
  const { dtype, address } = checkpoint.tensor(name, shape);
  const byteLength = elementsOf(shape) * dtypeBytes(dtype);
  return {
    tensors: [{ name, dtype: STORED_NAMES[dtype], shape, byteLength }],
    data() {
      const changed = weights.changed(parameter);
      if (changed) return [encodeFloats(changed, dtype)];
      const pointer = Deno.UnsafePointer.create(address)!;
      return [new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength))];
    },
  };
}

function quantizeLayer(
  layer: NamedLayer,
  { name, shape }: ParameterShape,
  { checkpoint, weights, quantization }: ParameterSource,
): QuantizedParameter {
  const { values, scales, zeros } = layerTensors(quantization, layer);
  // Groups of AWQ have their scales in f16 wherever they are read.
  const scaleDtype: WeightDType = zeros ? "f16" : checkpoint.tensor(name, shape).dtype;
  const stored = (tensor: typeof values, dtype = tensor.dtypes[0]): SafetensorsTensor => {
    const [tensorShape] = tensor.shapes;
    const byteLength = elementsOf(tensorShape) * storedTypeBytes(dtype);
    return { name: tensor.name, dtype, shape: tensorShape, byteLength };
  };
  return {
    tensors: [
      stored(values),
      stored(scales, STORED_NAMES[scaleDtype]),
      ...zeros ? [stored(zeros)] : [],
    ],
    data() {
      const weight = weights.weight(layer.name);
      if (!zeros) {
        const rounded = roundRows(weight, scaleDtype);
        return [rounded.values, encodeFloats(rounded.scales, scaleDtype)];
      }
      const groupSize = quantization.groupSize!;
      const importance = weights.importance(layer.name);
      const packed = packAwq(roundGroups(weight, { groupSize, importance }), weight.rows);
      return [packed.values, packed.scales, packed.zeros];
    },
  };
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
