/**
 * Loads the replicas that a command's flags ask for.
 * @module
 */
import { chooseDevice } from "../engine/device_choice.ts";
import { LlmEngine } from "../engine/llm_engine.ts";
import { readGenerationConfig } from "../models/generation_config.ts";
import type { WeightStoreHandle } from "../tensor/cpu/weight_store.ts";
import type { CliHost } from "./command.ts";
import { type EngineFlagValues, engineOptions } from "./engine_options.ts";
import { createProgress, LOADING } from "./progress.ts";
import { compileKernels, openWeightStore } from "./weight_store.ts";

/** Options of {@linkcode loadReplicas}. */
export interface LoadReplicasOptions {
  /** Folder of the model. */
  readonly model: string;
  /** Where progress is shown. */
  readonly host: CliHost;
  /** Load this one of the replicas only; it takes its share of the host all the same. */
  readonly rank?: number;
  /** Where it shares packed weights with the others; replicas that are loaded together share theirs. */
  readonly weightStore?: WeightStoreHandle;
  /** Name of its weights. Default: a hash of them. */
  readonly weightVersion?: string;
  /** The smallest step of progress that is shown. */
  readonly progressStep?: number;
}

/**
 * Loads `--data-parallel-size` engines of the model, one after the other, and shows the progress
 * and what was chosen. The first engine's tokenizer serves them all. When one cannot be loaded,
 * those before it are disposed.
 */
export async function loadReplicas(
  values: EngineFlagValues,
  { model, host, rank, weightVersion, weightStore, progressStep }: LoadReplicasOptions,
): Promise<readonly [LlmEngine, ...LlmEngine[]]> {
  const count = rank === undefined ? values["data-parallel-size"] : 1;
  const ranks = values["tensor-parallel-size"] * values["pipeline-parallel-size"];
  const engines: LlmEngine[] = [];
  const choice = chooseDevice(values.device);
  if (!choice.wasm) compileKernels(host);
  using store = count > 1 ? openWeightStore(choice, host) : null;
  const progress = createProgress({
    label: LOADING,
    terminal: host.terminal,
    write: host.writeError,
    step: progressStep,
  });
  const load = (text?: LlmEngine["text"]) =>
    LlmEngine.load({
      ...engineOptions(values, model),
      firstGpu: (rank ?? engines.length) * ranks,
      weightStore: store?.handle ?? weightStore,
      weightVersion,
      text,
      onProgress: (fraction) => progress((engines.length + fraction) / count),
    });
  try {
    const first = await load();
    engines.push(first);
    while (engines.length < count) engines.push(await load(first.text));
    progress(1);
    describe(first, host);
    warnOfAdvice(model, host);
    return [first, ...engines.slice(1)];
  } catch (error) {
    await disposeAll(engines);
    throw error;
  }
}

/** Disposes engines that {@linkcode loadReplicas} returned, side by side: each may take seconds. */
export async function disposeAll(engines: readonly LlmEngine[]): Promise<void> {
  await Promise.all(engines.map((engine) => engine[Symbol.asyncDispose]()));
}

function describe({ info }: LlmEngine, host: CliHost): void {
  host.log.info(
    `model: ${info.architecture}, vocabulary ${info.vocabSize}, ${info.maxModelLen} positions`,
  );
  for (const [part, chosen] of Object.entries(info.backend)) host.log.info(`${part}: ${chosen}`);
}

function warnOfAdvice(model: string, host: CliHost): void {
  const { ignored } = readGenerationConfig(model);
  if (ignored.length === 0) return;
  host.log.warn(`not followed in generation_config.json: ${ignored.join(", ")}`);
}
