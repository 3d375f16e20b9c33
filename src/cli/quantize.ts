/**
 * `weft quantize`: a copy of a checkpoint whose linear layers are integers.
 * @module
 */
import { chooseDevice } from "../engine/device_choice.ts";
import { type ModelConfig, readModelConfig } from "../models/model_config.ts";
import {
  quantizeCheckpoint,
  type QuantizedCheckpoint,
} from "../models/quantize/quantize_checkpoint.ts";
import { openDevice } from "../tensor/open_device.ts";
import { TextProcessor } from "../text/text_processor.ts";
import { CALIBRATION_TEXT } from "./calibration_text.ts";
import type { CliHost, Command, Invocation } from "./command.ts";
import { type CheckpointChange, compareCheckpoints } from "./compare_checkpoints.ts";
import { QUANTIZE_FLAGS } from "./flags.ts";
import { modelFolder } from "./model_folder.ts";
import { UsageError } from "./parse_flags.ts";
import { createProgress } from "./progress.ts";

type Flags = typeof QUANTIZE_FLAGS;

/** Tokens on which inputs are measured, and as many others on which the change is. */
const TOKENS = 512;

/** The command `quantize`. */
export const quantizeCommand: Command<Flags> = {
  name: "quantize",
  summary: "Write a copy of a checkpoint in 8 or 4 bits, and measure what it changes",
  example: "weft quantize --model DIR --method int4 --out DIR-awq",
  flags: QUANTIZE_FLAGS,
  run: quantize,
};

async function quantize({ values, host }: Invocation<Flags>): Promise<number> {
  const { model, method, out, threads } = values;
  const groupSize = values["group-size"];
  if (model === undefined || method === undefined || out === undefined) {
    throw new UsageError("Cannot quantise a checkpoint: give --model, --method and --out");
  }
  if (method === "int8" && groupSize !== undefined) {
    throw new UsageError("Cannot cut int8 weights in groups as they have one scale an output");
  }
  const { folder } = await modelFolder(model, host);
  const { calibration, evaluation } = await readTokens(folder, values.calibration, host);
  const onProgress = createProgress({
    label: "Quantising",
    terminal: host.terminal,
    write: host.writeError,
  });
  let written: QuantizedCheckpoint;
  {
    const { wasm } = chooseDevice("cpu");
    using device = openDevice({ kind: wasm ? "wasm" : "cpu", threads });
    written = quantizeCheckpoint({
      model: folder,
      method,
      out,
      groupSize,
      calibration,
      device,
      mapped: !wasm,
      onProgress,
    });
  }
  const change = await compareCheckpoints(folder, out, { tokenIds: evaluation, threads });
  host.print(
    values.json ? jsonReport(out, method, written, change) : textReport(out, written, change),
  );
  return 0;
}

/** Tokens of the text: its first half for calibration, its second to see what became of it. */
async function readTokens(
  folder: string,
  file: string | undefined,
  host: CliHost,
): Promise<{ calibration: readonly number[]; evaluation: readonly number[] }> {
  const config = readModelConfig(folder);
  const tokenIds = await encode(folder, file, config, host);
  const half = Math.floor(tokenIds.length / 2);
  // The engine needs a position for what follows the text.
  const most = Math.min(TOKENS, config.maxPositionEmbeddings - 1);
  const calibration = tokenIds.slice(0, Math.min(half, most));
  const evaluation = tokenIds.slice(half, half + most);
  if (evaluation.length < 2 || calibration.length < 1) {
    throw new UsageError(
      `Cannot measure on the text as it is too short: ${tokenIds.length} tokens`,
    );
  }
  return { calibration, evaluation };
}

async function encode(
  folder: string,
  file: string | undefined,
  config: ModelConfig,
  host: CliHost,
): Promise<readonly number[]> {
  using text = await TextProcessor.load(folder);
  if (text) {
    return await text.encode(file === undefined ? CALIBRATION_TEXT : await readText(file));
  }
  if (file !== undefined) {
    throw new UsageError("Cannot read --calibration as the model folder has no tokenizer");
  }
  host.log.warn("the model folder has no tokenizer: measuring on random tokens");
  return randomTokens(2 * TOKENS, config.vocabSize);
}

async function readText(file: string): Promise<string> {
  try {
    return await Deno.readTextFile(file);
  } catch (cause) {
    throw new UsageError(`Cannot read --calibration ${file}: ${(cause as Error).message}`);
  }
}

/** Tokens from a linear congruential generator (Numerical Recipes). */
function randomTokens(count: number, vocabSize: number): number[] {
  let state = 0;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * vocabSize);
  });
}

function jsonReport(
  out: string,
  method: string,
  written: QuantizedCheckpoint,
  change: CheckpointChange,
): string {
  return JSON.stringify({
    out,
    method,
    group_size: written.groupSize,
    scaled_inputs: written.scaledInputs,
    files: written.files,
    bytes: written.bytes,
    bytes_before: written.bytesBefore,
    tokens: change.tokens,
    mean_logprob_difference: change.meanDifference,
    largest_logprob_difference: change.largestDifference,
    perplexity_before: change.perplexityBefore,
    perplexity_after: change.perplexityAfter,
  });
}

function textReport(out: string, written: QuantizedCheckpoint, change: CheckpointChange): string {
  const { groupSize, scaledInputs, bytes, bytesBefore, files } = written;
  const format = groupSize === null
    ? "compressed-tensors of 8 bits, a scale an output"
    : `awq of 4 bits, groups of ${groupSize} inputs, scales moved at ${scaledInputs} places`;
  const { tokens, meanDifference, largestDifference } = change;
  return [
    `${out}: ${format}`,
    `${bytes} bytes in ${files.join(", ")}: ${Math.round(100 * bytes / bytesBefore)} % of ` +
    `${bytesBefore}`,
    `log-probabilities of ${tokens} tokens change by ${meanDifference.toFixed(4)} in the mean, ` +
    `${largestDifference.toFixed(4)} at most`,
    `perplexity: ${change.perplexityBefore.toPrecision(5)} before, ` +
    `${change.perplexityAfter.toPrecision(5)} after`,
  ].join("\n");
}
