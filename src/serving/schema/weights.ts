/**
 * Bodies of the admin routes for weights.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { WEIGHT_VERSION_PATTERN } from "../../engine/weights.ts";
import { MAX_PROMPTS } from "./limits.ts";

/** `POST /admin/pause`. */
export const pauseSchema = z.strictObject({
  mode: z.enum(["finish", "abort", "hold"]).openapi({
    description:
      "New requests wait in every mode. Those that run end (finish), end at once (abort), or stand still (hold).",
  }),
}).openapi("PauseRequest");

/** A folder of weights. The version goes into headers and labels of metrics. */
export const weightsFolderSchema = z.strictObject({
  model: z.string().min(1).max(4096).openapi({
    description: "Folder of a Hugging Face checkpoint, as the server sees it.",
  }),
  sha256: z.string().regex(/^[0-9a-f]{64}$/i).nullish().openapi({
    description:
      "What its files must hash to, as sha256sum prints and hashes them in order of their names.",
  }),
  version: z.string().regex(WEIGHT_VERSION_PATTERN).nullish().openapi({
    description:
      "Name of the weights in answers and metrics; a hash of what the files say without one.",
  }),
}).openapi("WeightsFolder");

/** `POST /admin/weights/check`. */
export const checkSchema = z.strictObject({
  set: z.enum(["current", "prepared"]),
  prompts: z.array(z.array(z.int32().min(0)).min(1)).min(1).max(MAX_PROMPTS).openapi({
    description: "Token ids.",
  }),
  max_tokens: z.int32().min(1),
}).openapi("CheckRequest");

/** A body without fields, which may be left out. */
export const emptySchema = z.strictObject({}).openapi("NoFields");

const loadedSchema = z.object({ version: z.string(), model: z.string() }).openapi("LoadedWeights");

/** The weights as they are. */
export const weightsStatusSchema = z.object({
  paused: z.enum(["finish", "abort", "hold"]).nullable(),
  current: loadedSchema,
  prepared: loadedSchema.nullable(),
  previous: loadedSchema.nullable(),
}).openapi("WeightsStatus");

/** Greedy tokens of each prompt. */
export const checkedSchema = z.object({ outputs: z.array(z.array(z.int())) }).openapi("Checked");
