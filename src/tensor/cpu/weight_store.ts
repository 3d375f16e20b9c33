/**
 * Packed weights that replicas of one host share.
 * @module
 */
import {
  type NativeCommunicationLibrary,
  openCommunicationLibrary,
} from "../../native/communication.ts";
import { SharedFile } from "../../native/shared_memory.ts";

/** Where replicas find a {@linkcode WeightStore}. Can be sent as JSON. */
export interface WeightStoreHandle {
  /** Path of the list of what is packed. */
  readonly path: string;
}

/**
 * Lets replicas of one host, in this process and in others of the same user, share the weights that a CPU
 * packs: the first that comes with some weights copies them, others map that copy. A copy lives as long as
 * an engine uses it. Dispose the store after the engines that were loaded with it.
 *
 * @example
 * ```ts no-assert
 * import { LlmEngine, WeightStore } from "@weft/weft";
 * using store = WeightStore.create();
 * const options = { model: "models/demo", replicasOnHost: 2, weightStore: store.handle };
 * await using first = await LlmEngine.load(options);
 * await using second = await LlmEngine.load(options);
 * console.log(second.info.backend.packedWeights); // 26.1 kB a rank, packed by another replica of the host
 * ```
 */
export class WeightStore implements Disposable {
  readonly #library: NativeCommunicationLibrary;
  readonly #list: SharedFile;
  #open = true;

  private constructor(library: NativeCommunicationLibrary) {
    this.#library = library;
    this.#list = SharedFile.create(library);
  }

  /** An empty store. Throws as `nativeLibraryPath` does: without native kernels nothing can be shared. */
  static create(): WeightStore {
    const library = openCommunicationLibrary();
    try {
      return new WeightStore(library);
    } catch (error) {
      library.close();
      throw error;
    }
  }

  /** For `EngineOptions.weightStore` of every replica. */
  get handle(): WeightStoreHandle {
    return { path: this.#list.path };
  }

  /** Frees the list; engines keep what they have. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#list[Symbol.dispose]();
    this.#library.close();
  }
}
