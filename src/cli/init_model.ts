/**
 * `weft init-model`: a checkpoint of a real shape with random weights.
 * @module
 */
import { initCheckpoint } from "../models/init_checkpoint.ts";
import { type JsonObject, readJsonFile } from "../models/json_file.ts";
import { MAX_CONFIG_BYTES } from "../models/model_config.ts";
import { PRESET_NAMES, presetConfig } from "../models/presets.ts";
import type { Command, Invocation } from "./command.ts";
import { INIT_MODEL_FLAGS } from "./flags.ts";
import { UsageError } from "./parse_flags.ts";
import { createProgress } from "./progress.ts";

type Flags = typeof INIT_MODEL_FLAGS;

/** The command `init-model`. */
export const initModelCommand: Command<Flags> = {
  name: "init-model",
  summary: "Write a checkpoint of a real shape with random weights",
  example: "weft init-model --preset smollm-135m --out smollm-135m-random",
  flags: INIT_MODEL_FLAGS,
  run: initModel,
};

function initModel({ values, host }: Invocation<Flags>): number {
  const { preset, config: file, out } = values;
  if ((preset === undefined) === (file === undefined)) {
    throw new UsageError("Cannot choose a shape: give one of --preset and --config");
  }
  if (out === undefined) throw new UsageError("Cannot write a checkpoint: give --out");
  const progress = createProgress({
    label: "Writing weights",
    terminal: host.terminal,
    write: host.writeError,
  });
  const { parameters, bytes, files } = initCheckpoint({
    config: preset === undefined ? readJsonFile(file!, MAX_CONFIG_BYTES) : readPreset(preset),
    seed: values.seed ?? 0n,
    dtype: values.dtype,
    out,
    onProgress: progress,
  });
  host.print(`${out}: ${parameters} parameters, ${bytes} bytes in ${files.join(", ")}`);
  return 0;
}

function readPreset(name: string): JsonObject {
  if (!PRESET_NAMES.some((known) => known === name)) {
    throw new UsageError(
      `Cannot find --preset ${name}: the presets are ${PRESET_NAMES.join(", ")}`,
    );
  }
  return presetConfig(name);
}
