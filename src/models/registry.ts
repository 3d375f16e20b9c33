/**
 * The model families.
 * @module
 */
import type { ModelFamily } from "./family.ts";
import { GPT2 } from "./gpt2.ts";
import { LLAMA_FAMILIES } from "./llama.ts";

/** Every family that can be served, by its `model_type`. */
export const FAMILIES: ReadonlyMap<string, ModelFamily> = new Map(
  [...LLAMA_FAMILIES, GPT2].map((family) => [family.modelType, family]),
);

/** The family of a config; throws RangeError when there is none of that name. */
export function familyOf({ modelType }: { readonly modelType: string }): ModelFamily {
  const family = FAMILIES.get(modelType);
  if (!family) throw new RangeError(`Cannot find a model family: ${modelType}`);
  return family;
}
