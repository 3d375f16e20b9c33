/**
 * `weft inspect`: what a checkpoint is, how a layout divides it, and what would compute it.
 * @module
 */
import type { Command, Invocation } from "./command.ts";
import { engineOptions } from "./engine_options.ts";
import { INSPECT_FLAGS } from "./flags.ts";
import { describeGpus } from "./gpu_report.ts";
import { describeMachine } from "./machine_report.ts";
import { modelFolder } from "./model_folder.ts";
import { describeModel } from "./model_report.ts";

type Flags = typeof INSPECT_FLAGS;

/** The command `inspect`. */
export const inspectCommand: Command<Flags> = {
  name: "inspect",
  summary: "Describe a checkpoint, its layout over ranks, and this machine",
  example: "weft inspect --model DIR --tensor-parallel-size 2 --json",
  flags: INSPECT_FLAGS,
  run: inspect,
};

async function inspect({ values, host }: Invocation<Flags>): Promise<number> {
  const machine = describeMachine(values.device);
  const gpus = describeGpus();
  const model = values.model === undefined
    ? null
    : describeModel(engineOptions(values, (await modelFolder(values.model, host)).folder));
  const report = { machine, gpus, model };
  host.print(values.json ? JSON.stringify(report) : formatReport(report));
  return 0;
}

/** Nested values as indented lines. */
function formatReport(report: object, indent = ""): string {
  return Object.entries(report).map(([name, value]) => {
    const label = `${indent}${name.replaceAll("_", " ")}:`;
    if (value === null || Array.isArray(value) && value.length === 0) return `${label} none`;
    if (typeof value !== "object") {
      return `${label} ${String(value).replaceAll("\n", `\n${indent}  `)}`;
    }
    if (Array.isArray(value) && value.every((item) => typeof item !== "object")) {
      return `${label} ${value.join(" to ")}`;
    }
    return `${label}\n${formatReport(value, `${indent}  `)}`;
  }).join("\n");
}
