/**
 * Loads the replicas that a command's flags ask for.
 * @module
 */
import { chooseDevice } from "../engine/device_choice.ts";
import { LlmEngine } from "../engine/llm_engine.ts";
import { readGenerationConfig } from "../models/generation_config.ts";
import { nativeLibraryPath } from "../native/native_library.ts";
import type { CliHost } from "./command.ts";
import { type EngineFlagValues, engineOptions } from "./engine_options.ts";
import { createProgress } from "./progress.ts";

/**
 * Loads `--data-parallel-size` engines of the model, one after the other, and shows the progress
 * and what was chosen. The first engine's tokenizer serves them all. When one cannot be loaded,
 * those before it are disposed.
 */
export async function loadReplicas(
  values: EngineFlagValues,
  options: { readonly model: string; readonly host: CliHost },
): Promise<readonly [LlmEngine, ...LlmEngine[]]> {
  const { model, host } = options;
  const count = values["data-parallel-size"];
  const ranks = values["tensor-parallel-size"] * values["pipeline-parallel-size"];
  const engines: LlmEngine[] = [];
  const choice = chooseDevice(values.device);
  if (!choice.wasm) {
    nativeLibraryPath({
      onCompile: ({ command }) =>
        host.log.info(`compiling the CPU kernels with ${command}, once for this machine`),
    });
  }
  const progress = createProgress({
    label: "Loading weights",
    terminal: host.terminal,
    write: host.writeError,
  });
  const load = (text?: LlmEngine["text"]) =>
    LlmEngine.load({
      ...engineOptions(values, model),
      firstGpu: engines.length * ranks,
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
