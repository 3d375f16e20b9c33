/**
 * Starts ranks as threads of this process: a worker each.
 * @module
 */
import { Worker } from "node:worker_threads";
import type { RankHandle } from "./rank_handle.ts";
import type { RankOutcome, RankSpecification } from "./rank_runner.ts";
import type { RankThreadInput } from "./rank_thread.ts";

/**
 * Starts a rank in a worker. Node's `Worker`, unlike the web's, tells when it has ended: a rank that
 * calls `Deno.exit` is noticed. `wasmMemory` is that of the launch, if it has one.
 */
export function startThread(
  specification: RankSpecification,
  wasmMemory?: WebAssembly.Memory,
): RankHandle {
  const input: RankThreadInput = { specification: JSON.stringify(specification), wasmMemory };
  const worker = new Worker(workerModule(), {
    workerData: input,
    name: `weft rank ${specification.rank}`,
  });
  const outcome = Promise.withResolvers<RankOutcome>();
  const ended = Promise.withResolvers<void>();
  worker.on("message", (text: string) => {
    outcome.resolve(JSON.parse(text) as RankOutcome);
    worker.terminate();
  });
  worker.on("error", (error: Error) => {
    outcome.resolve({
      ok: false,
      reason: `${error.name}: ${error.message}`,
      stack: error.stack,
    });
  });
  worker.on("exit", (code: number) => {
    outcome.resolve({ ok: false, reason: `its thread ended early with code ${code}` });
    ended.resolve();
  });
  return {
    pid: null,
    outcome: outcome.promise,
    ended: ended.promise,
    kill: () => void worker.terminate(),
  };
}

function workerModule(): URL {
  const module = new URL("./rank_thread.ts", import.meta.url);
  if (module.protocol === "file:") return module;
  // A worker starts from a file or from data only; the latter imports the rest from anywhere.
  return new URL(
    `data:text/javascript,import ${encodeURIComponent(JSON.stringify(module.href))}`,
  );
}
