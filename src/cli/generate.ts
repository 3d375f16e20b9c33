/**
 * `weft generate`: continues prompts and prints the results.
 * @module
 */
import type { LlmEngine } from "../engine/llm_engine.ts";
import type { SamplingParams } from "../engine/types.ts";
import { ReplicaRouter } from "../serving/replica_router.ts";
import type { Command, Invocation } from "./command.ts";
import { GENERATE_FLAGS } from "./flags.ts";
import { collectGeneration, type GenerationRecord } from "./generation_record.ts";
import { disposeAll, loadReplicas } from "./load_replicas.ts";
import { modelFolder } from "./model_folder.ts";
import { type GivenFlag, UsageError } from "./parse_flags.ts";

type Flags = typeof GENERATE_FLAGS;
type Values = Invocation<Flags>["values"];

/** The command `generate`. */
export const generateCommand: Command<Flags> = {
  name: "generate",
  summary: "Continue prompts and print the results",
  example: 'weft generate --model DIR --prompt "Once upon a time" --max-tokens 32 --temperature 0',
  flags: GENERATE_FLAGS,
  run: generate,
};

async function generate({ values, given, host }: Invocation<Flags>): Promise<number> {
  const prompts = readPrompts(given);
  if (prompts.length === 0) {
    throw new UsageError("Cannot generate as no prompt was given: use --prompt or --prompt-ids");
  }
  if (!values.json && (values.logprobs !== undefined || values["prompt-logprobs"])) {
    throw new UsageError("Cannot print log-probabilities as text: add --json");
  }
  const sampling = samplingParams(values, given);
  const { folder } = await modelFolder(values.model, host);
  const engines = await loadReplicas(values, { model: folder, host });
  const cancel = new AbortController();
  try {
    const router = new ReplicaRouter(engines);
    const tokenIds = await Promise.all(prompts.map((prompt) => encode(prompt, engines[0])));
    const pending = tokenIds.map((promptTokenIds) =>
      collectGeneration(
        promptTokenIds,
        router.generate({ promptTokenIds, sampling, signal: cancel.signal }),
      )
    );
    for (const generation of pending) generation.catch(() => {}); // Awaited below, in order.
    for (const generation of pending) {
      host.print(
        format(await generation, { json: values.json, hasText: engines[0].text !== null }),
      );
    }
    return 0;
  } finally {
    cancel.abort();
    await disposeAll(engines);
  }
}

/** Prompts in the order in which they were given: texts, and lists of token ids. */
function readPrompts(given: readonly GivenFlag[]): (string | number[])[] {
  const prompts: (string | number[])[] = [];
  for (const { name, value } of given) {
    if (name === "prompt") prompts.push(value as string);
    if (name === "prompt-ids") prompts.push(readTokenIds(value as string));
  }
  return prompts;
}

function readTokenIds(text: string): number[] {
  return text.split(",").map((part) => {
    const id = Number(part);
    if (!/^\s*\d+\s*$/.test(part) || id > 0x7fffffff) {
      throw new UsageError(
        `Cannot read --prompt-ids as it must be token ids with commas between: current value is ${text}`,
      );
    }
    return id;
  });
}

function samplingParams(values: Values, given: readonly GivenFlag[]): Partial<SamplingParams> {
  return {
    maxTokens: values["max-tokens"],
    temperature: values.temperature,
    topP: values["top-p"],
    topK: values["top-k"],
    minP: values["min-p"],
    presencePenalty: values["presence-penalty"],
    frequencyPenalty: values["frequency-penalty"],
    repetitionPenalty: values["repetition-penalty"],
    badWords: textsOf("bad-words", given),
    minTokens: values["min-tokens"],
    stop: textsOf("stop", given),
    ignoreEos: values["ignore-eos"],
    logprobs: values.logprobs ?? null,
    promptLogprobs: values["prompt-logprobs"] ? 0 : null,
  };
}

function textsOf(flag: string, given: readonly GivenFlag[]): string[] {
  return given.filter(({ name }) => name === flag).map(({ value }) => value as string);
}

async function encode(prompt: string | number[], engine: LlmEngine): Promise<number[]> {
  if (typeof prompt !== "string") return prompt;
  if (engine.text) return await engine.text.encode(prompt);
  throw new Error(
    "Cannot read a text prompt as the model folder has no tokenizer: use --prompt-ids",
  );
}

function format(
  record: GenerationRecord,
  options: { readonly json: boolean; readonly hasText: boolean },
): string {
  if (options.json) return JSON.stringify(record);
  return options.hasText ? record.text : record.token_ids.join(",");
}
