/**
 * Measures weft against other engines on this machine: `deno run -A bench/versus/main.ts`.
 * `bench/versus/README.md` says what is measured and how.
 * @module
 */
import { UsageError } from "../../src/cli/parse_flags.ts";
import { cacheFolder } from "../../src/native/cache.ts";
import { alternate, type Sample, type Side, type SideResult } from "./alternate.ts";
import { higherCeilings, measureCeilings } from "./ceilings.ts";
import { DISTURBING_CORES, FOREIGN_CORES, watched } from "./foreign_load.ts";
import { LlamaCpp } from "./llama_cpp.ts";
import { describeMachine } from "./machine.ts";
import { Models } from "./models.ts";
import { OnnxRuntime } from "./onnx_runtime.ts";
import { optionsHelp, readOptions, type VersusOptions } from "./options.ts";
import { type Bench, type Case, caseName, type Part, type PartName, selectCases } from "./part.ts";
import { batched } from "./parts/batched.ts";
import { foreign } from "./parts/foreign.ts";
import { http } from "./parts/http.ts";
import { pipelineParallel, tensorParallel } from "./parts/layouts.ts";
import { load } from "./parts/load.ts";
import { single } from "./parts/single.ts";
import type { PeerName } from "./peer.ts";
import { type Failure, RunRecord, type SampleRecord } from "./record.ts";
import { formatCaption, formatRow, formatTable } from "./table.ts";
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
  const record = new RunRecord(options.out, {
    header: {
      command: Deno.args,
      date: new Date().toISOString(),
      runs,
      threads,
      machine: await describeMachine(ROOT),
      peers: [llamaCpp, onnxRuntime].flatMap((peer) => peer ? [peer.description] : []),
    },
    failures,
  });
  const tools: Omit<Bench, "ceilings"> = {
    weft,
    llamaCpp,
    onnxRuntime,
    models: new Models(`${cache}/models`, { weft, log }),
    threads,
    alternate: (label, sides) => runSides(label, { sides, runs, record }),
  };
  let ceilings = await measureCeilings(threads);
  for (const { name, testCase } of selectedCases(options)) {
    // Again and again, as whoever disturbs them lowers them.
    ceilings = higherCeilings(ceilings, await measureCeilings(threads));
    record.ceilings = ceilings;
    await measureCase(name, { bench: { ...tools, ceilings }, testCase, record });
  }
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

/** What was asked for, part by part; a part that has nothing to measure is said. */
function selectedCases(options: VersusOptions): { name: PartName; testCase: Case }[] {
  return options.parts.flatMap((name) => {
    const { cases } = PARTS[name];
    const selected = selectCases(cases, options);
    if (selected.length === 0) {
      const meant = cases.map(caseName).join(", ");
      log(`NOT MEASURED: ${name} with ${options.shapes.join(", ")}: it is for ${meant}`);
    }
    return selected.map((testCase) => ({ name, testCase }));
  });
}

async function measureCase(
  name: PartName,
  context: { readonly bench: Bench; readonly testCase: Case; readonly record: RunRecord },
): Promise<void> {
  const { bench, testCase, record } = context;
  try {
    const before = record.samples.length;
    const measured = await PARTS[name].measure(bench, testCase);
    const disturbedRuns = record.samples.slice(before).filter(isDisturbed).length;
    const rows = measured.map((row) => ({ ...row, disturbedRuns }));
    record.addRows(rows);
    for (const row of rows) log(formatRow(row));
  } catch (error) {
    const what = `${name}, ${caseName(testCase)}`;
    log(`NOT MEASURED: ${what}: ${messageOf(error)}`);
    record.addFailure({ what, reason: messageOf(error) });
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

function isDisturbed({ sample }: SampleRecord): boolean {
  return sample[FOREIGN_CORES] > DISTURBING_CORES;
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
    const { header, rows, samples, failures } = await run(options);
    console.log(`${formatCaption(header)}\n\n${formatTable(rows)}`);
    const disturbed = samples.filter(isDisturbed);
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
