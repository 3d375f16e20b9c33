/**
 * Runs the parts that are named, or all: `bench/gpu/run.sh decode-1b kernels`. Figures are printed as a
 * table and written as lines of JSON as they come; WEFT_BENCH_OUT is the folder, `gpu-figures` else.
 * @module
 */
import { type Ceilings, CEILINGS_VARIABLE, type Figure } from "./_figures.ts";
import { CEILINGS, type Part, PARTS } from "./_parts.ts";

const NAME_WIDTH = 40;

/** How a part ended. */
interface Outcome {
  readonly part: string;
  readonly seconds: number;
  readonly result: "ok" | "failed" | "timed out";
}

function row({ name, value, unit, of, share, details = {} }: Figure): string {
  const shown = share === undefined || !Number.isFinite(share)
    ? ""
    : `${(100 * share).toFixed(1)} % of ${of}`;
  const more = Object.entries(details).map(([key, value]) => `${key} ${value}`).join(", ");
  const digits = value >= 100 ? 0 : 2;
  return `${name.padEnd(NAME_WIDTH)} ${value.toFixed(digits).padStart(9)} ${unit.padEnd(8)} ` +
    `${shown.padEnd(25)} ${more}`;
}

class Run {
  readonly figures: Figure[] = [];
  readonly outcomes: Outcome[] = [];
  readonly #path: string;

  constructor(folder: string) {
    Deno.mkdirSync(folder, { recursive: true });
    const started = new Date().toISOString().replaceAll(/[:.]/g, "-");
    this.#path = `${folder}/figures-${started}.jsonl`;
  }

  /** Runs a part to its end or its deadline; figures count even if it fails later. */
  async part(part: Part, env: Readonly<Record<string, string>> = {}): Promise<void> {
    console.log(`\n== ${part.name} (at most ${part.seconds} s)`);
    const start = performance.now();
    const deadline = AbortSignal.timeout(part.seconds * 1000);
    const [program, ...args] = part.command;
    const command = new Deno.Command(program === "deno" ? Deno.execPath() : program, {
      args,
      env: { ...env, ...part.env },
      stdout: "piped",
      signal: deadline,
    });
    const success = await this.#succeeds(part.name, command);
    const result = success ? "ok" : deadline.aborted ? "timed out" : "failed";
    const seconds = (performance.now() - start) / 1000;
    this.outcomes.push({ part: part.name, seconds, result });
    this.#write({ part: part.name, seconds, result });
    console.log(`== ${part.name}: ${result} after ${seconds.toFixed(1)} s`);
  }

  async #succeeds(part: string, command: Deno.Command): Promise<boolean> {
    try {
      const child = command.spawn();
      await this.#read(part, child.stdout);
      return (await child.status).success;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      console.error(`NOT MEASURED: ${part}, as its program is not there: ${error.message}`);
      return false;
    }
  }

  async #read(part: string, output: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of output.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#line(part, line);
    }
    if (rest !== "") this.#line(part, rest);
  }

  #line(part: string, line: string): void {
    if (!line.startsWith('{"name":')) {
      console.log(line);
      return;
    }
    const figure: Figure = JSON.parse(line);
    this.figures.push(figure);
    this.#write({ part, date: new Date().toISOString(), ...figure });
    console.log(row(figure));
  }

  #write(record: unknown): void {
    Deno.writeTextFileSync(this.#path, `${JSON.stringify(record)}\n`, { append: true });
  }
}

function ceilingsOf(figures: readonly Figure[]): Ceilings | null {
  const value = (name: string) => figures.find((figure) => figure.name.startsWith(name))?.value;
  const [copy, gemm] = [value("copy"), value("GEMM")];
  if (copy === undefined || gemm === undefined) return null;
  return { copyBytesPerSecond: copy * 1e9, gemmFlopsPerSecond: gemm * 1e12 };
}

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.filter((name) => !PARTS.some((part) => part.name === name));
  if (unknown.length > 0) {
    console.error(`Cannot run ${unknown}: parts are ${PARTS.map((part) => part.name).join(" ")}`);
    return 2;
  }
  const run = new Run(Deno.env.get("WEFT_BENCH_OUT") ?? "gpu-figures");
  await run.part(CEILINGS);
  const ceilings = ceilingsOf(run.figures);
  const env: Record<string, string> = ceilings
    ? { [CEILINGS_VARIABLE]: JSON.stringify(ceilings) }
    : {};
  for (const part of PARTS) {
    if (names.length === 0 || names.includes(part.name)) await run.part(part, env);
  }
  console.log("\n== figures");
  for (const figure of run.figures) console.log(row(figure));
  console.log("\n== parts");
  for (const { part, seconds, result } of run.outcomes) {
    console.log(`${part.padEnd(NAME_WIDTH)} ${seconds.toFixed(1).padStart(9)} s  ${result}`);
  }
  return run.outcomes.every(({ result }) => result === "ok") ? 0 : 1;
}

Deno.exitCode = await main(Deno.args);
