/**
 * What is packed on a host, and where.
 * @module
 */

/** Weights that an engine has packed, or packs. */
export interface WeightListEntry {
  /** What is packed, and how. */
  readonly key: string;
  /** Where they can be opened while that engine lives. */
  readonly path: string;
}

/**
 * The list of a `WeightStore`: JSON in a file that is locked to read or write it. Entries of engines that
 * were killed stay until somebody finds that they lead nowhere.
 */
export class WeightList implements Disposable {
  readonly #file: Deno.FsFile;

  /** Opens the list at `path`; throws Error when its store was disposed, or there is something else. */
  constructor(path: string) {
    if (!isStore(path)) {
      throw new Error(
        `Cannot share packed weights as their store was disposed, or ${path} never was one`,
      );
    }
    this.#file = Deno.openSync(path, { read: true, write: true });
  }

  /** Lets `change` read the entries and alter them; nobody else sees them meanwhile. */
  update<Result>(change: (entries: WeightListEntry[]) => Result): Result {
    // Held for as long as it takes to write a line, and released by the system when its holder dies.
    this.#file.lockSync(true);
    try {
      const text = this.#read();
      const entries = parse(text);
      const result = change(entries);
      const changed = JSON.stringify(entries);
      if (changed !== text) this.#write(changed);
      return result;
    } finally {
      this.#file.unlockSync();
    }
  }

  /** Keys of what is packed, or is being packed, by engines that live. */
  get keys(): string[] {
    const entries = this.update((entries) => entries);
    return entries.filter(({ path }) => exists(path)).map(({ key }) => key);
  }

  #read(): string {
    this.#file.seekSync(0, Deno.SeekMode.Start);
    const bytes = new Uint8Array(this.#file.statSync().size);
    let length = 0;
    while (length < bytes.length) {
      const count = this.#file.readSync(bytes.subarray(length));
      if (count === null) break;
      length += count;
    }
    return new TextDecoder().decode(bytes.subarray(0, length));
  }

  #write(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.#file.truncateSync(0);
    this.#file.seekSync(0, Deno.SeekMode.Start);
    for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
  }

  /** Closes the list here. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** A file in memory as stores make them: nobody loses a file of his by a path that is wrong. */
function isStore(path: string): boolean {
  try {
    return Deno.readLinkSync(path).startsWith("/memfd:weft ");
  } catch {
    return false;
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** None where the writer was killed: the next engine packs anew. */
function parse(text: string): WeightListEntry[] {
  try {
    return JSON.parse(text) as WeightListEntry[];
  } catch {
    return [];
  }
}
