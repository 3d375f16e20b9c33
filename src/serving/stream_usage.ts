/**
 * Usage in streams.
 * @module
 */
import type { Generation } from "./generation.ts";
import type { Usage } from "./schema/answer_parts.ts";
import type { SamplingFields } from "./schema/sampling_fields.ts";

/**
 * The field that a chunk with choices bears: none unless usage is asked for, then null, as the last chunk tells it,
 * or what all choices have used so far where it is asked for with every chunk.
 */
export function usageOfChunk(
  options: SamplingFields["stream_options"],
  generation: Generation,
): { readonly usage?: Usage | null } {
  if (options?.include_usage !== true) return {};
  return { usage: options.continuous_usage_stats === true ? generation.usage : null };
}
