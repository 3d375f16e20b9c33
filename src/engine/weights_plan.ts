/**
 * What is known of weights before they are loaded.
 * @module
 */
import { Checkpoint } from "../models/checkpoint.ts";
import { ModelLoadError } from "../models/errors.ts";
import { type GenerationConfig, readGenerationConfig } from "../models/generation_config.ts";
import { CapacityError } from "../tensor/errors.ts";
import { describeWeights } from "./describe_weights.ts";
import type { DeviceChoice } from "./device_choice.ts";
import { type EngineConfig, resolveEngineConfig } from "./engine_config.ts";
import { verifyMemory } from "./engine_memory.ts";
import { verifyFolderDigest } from "./folder_digest.ts";
import { tokenizerDigests, verifySameModel, verifySameTokenizer } from "./same_model.ts";
import { type EngineOptions, UnsupportedRequestError } from "./types.ts";
import { weightFingerprint, weightVersion } from "./weight_version.ts";
import { WeightsError, type WeightsErrorReason, type WeightsFolder } from "./weights.ts";

/** Weights that can be loaded. */
export interface WeightsPlan {
  /** The engine's options, settled for them. */
  readonly config: EngineConfig;
  /** What generation_config.json says. */
  readonly generation: GenerationConfig;
  /** How weights are stored and used, for people. */
  readonly description: string;
  /** What they are called. */
  readonly version: string;
  /** Tells other weights, and the same ones, whatever they are called. */
  readonly fingerprint: string;
  /** Tells the tokenizer. */
  readonly tokenizer: Readonly<Record<string, string | null>>;
}

/** What an engine was asked for, which holds for all its weights. */
export interface EngineAsked {
  /** Its options. */
  readonly options: EngineOptions;
  /** Where it computes. */
  readonly choice: DeviceChoice;
}

/**
 * Settles an engine's first weights.
 *
 * @throws {ModelLoadError} when the folder's files are not a model that can be served.
 * @throws {RangeError} when the layout or an option does not fit.
 * @throws {CapacityError} when model and KV cache don't fit the memory they are to lie in.
 */
export function planWeights({ options, choice }: EngineAsked): WeightsPlan {
  const config = resolveEngineConfig(options, choice);
  verifyMemory(config);
  return describePlan(config, options.weightVersion);
}

/**
 * Settles weights that take the place of `present`: by hash first, before anything else is read of the folder.
 * Their cache gets as many blocks, so that whatever was served still can be. Throws what is wrong; see
 * {@linkcode explainWeightsError}.
 */
export async function planOtherWeights(
  { model, sha256, version }: WeightsFolder,
  { asked: { options, choice }, present, beside, signal }: {
    readonly asked: EngineAsked;
    readonly present: WeightsPlan;
    readonly beside: readonly WeightsPlan[];
    readonly signal: AbortSignal;
  },
): Promise<WeightsPlan> {
  const folder = realFolder(model);
  await verifyFolderDigest(folder, { sha256, signal });
  const numKvBlocks = present.config.numBlocks ?? undefined;
  const config = resolveEngineConfig({ ...options, model: folder, numKvBlocks }, choice);
  verifySameModel(config.modelConfig, present.config.modelConfig);
  verifyMemory(config, beside.map((plan) => plan.config));
  const plan = describePlan(config, version);
  verifySameTokenizer(plan.tokenizer, present.tokenizer);
  return plan;
}

/** Refuses to count on a folder that is no longer what was loaded from it; throws WeightsError (`invalid`). */
export function verifyUnchanged({ config, fingerprint }: WeightsPlan): void {
  let now: string;
  try {
    now = weightFingerprint(config);
  } catch (error) {
    now = error instanceof Error ? error.message : String(error);
  }
  if (now === fingerprint) return;
  throw new WeightsError(
    `Cannot replace the weights in place as ${config.model} is not what was loaded from it any more, so ` +
      "there would be nothing to go back to: put new weights into a folder of their own",
    { reason: "invalid" },
  );
}

/** What a failure to change weights is for those who asked for it. */
export function explainWeightsError(error: unknown): WeightsError {
  if (error instanceof WeightsError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new WeightsError(message, { reason: reasonOf(error), cause: error });
}

/** What of a CapacityError in a rank reaches this thread. */
const RANK_OUT_OF_MEMORY = /\bCapacityError: /;

/** What is thrown of a folder, options or prompts that are wrong. */
const INVALID = [ModelLoadError, RangeError, UnsupportedRequestError];

function reasonOf(error: unknown): WeightsErrorReason {
  if (error instanceof CapacityError || RANK_OUT_OF_MEMORY.test(String(error))) return "memory";
  return INVALID.some((kind) => error instanceof kind) ? "invalid" : "failed";
}

/** Where a link leads now: it may lead elsewhere when the folder is loaded again. */
function realFolder(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path; // Whoever reads it says what is missing.
  }
}

function describePlan(config: EngineConfig, version: string | undefined): WeightsPlan {
  const fingerprint = weightFingerprint(config);
  return {
    config,
    generation: readGenerationConfig(config.model),
    description: verifyCheckpoint(config),
    version: weightVersion(version, fingerprint),
    fingerprint,
    tokenizer: tokenizerDigests(config.model),
  };
}

/**
 * Refuses a checkpoint that is not what its config says, before anything large is allocated, and says
 * how its weights are stored and used.
 */
function verifyCheckpoint(config: EngineConfig): string {
  const { model, modelConfig, loadFormat } = config;
  if (loadFormat === "dummy") {
    return `${describeWeights(config, modelConfig.dtype)}, random: output means nothing`;
  }
  using checkpoint = Checkpoint.open(model, modelConfig);
  checkpoint.verify(modelConfig);
  return describeWeights(config, checkpoint.dtype ?? modelConfig.dtype);
}
