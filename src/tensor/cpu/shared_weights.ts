/**
 * A rank's place in a store of packed weights.
 * @module
 */
import { type PanelFile, PanelFiles } from "../../native/panel_file.ts";
import type { PanelSpace, SharedPanels } from "./panel_memory.ts";
import { WeightList, type WeightListEntry } from "./weight_list.ts";
import { FoundPanelSet, NewPanelSet, type PanelSet } from "./panel_set.ts";
import type { WeightStoreHandle } from "./weight_store.ts";

/** How long a rank sleeps before it looks again whether another has finished, in milliseconds. */
const POLL_MS = 10;

/** What ends a rank's wait for another that packs the same weights. */
export interface SharedWeightsOptions {
  /** Deadline, in milliseconds. */
  readonly timeoutMs: number;
  /** Called again and again while it waits; throws to end the wait. */
  readonly check: () => void;
}

/**
 * The packed weights that a rank shares with the same rank of other replicas. Between `begin` and `finish` its
 * device takes memory for packed weights from here; dispose it after the device.
 */
export class SharedWeights implements SharedPanels, Disposable {
  readonly #list: WeightList;
  readonly #files: PanelFiles;
  readonly #options: SharedWeightsOptions;
  #set: PanelSet | null = null;
  #state: "new" | "loading" | "loaded" | "disposed" = "new";

  /** Opens a store; throws Error when it was disposed. */
  constructor(store: WeightStoreHandle, options: SharedWeightsOptions) {
    this.#list = new WeightList(store.path);
    try {
      this.#files = new PanelFiles();
    } catch (error) {
      this.#list[Symbol.dispose]();
      throw error;
    }
    this.#options = options;
  }

  /**
   * Announces the weights that `key` names: the same in every replica that would pack the same bytes in the
   * same order. While another replica packs them this waits. Throws Error past the deadline.
   */
  begin(key: string): void {
    if (this.#state !== "new") throw new Error("Cannot share packed weights twice");
    this.#set = this.#join(key);
    this.#state = "loading";
  }

  /** See {@linkcode SharedPanels.allocate}. */
  allocate(byteLength: number): PanelSpace | null {
    return this.#state === "loading" ? this.#set?.allocate(byteLength) ?? null : null;
  }

  /** Ends what `begin` began: others may use what was packed here. */
  finish(): void {
    this.#state = "loaded";
    this.#set?.finish();
  }

  /** Who packed the weights that were announced; `private` where the system lets nobody share them. */
  get packedBy(): "this" | "other" | "private" {
    if (this.#set === null) return "private";
    return this.#set instanceof FoundPanelSet ? "other" : "this";
  }

  /** Bytes that are shared. */
  get byteLength(): number {
    return this.#set?.byteLength ?? 0;
  }

  /** The set of weights, its first place being taken when nobody has; null when nothing can be shared. */
  #join(key: string): PanelSet | null {
    const deadline = performance.now() + this.#options.timeoutMs;
    for (;;) {
      const opened = this.#list.update((entries) => this.#openOrCreate(entries, key));
      if (opened === null || opened instanceof NewPanelSet) return opened;
      try {
        if (this.#waitUntilSealed(opened.file, deadline)) {
          const set = FoundPanelSet.open(opened.file, key);
          if (set !== null) {
            // So that the next one finds it when the engine that packed it has gone.
            this.#list.update((entries) => entries.push({ key, path: set.path }));
            return set;
          }
        }
      } catch (error) {
        opened.file[Symbol.dispose]();
        throw error;
      }
      opened.file[Symbol.dispose]();
      this.#list.update((entries) => remove(entries, opened.path));
    }
  }

  #openOrCreate(
    entries: WeightListEntry[],
    key: string,
  ): { readonly file: PanelFile; readonly path: string } | NewPanelSet | null {
    for (const { path } of entries.filter((entry) => entry.key === key)) {
      const file = this.#files.open(path);
      if (file !== null) return { file, path };
      remove(entries, path);
    }
    const set = NewPanelSet.create(this.#files, key);
    if (set !== null) entries.push({ key, path: set.path });
    return set;
  }

  /** False when whoever was to seal the file has gone. */
  #waitUntilSealed(file: PanelFile, deadline: number): boolean {
    if (file.isSealed) return true;
    using locked = Deno.openSync(file.path, { read: true, write: true });
    const never = new Int32Array(new SharedArrayBuffer(4));
    while (!locked.tryLockSync(true)) {
      this.#options.check();
      if (performance.now() > deadline) {
        throw new Error(
          "Cannot share packed weights as the replica that packs them did not finish in " +
            `${this.#options.timeoutMs} ms`,
        );
      }
      Atomics.wait(never, 0, 0, POLL_MS);
    }
    return file.isSealed;
  }

  /** Gives up the weights here, and closes the store. */
  [Symbol.dispose](): void {
    if (this.#state === "disposed") return;
    this.#state = "disposed";
    const set = this.#set;
    this.#set = null;
    if (set !== null) {
      this.#list.update((entries) => remove(entries, set.path));
      set[Symbol.dispose]();
    }
    this.#files[Symbol.dispose]();
    this.#list[Symbol.dispose]();
  }
}

function remove(entries: WeightListEntry[], path: string): void {
  const index = entries.findIndex((entry) => entry.path === path);
  if (index >= 0) entries.splice(index, 1);
}
