/**
 * Where stored tensors lie in memory: in mapped files, or in copies.
 * @module
 */
import { FileMapper, type MappedFile } from "../native/memory_map.ts";
import type { StoredTensor } from "./checkpoint_files.ts";
import { ModelLoadError } from "./errors.ts";

/** Tensors of a checkpoint's files. A file is mapped when a tensor of it is first asked for. */
export class TensorMemory implements Disposable {
  readonly #mappings = new Map<string, MappedFile>();
  readonly #copies = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #mapped: boolean;
  #mapper: FileMapper | null = null;
  #open = true;

  /** `mapped`: false reads every tensor into memory of its own. */
  constructor({ mapped }: { readonly mapped: boolean }) {
    this.#mapped = mapped;
  }

  /** Where the tensor lies, which is called `name`; throws ModelLoadError when its file cannot be read. */
  place(name: string, stored: StoredTensor): { address: bigint; mapped: boolean } {
    if (!this.#mapped) return this.#copied(name, () => readTensor(stored));
    const mapping = this.#map(stored);
    const address = mapping.address + BigInt(stored.byteOffset);
    const elements = stored.shape.reduce((product, size) => product * size, 1);
    const elementBytes = elements === 0 ? 1 : stored.byteLength / elements;
    if (address % BigInt(elementBytes) === 0n) return { address, mapped: true };
    // Files of early writers have headers of any length; C code may assume aligned elements.
    return this.#copied(name, () => mapping.bytes(stored.byteOffset, stored.byteLength));
  }

  #copied(name: string, read: () => Uint8Array): { address: bigint; mapped: boolean } {
    if (!this.#open) throw new Error(`Cannot read ${name} as its checkpoint was disposed`);
    let copy = this.#copies.get(name);
    if (!copy) {
      const bytes = read();
      // An ArrayBuffer of its own never moves; a small slice() could.
      copy = new Uint8Array(new ArrayBuffer(Math.max(1, bytes.length)));
      copy.set(bytes);
      this.#copies.set(name, copy);
    }
    const address = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(copy)));
    return { address, mapped: false };
  }

  #map(stored: StoredTensor): MappedFile {
    if (!this.#open) throw new Error(`Cannot read ${stored.file} as its checkpoint was disposed`);
    const known = this.#mappings.get(stored.file);
    if (known) return known;
    this.#mapper ??= new FileMapper();
    let mapping: MappedFile;
    try {
      mapping = this.#mapper.map(stored.file);
    } catch (cause) {
      throw new ModelLoadError((cause as Error).message, { file: stored.file, cause });
    }
    if (mapping.byteLength !== stored.fileBytes) {
      mapping[Symbol.dispose]();
      throw new ModelLoadError(
        `Cannot load ${stored.file} as its size changed while it was loaded: ` +
          `${stored.fileBytes} bytes became ${mapping.byteLength}`,
        { file: stored.file },
      );
    }
    this.#mappings.set(stored.file, mapping);
    return mapping;
  }

  /** Forgets copies: their addresses are invalid from here on. Pages of mapped files are given back. */
  release(): void {
    if (!this.#mapped) this.#copies.clear();
    for (const mapping of this.#mappings.values()) mapping.release();
  }

  /** Unmaps the files; addresses of tensors are invalid from here on. */
  [Symbol.dispose](): void {
    this.#open = false;
    for (const mapping of this.#mappings.values()) mapping[Symbol.dispose]();
    this.#mappings.clear();
    this.#copies.clear();
    this.#mapper?.[Symbol.dispose]();
    this.#mapper = null;
  }
}

/** The bytes of a tensor; throws ModelLoadError when its file cannot be read, or has shrunk. */
export function readTensor({ file, byteOffset, byteLength, fileBytes }: StoredTensor): Uint8Array {
  try {
    using opened = Deno.openSync(file);
    const { size } = opened.statSync();
    if (size !== fileBytes) {
      throw new Error(`its size changed while it was loaded: ${fileBytes} bytes became ${size}`);
    }
    opened.seekSync(byteOffset, Deno.SeekMode.Start);
    const bytes = new Uint8Array(byteLength);
    for (let done = 0; done < byteLength;) {
      const count = opened.readSync(bytes.subarray(done));
      if (count === null) throw new Error("it ends early");
      done += count;
    }
    return bytes;
  } catch (cause) {
    throw new ModelLoadError(`Cannot load ${file} as ${(cause as Error).message}`, { file, cause });
  }
}
