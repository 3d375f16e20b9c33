/**
 * Writes the safetensors files of a checkpoint, one tensor after the other.
 * @module
 */
import { type SafetensorsTensor, SafetensorsWriter } from "./safetensors_writer.ts";

/** Options of {@linkcode CheckpointWriter}. */
export interface CheckpointWriterOptions {
  /** What will be written, in this order. */
  readonly tensors: readonly SafetensorsTensor[];
  /** Bytes of a file at most, unless a single tensor is larger. Default 4 GB. */
  readonly maxShardBytes?: number;
}

interface Shard {
  readonly file: string;
  readonly tensors: SafetensorsTensor[];
  bytes: number;
}

/** One file, or several with an index, so that no tensor has to be whole in memory. */
export class CheckpointWriter implements Disposable {
  /** Bytes of all tensors. */
  readonly byteLength: number;
  readonly #folder: string;
  readonly #shards: readonly Shard[];
  #writer: SafetensorsWriter | null = null;
  #shard = -1;
  #room = 0;

  /** Prepares files of `folder`, which must be there. */
  constructor(folder: string, { tensors, maxShardBytes = 4e9 }: CheckpointWriterOptions) {
    this.#folder = folder;
    this.#shards = splitShards(tensors, maxShardBytes);
    this.byteLength = this.#shards.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Names of the safetensors files. */
  get files(): string[] {
    return this.#shards.map(({ file }) => file);
  }

  /** Appends bytes of one tensor; throws RangeError beyond what was announced. */
  write(data: ArrayBufferView): void {
    while (this.#room === 0 && this.#shard + 1 < this.#shards.length) this.#open(this.#shard + 1);
    if (this.#writer === null) {
      throw new RangeError(`Cannot write to ${this.#folder} as no tensor was announced`);
    }
    this.#writer.write(data);
    this.#room -= data.byteLength;
  }

  /** Closes the files and writes their index; throws RangeError unless all announced bytes were written. */
  finish(): void {
    while (this.#shard + 1 < this.#shards.length) this.#open(this.#shard + 1);
    this.#writer?.finish();
    if (this.#shards.length > 1) this.#writeIndex();
  }

  #open(shard: number): void {
    this.#writer?.finish();
    const { file, tensors, bytes } = this.#shards[shard];
    const metadata = { format: "pt" };
    this.#writer = new SafetensorsWriter(`${this.#folder}/${file}`, { tensors, metadata });
    this.#shard = shard;
    this.#room = bytes;
  }

  #writeIndex(): void {
    const weightMap = Object.fromEntries(
      this.#shards.flatMap(({ file, tensors }) => tensors.map(({ name }) => [name, file])),
    );
    const index = { metadata: { total_size: this.byteLength }, weight_map: weightMap };
    const path = `${this.#folder}/model.safetensors.index.json`;
    Deno.writeTextFileSync(path, `${JSON.stringify(index, null, 2)}\n`);
  }

  /** Closes the file that is open, finished or not. */
  [Symbol.dispose](): void {
    this.#writer?.[Symbol.dispose]();
  }
}

function splitShards(tensors: readonly SafetensorsTensor[], maxShardBytes: number): Shard[] {
  const shards: { tensors: SafetensorsTensor[]; bytes: number }[] = [];
  for (const tensor of tensors) {
    const last = shards.at(-1);
    if (!last || last.bytes + tensor.byteLength > maxShardBytes) {
      shards.push({ tensors: [tensor], bytes: tensor.byteLength });
    } else {
      last.tensors.push(tensor);
      last.bytes += tensor.byteLength;
    }
  }
  return shards.map((shard, index) => ({ ...shard, file: shardName(index, shards.length) }));
}

function shardName(index: number, count: number): string {
  if (count === 1) return "model.safetensors";
  const digits = (number: number) => String(number).padStart(5, "0");
  return `model-${digits(index + 1)}-of-${digits(count)}.safetensors`;
}
