/**
 * Measures weft against other engines on this machine: `deno run -A bench/versus/main.ts`.
 * `bench/versus/README.md` says what is measured and how.
 * @module
 */
import { UsageError } from "../../src/cli/parse_flags.ts";
import { cacheFolder } from "../../src/native/cache.ts";
import { alternate, type Sample, type Side, type SideResult } from "./alternate.ts";
import { measureCeilings } from "./ceilings.ts";
import { DISTURBING_CORES, FOREIGN_CORES, watched } from "./foreign_load.ts";
import { LlamaCpp } from "./llama_cpp.ts";
import { describeMachine } from "./machine.ts";
import { Models } from "./models.ts";
import { OnnxRuntime } from "./onnx_runtime.ts";
import { optionsHelp, readOptions, type VersusOptions } from "./options.ts";
import { type Bench, caseName, type Part, type PartName, selectCases } from "./part.ts";
import { batched } from "./parts/batched.ts";
import { foreign } from "./parts/foreign.ts";
import { http } from "./parts/http.ts";
import { pipelineParallel, tensorParallel } from "./parts/layouts.ts";
import { load } from "./parts/load.ts";
import { single } from "./parts/single.ts";
import type { PeerName } from "./peer.ts";
import { type Failure, RunRecord } from "./record.ts";
import { formatRow, formatTable } from "./table.ts";
import { Weft } from "./weft.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

const PARTS: Readonly<Record<PartName, Part>> = {
  single,
  batched,
  http,
  foreign,
  "tensor-parallel": tensorParallel,
  "pipeline-parallel": pipelineParallel,
  load,
};

const log = (line: string) => console.error(line);

async function run(options: VersusOptions): Promise<RunRecord> {
  const { threads, runs } = options;
  const cache = `${cacheFolder()}/versus`;
  await Deno.mkdir(cache, { recursive: true });
  const failures: Failure[] = [];
  const llamaCpp = await openPeer(
    "llama.cpp",
    (folder) => LlamaCpp.open({ folder, cache, threads, log }),
    { options, failures },
  );
  const onnxRuntime = await openPeer(
    "onnxruntime-node",
    (folder) => OnnxRuntime.open({ folder, cache, threads }),
    { options, failures },
  );
  const weft = new Weft(ROOT);
  const ceilings = await measureCeilings(threads);
  log(`limits of ${threads} threads: ${JSON.stringify(ceilings)}`);
  const record = new RunRecord(options.out, {
    header: {
      command: Deno.args,
      date: new Date().toISOString(),
      runs,
      threads,
      machine: await describeMachine(ROOT),
      ceilings,
      peers: [llamaCpp, onnxRuntime].flatMap((peer) => peer ? [peer.description] : []),
    },
    failures,
  });
  const bench: Bench = {
    weft,
    llamaCpp,
    onnxRuntime,
    models: new Models(`${cache}/models`, { weft, log }),
    ceilings,
    threads,
    alternate: (label, sides) => runSides(label, { sides, runs, record }),
  };
  for (const name of options.parts) await runPart(name, { bench, options, record });
  return record;
}

/** A peer, unless it is left out or cannot be had, which is said. */
async function openPeer<Peer>(
  name: PeerName,
  open: (folder: string | null) => Promise<Peer>,
  context: { readonly options: VersusOptions; readonly failures: Failure[] },
): Promise<Peer | null> {
  const { options, failures } = context;
  if (options.without.has(name)) return null;
  try {
    return await open(options.peerFolders.get(name) ?? null);
  } catch (error) {
    const reason = messageOf(error);
    log(`NOT MEASURED: ${name}, which is left out: ${reason}`);
    failures.push({ what: name, reason });
    return null;
  }
}

async function runPart(
  name: PartName,
  context: {
    readonly bench: Bench;
    readonly options: VersusOptions;
    readonly record: RunRecord;
  },
): Promise<void> {
  const { bench, options, record } = context;
  const { cases, measure } = PARTS[name];
  const selected = selectCases(cases, options);
  if (selected.length === 0) {
    const reason = `it is for ${cases.map(caseName).join(", ")}`;
    log(`NOT MEASURED: ${name} with ${options.shapes.join(", ")}: ${reason}`);
  }
  for (const testCase of selected) {
    try {
      const rows = await measure(bench, testCase);
      record.addRows(rows);
      for (const row of rows) log(formatRow(row));
    } catch (error) {
      const what = `${name}, ${caseName(testCase)}`;
      log(`NOT MEASURED: ${what}: ${messageOf(error)}`);
      record.addFailure({ what, reason: messageOf(error) });
    }
  }
}

async function runSides(
  label: string,
  options: {
    readonly sides: readonly Side[];
    readonly runs: number;
    readonly record: RunRecord;
  },
): Promise<SideResult[]> {
  const { sides, runs, record } = options;
  const onSample = (side: string, sample: Sample) => {
    record.addSample({ measurement: label, side, sample });
    const figures = Object.entries(sample).map(([name, value]) =>
      `${name} ${value.toPrecision(4)}`
    );
    log(`  ${label}: ${side}: ${figures.join(", ")}`);
  };
  const results = await alternate(sides.map(watched), { runs, onSample });
  results.forEach(({ failure }, index) => {
    if (failure === null) return;
    const what = `${label}: ${sides[index].name}`;
    log(`NOT MEASURED: ${what}: ${failure}`);
    record.addFailure({ what, reason: failure });
  });
  return results;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function main(): Promise<number> {
  try {
    const options = readOptions(Deno.args);
    if (options === null) {
      console.log(optionsHelp());
      return 0;
    }
    const { rows, samples, failures } = await run(options);
    console.log(formatTable(rows));
    const disturbed = samples.filter(({ sample }) => sample[FOREIGN_CORES] > DISTURBING_CORES);
    if (disturbed.length > 0) {
      console.log(
        `\nDISTURBED: in ${disturbed.length} of ${samples.length} runs others used more than ` +
          `${DISTURBING_CORES} cores`,
      );
    }
    for (const { what, reason } of failures) {
      console.log(`\nNot measured: ${what}: ${reason.split("\n")[0]}`);
    }
    return failures.length === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    log(error.message);
    return 2;
  }
}

Deno.exitCode = await main();
