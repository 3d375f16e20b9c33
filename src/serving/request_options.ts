/**
 * From request fields to what an engine is told besides sampling parameters.
 * @module
 */
import type { GenerateRequest } from "../engine/types.ts";
import type { SamplingFields } from "./schema/sampling_fields.ts";

/** How an engine treats a request, whatever it generates. */
export type RequestOptions = Pick<GenerateRequest, "priority" | "cacheSalt" | "cachePrompt">;

/** Options of a request; null means the same as absent. */
export function toRequestOptions(fields: SamplingFields): RequestOptions {
  return {
    priority: fields.priority ?? undefined,
    cacheSalt: fields.cache_salt ?? undefined,
    cachePrompt: fields.cache_prompt ?? undefined,
  };
}
