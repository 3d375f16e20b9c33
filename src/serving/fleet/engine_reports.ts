/**
 * What the engines behind a router say of themselves, as one server would say it.
 * @module
 */
import type { HttpReplica } from "../router/http_replica.ts";
import { type EngineMetrics, mergeMetrics } from "./merge_metrics.ts";

/** An engine behind a router. */
export interface ReportingEngine {
  /** Its number. */
  readonly id: string;
  /** Where it is asked. */
  readonly target: HttpReplica;
  /** Why it does not serve; null while it does. */
  readonly reason: string | null;
}

/** An engine in `/health`: whatever its own server says, and at least this. */
export interface EngineHealth {
  /** Its number. */
  readonly engine: string;
  /** Whether it serves. */
  readonly healthy: boolean;
  /** Why not. */
  readonly failure: string | null;
  /** Weights that its new requests get; null where that is not known. */
  readonly weight_version: string | null;
  /** Device, instruction set, kernels and communicator in one line each; empty when it does not answer. */
  readonly backend: Readonly<Record<string, string | number>>;
}

/** Time that an engine has to answer, in milliseconds: who asks for health waits for this. */
const ANSWER_MS = 2000;

/** The entries of `/health` for some engines; one that does not answer is not healthy. */
export function reportHealth(engines: readonly ReportingEngine[]): Promise<EngineHealth[]> {
  return Promise.all(engines.map(async ({ id, target, reason }) => {
    const dead = {
      engine: id,
      healthy: false,
      running: 0,
      waiting: 0,
      weight_version: null,
      backend: {},
    };
    if (reason !== null) return { ...dead, failure: reason };
    try {
      const { engines: [own], weight_version } = JSON.parse(await askEngine(target, "/health"));
      return { ...own, engine: id, weight_version };
    } catch (error) {
      return { ...dead, failure: error instanceof Error ? error.message : String(error) };
    }
  }));
}

/** The version that all engines serve which say one; null while there are several, or none. */
export function commonVersion(engines: readonly EngineHealth[]): string | null {
  const [version = null, ...others] = new Set(
    engines.map(({ weight_version }) => weight_version).filter((version) => version !== null),
  );
  return others.length === 0 ? version : null;
}

/** The metrics of some engines with their numbers as label `engine`; `weft:engine_up` is 0 for one that is silent. */
export async function reportMetrics(
  engines: readonly ReportingEngine[],
  { modelName }: { readonly modelName: string },
): Promise<string> {
  const labels = `model_name="${modelName.replaceAll(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;
  const silent = `weft:engine_up{${labels}} 0`;
  const all = await Promise.all(engines.map(async ({ id, target, reason }) => {
    const text = reason === null ? await askEngine(target, "/metrics").catch(() => silent) : silent;
    return { engine: id, text } satisfies EngineMetrics;
  }));
  return mergeMetrics(all);
}

/** The answer's text, whatever its status: `/health` says 503 for what is of interest. */
export async function askEngine(target: HttpReplica, path: string): Promise<string> {
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new Error(`not answering within ${ANSWER_MS} ms`)),
    ANSWER_MS,
  );
  try {
    const response = await target.get(path, late.signal);
    return await response.text();
  } finally {
    clearTimeout(timer);
  }
}
