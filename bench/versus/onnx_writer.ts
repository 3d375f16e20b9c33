/**
 * Writes ONNX models: the graph as protocol buffers, weights in a file beside it.
 *
 * Source: onnx.proto of the ONNX project.
 */

/** Element types that are used, by their number in TensorProto. */
const ELEMENT_TYPES = { f32: 1, u8: 2, i32: 6, i64: 7 } as const;

/** ModelProto's version of the format, and the versions of the operators. */
const IR_VERSION = 10;
const OPERATOR_SETS = { "": 20, "com.microsoft": 1 } as const;

/** Element type of a tensor. */
export type OnnxType = keyof typeof ELEMENT_TYPES;

/** A node of a graph. */
export interface OnnxNode {
  /** Operator. */
  readonly operator: string;
  /** Set of operators that it belongs to; empty for ONNX's own. */
  readonly domain?: "com.microsoft";
  /** Names of values; empty for one that is left out. */
  readonly inputs: readonly string[];
  /** Names of values; empty for one that is left out. */
  readonly outputs: readonly string[];
  /** Whole numbers. */
  readonly integers?: Readonly<Record<string, number>>;
  /** Numbers. */
  readonly floats?: Readonly<Record<string, number>>;
}

/** An input or output of a graph; named sizes are known when it runs. */
export interface OnnxValue {
  /** Name. */
  readonly name: string;
  /** Element type. */
  readonly type: OnnxType;
  /** Sizes. */
  readonly sizes: readonly (number | string)[];
}

/** A constant of a graph: in the graph itself, or at a place of the file of weights. */
export interface OnnxConstant {
  /** Name. */
  readonly name: string;
  /** Element type. */
  readonly type: OnnxType;
  /** Sizes. */
  readonly sizes: readonly number[];
  /** Its bytes, or where they are. */
  readonly data: Uint8Array | {
    readonly file: string;
    readonly offset: number;
    readonly bytes: number;
  };
}

/** A graph. */
export interface OnnxGraph {
  /** In an order in which they can run. */
  readonly nodes: readonly OnnxNode[];
  /** Inputs. */
  readonly inputs: readonly OnnxValue[];
  /** Outputs. */
  readonly outputs: readonly OnnxValue[];
  /** Constants. */
  readonly constants: readonly OnnxConstant[];
}

/** A ModelProto. */
export function encodeOnnx({ nodes, inputs, outputs, constants }: OnnxGraph): Uint8Array {
  const graph = new Message();
  for (const node of nodes) graph.message(1, encodeNode(node));
  graph.text(2, "weft bench");
  for (const constant of constants) graph.message(5, encodeConstant(constant));
  for (const value of inputs) graph.message(11, encodeValue(value));
  for (const value of outputs) graph.message(12, encodeValue(value));
  const model = new Message();
  model.integer(1, IR_VERSION);
  model.message(7, graph);
  for (const [domain, version] of Object.entries(OPERATOR_SETS)) {
    const set = new Message();
    set.text(1, domain);
    set.integer(2, version);
    model.message(8, set);
  }
  return model.bytes();
}

function encodeNode(node: OnnxNode): Message {
  const { operator, domain = "", inputs, outputs, integers = {}, floats = {} } = node;
  const message = new Message();
  for (const name of inputs) message.text(1, name);
  for (const name of outputs) message.text(2, name);
  message.text(4, operator);
  message.text(7, domain);
  for (const [name, value] of Object.entries(floats)) {
    const attribute = new Message();
    attribute.text(1, name);
    attribute.float(2, value);
    attribute.integer(20, 1);
    message.message(5, attribute);
  }
  for (const [name, value] of Object.entries(integers)) {
    const attribute = new Message();
    attribute.text(1, name);
    attribute.integer(3, value);
    attribute.integer(20, 2);
    message.message(5, attribute);
  }
  return message;
}

function encodeConstant({ name, type, sizes, data }: OnnxConstant): Message {
  const message = new Message();
  for (const size of sizes) message.integer(1, size);
  message.integer(2, ELEMENT_TYPES[type]);
  message.text(8, name);
  if (data instanceof Uint8Array) {
    message.raw(9, data);
    return message;
  }
  const { file, offset, bytes } = data;
  for (const [key, value] of Object.entries({ location: file, offset, length: bytes })) {
    const entry = new Message();
    entry.text(1, key);
    entry.text(2, String(value));
    message.message(13, entry);
  }
  message.integer(14, 1);
  return message;
}

function encodeValue({ name, type, sizes }: OnnxValue): Message {
  const shape = new Message();
  for (const size of sizes) {
    const dimension = new Message();
    if (typeof size === "number") dimension.integer(1, size);
    else dimension.text(2, size);
    shape.message(1, dimension);
  }
  const tensor = new Message();
  tensor.integer(1, ELEMENT_TYPES[type]);
  tensor.message(2, shape);
  const valueType = new Message();
  valueType.message(1, tensor);
  const message = new Message();
  message.text(1, name);
  message.message(2, valueType);
  return message;
}

/** A message of protocol buffers. */
class Message {
  readonly #pieces: Uint8Array[] = [];
  #length = 0;

  /** A whole number from 0. */
  integer(field: number, value: number): void {
    this.#varint(field * 8);
    this.#varint(value);
  }

  float(field: number, value: number): void {
    this.#varint(field * 8 + 5);
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.#append(bytes);
  }

  raw(field: number, bytes: Uint8Array): void {
    this.#varint(field * 8 + 2);
    this.#varint(bytes.length);
    this.#append(bytes);
  }

  text(field: number, text: string): void {
    this.raw(field, new TextEncoder().encode(text));
  }

  message(field: number, message: Message): void {
    this.raw(field, message.bytes());
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }

  #varint(value: number): void {
    const bytes: number[] = [];
    let rest = value;
    while (rest >= 128) {
      bytes.push(rest % 128 + 128);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
    this.#append(Uint8Array.from(bytes));
  }

  #append(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
  }
}
