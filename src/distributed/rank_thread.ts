/**
 * Module of the worker in which the thread launcher runs a rank.
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import { type RankSpecification, runRank } from "./rank_runner.ts";

/** What the thread launcher gives its worker. */
export interface RankThreadInput {
  /** A RankSpecification as JSON. */
  readonly specification: string;
  /** Memory of the launch, where that is WebAssembly's. */
  readonly wasmMemory?: WebAssembly.Memory;
}

// Only in a worker: the launcher imports the type above.
if (parentPort) {
  const { specification, wasmMemory } = workerData as RankThreadInput;
  // The launcher ends the worker when it has the outcome, whatever the entry has left running.
  parentPort.postMessage(await runRank(JSON.parse(specification) as RankSpecification, wasmMemory));
}
