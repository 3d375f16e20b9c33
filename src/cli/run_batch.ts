/**
 * `weft run-batch`: answers a file of requests.
 * @module
 */
import { checkBatchInput, readBatchInput } from "../serving/batch/batch_input.ts";
import { BatchOutput } from "../serving/batch/batch_output.ts";
import { planScaling } from "../serving/batch/scaling_phases.ts";
import { parseReplicaAddress, type ReplicaAddress } from "../serving/router/replica_source.ts";
import { BatchDisplay } from "./batch_display.ts";
import { localReplicas, remoteReplicas } from "./batch_replicas.ts";
import { BatchRun, type ScalingFigures } from "./batch_run.ts";
import type { Command, Invocation } from "./command.ts";
import { ENGINE_FLAGS, RUN_BATCH_FLAGS } from "./flags.ts";
import { type GivenFlag, UsageError } from "./parse_flags.ts";
import { stopSignal } from "./serving_process.ts";

type Flags = typeof RUN_BATCH_FLAGS;

/** A scaling efficiency that was measured for less is not to be trusted. */
const MIN_SECONDS = 5;

/** The command `run-batch`. */
export const runBatchCommand: Command<Flags> = {
  name: "run-batch",
  summary: "Answer a file of requests in the format of OpenAI's batches",
  example: "weft run-batch --model DIR --input requests.jsonl --output answers.jsonl",
  flags: RUN_BATCH_FLAGS,
  run: runBatch,
};

async function runBatch({ values, given, host }: Invocation<Flags>): Promise<number> {
  const { input, output: path, order, resume } = values;
  if (input === undefined || path === undefined) {
    throw new UsageError("Cannot run a batch: give --input and --output");
  }
  const addresses = readAddresses(given);
  const names = await checkBatchInput(input);
  using output = await BatchOutput.open(path, { resume, requests: names });
  const [total, skipped] = [names.size, output.done.size];
  const left = total - skipped;
  const measures = values["measure-scaling"];
  if (measures) checkPlan(left, addresses.length || values["data-parallel-size"]);
  const cancel = new AbortController();
  stopSignal(host).then((signal) => cancel.abort(new Error(`${signal} has come`)));
  using display = new BatchDisplay({
    total,
    skipped,
    terminal: host.terminal,
    write: host.writeError,
  });
  const run = new BatchRun({ output, order, display, signal: cancel.signal });
  let scaling: ScalingFigures | null = null;
  if (left > 0) {
    await using replicas = addresses.length > 0
      ? await remoteReplicas(addresses, { values, host })
      : await localReplicas(values, host);
    await using requests = readBatchInput(input, output.done);
    const { all: server, patienceMs } = replicas;
    try {
      if (measures) scaling = await run.measureScaling(requests, { replicas, total: left });
      await run.answer(requests, { server, patienceMs });
    } catch (cause) {
      const answered = skipped + run.totals.requests;
      throw new Error(
        `Cannot finish the batch, of which ${answered} of ${total} requests are answered and --resume does the rest`,
        { cause },
      );
    }
    await output.sync();
  }
  display[Symbol.dispose]();
  const summary = summaryOf(run, { skipped, scaling });
  host.print(values.json ? JSON.stringify(summary) : formatSummary(summary));
  if (scaling !== null && scaling.seconds < MIN_SECONDS) {
    const seconds = scaling.seconds.toFixed(1);
    host.log.warn(`scaling was measured for ${seconds} s only, in which chance decides`);
  }
  const { requests, errors } = run.totals;
  if (errors === 0) return 0;
  host.log.error(`${errors} of ${requests} requests failed: --resume runs them again`);
  return 1;
}

/** Servers that flags name; throws UsageError for one that is no address, and for flags that do not go together. */
function readAddresses(given: readonly GivenFlag[]): readonly ReplicaAddress[] {
  const addresses = given.filter(({ name }) => name === "replica").map(({ value }) => {
    try {
      const address = parseReplicaAddress(String(value));
      if (!address.url.startsWith("dns:")) return address;
    } catch (error) {
      throw new UsageError((error as RangeError).message);
    }
    throw new UsageError(`Cannot look up the names of servers for a batch: ${value}`);
  });
  const isEngines = ({ name }: GivenFlag): boolean =>
    name === "served-model-name" || name in ENGINE_FLAGS;
  const isServers = ({ name }: GivenFlag): boolean => name === "replica-api-key";
  const unused = given.find(addresses.length > 0 ? isEngines : isServers);
  if (unused === undefined) return addresses;
  throw new UsageError(
    addresses.length > 0
      ? `Cannot use --${unused.name} as the servers of --replica have loaded their model`
      : `Cannot use --${unused.name} as no server is named: add --replica URL`,
  );
}

/** Throws UsageError before anything is loaded. */
function checkPlan(requests: number, replicas: number): void {
  try {
    planScaling(requests, { replicas, concurrency: 1 });
  } catch (error) {
    throw new UsageError((error as RangeError).message);
  }
}

/** What a run came to, by the names of the output. */
function summaryOf(
  { totals, seconds }: BatchRun,
  { skipped, scaling }: { readonly skipped: number; readonly scaling: ScalingFigures | null },
): Readonly<Record<string, number | null>> {
  return {
    requests: totals.requests,
    errors: totals.errors,
    answered_before: skipped,
    prompt_tokens: totals.promptTokens,
    generated_tokens: totals.generationTokens,
    seconds,
    generated_tokens_per_second: seconds === 0 ? 0 : totals.generationTokens / seconds,
    tokens_per_second_of_one_alone: scaling?.alone ?? null,
    tokens_per_second_of_all: scaling?.together ?? null,
    scaling_efficiency: scaling?.efficiency ?? null,
  };
}

function formatSummary(summary: Readonly<Record<string, number | null>>): string {
  const shown = (value: number | null): string =>
    value === null
      ? "not measured (--measure-scaling)"
      : Number.isInteger(value)
      ? String(value)
      : value.toPrecision(4);
  return Object.entries(summary).map(([name, value]) => `${name}: ${shown(value)}`).join("\n");
}
