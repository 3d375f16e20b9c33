/**
 * One rank's packed weights in memory that replicas share.
 *
 * The file holds the weights one behind the other, then what {@linkcode Contents} says as JSON, then the
 * length of that in 8 bytes. Only a sealed file is complete.
 * @module
 */
import { type PanelFile, type PanelFiles, wholePages } from "../../native/panel_file.ts";
import { CapacityError } from "../errors.ts";
import type { PanelSpace } from "./panel_memory.ts";

/** Weights lie page by page, so that none shares a cache line or a small page with another. */
const ALIGNMENT = 4096;

/** Room is made in steps, as each takes a call that lets all processors finish what they do with pages. */
const STEP_BYTES = 32 * 1024 * 1024;

/** What a set holds. */
interface Contents {
  /** What is packed, and how. */
  readonly key: string;
  /** Bytes of each weight, in the order in which a rank loads them. */
  readonly sizes: readonly number[];
}

/** Packed weights, by the order in which a rank loads them. */
export interface PanelSet extends Disposable {
  /** Where others can open it. */
  readonly path: string;
  /** Bytes of all weights so far. */
  readonly byteLength: number;
  /** Where the next weight, of `byteLength` bytes, lies or is to be packed. */
  allocate(byteLength: number): PanelSpace;
  /** Called after the last weight. */
  finish(): void;
}

/** A set that this rank packs, whose file is locked until it is finished. */
export class NewPanelSet implements PanelSet {
  readonly #file: PanelFile;
  readonly #lock: Deno.FsFile;
  readonly #key: string;
  readonly #sizes: number[] = [];
  #used = 0;
  #locked = true;

  private constructor(file: PanelFile, key: string) {
    this.#file = file;
    this.#key = key;
    this.#lock = Deno.openSync(file.path, { read: true, write: true });
    this.#lock.lockSync(true);
  }

  /** An empty set; null when the system has no huge pages for memory that is shared. */
  static create(files: PanelFiles, key: string): NewPanelSet | null {
    const file = files.create(Deno.systemMemoryInfo().total);
    try {
      if (file.extend(STEP_BYTES)) return new NewPanelSet(file, key);
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
    file[Symbol.dispose]();
    return null;
  }

  get path(): string {
    return this.#file.path;
  }

  get byteLength(): number {
    return this.#used;
  }

  /** Zeros; throws CapacityError when there is no memory. */
  allocate(byteLength: number): PanelSpace {
    const offset = this.#used;
    const end = offset + paddedBytes(byteLength);
    if (end > this.#file.byteLength) this.#extend(end);
    this.#used = end;
    this.#sizes.push(byteLength);
    return { address: this.#file.address + BigInt(offset), isPacked: false };
  }

  #extend(end: number): void {
    try {
      this.#file.extend(Math.max(end, this.#file.byteLength + STEP_BYTES));
    } catch (error) {
      throw new CapacityError(`Cannot share packed weights: ${(error as Error).message}`, end);
    }
  }

  /** Lets others use the set; nobody can change it any more. */
  finish(): void {
    const dataBytes = wholePages(this.#used);
    this.#lock.truncateSync(dataBytes);
    const contents: Contents = { key: this.#key, sizes: this.#sizes };
    const text = new TextEncoder().encode(JSON.stringify(contents));
    const tail = new Uint8Array(text.length + 8);
    tail.set(text);
    new DataView(tail.buffer).setBigUint64(text.length, BigInt(text.length), true);
    this.#lock.seekSync(dataBytes, Deno.SeekMode.Start);
    for (let done = 0; done < tail.length;) done += this.#lock.writeSync(tail.subarray(done));
    this.#file.seal();
    this.#unlock();
  }

  #unlock(): void {
    if (this.#locked) this.#lock.close();
    this.#locked = false;
  }

  /** Unmaps the weights; others keep them. */
  [Symbol.dispose](): void {
    this.#unlock();
    this.#file[Symbol.dispose]();
  }
}

/** A set that another rank has packed, mapped for reading. */
export class FoundPanelSet implements PanelSet {
  readonly #file: PanelFile;
  readonly #sizes: readonly number[];
  #next = 0;
  #used = 0;

  private constructor(file: PanelFile, sizes: readonly number[]) {
    this.#file = file;
    this.#sizes = sizes;
  }

  /** The set of a sealed file, which it owns from here on; null when that holds something else. */
  static open(file: PanelFile, key: string): FoundPanelSet | null {
    const found = readContents(file.path);
    if (found === null || found.contents.key !== key) return null;
    file.map(found.dataBytes);
    return new FoundPanelSet(file, found.contents.sizes);
  }

  get path(): string {
    return this.#file.path;
  }

  get byteLength(): number {
    return this.#used;
  }

  /** Throws Error when the rank that packed the set did not have such a weight here. */
  allocate(byteLength: number): PanelSpace {
    const index = this.#next++;
    if (this.#sizes[index] !== byteLength) {
      throw new Error(
        `Cannot share packed weights as those of another replica differ: weight ${index} has ` +
          `${this.#sizes[index] ?? "no"} bytes there and ${byteLength} here`,
      );
    }
    const address = this.#file.address + BigInt(this.#used);
    this.#used += paddedBytes(byteLength);
    return { address, isPacked: true };
  }

  /** Throws Error when the rank that packed the set had more weights. */
  finish(): void {
    if (this.#next === this.#sizes.length) return;
    throw new Error(
      `Cannot share packed weights as those of another replica differ: it has ` +
        `${this.#sizes.length} weights, and ${this.#next} are here`,
    );
  }

  /** Unmaps the weights; others keep them. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

function paddedBytes(byteLength: number): number {
  return Math.max(1, Math.ceil(byteLength / ALIGNMENT)) * ALIGNMENT;
}

/** What the end of a file says; null where it is not the end of a set. */
function readContents(path: string): { contents: Contents; dataBytes: number } | null {
  try {
    using file = Deno.openSync(path);
    const { size } = file.statSync();
    const length = Number(new DataView(readAt(file, size - 8, 8).buffer).getBigUint64(0, true));
    const dataBytes = size - 8 - length;
    const text = new TextDecoder().decode(readAt(file, dataBytes, length));
    return { contents: JSON.parse(text) as Contents, dataBytes };
  } catch {
    return null;
  }
}

function readAt(file: Deno.FsFile, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let done = 0; done < length;) {
    const count = file.readSync(bytes.subarray(done));
    if (count === null) throw new Error("the file ends early");
    done += count;
  }
  return bytes;
}
