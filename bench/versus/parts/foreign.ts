/** What is left of the speed beside a thread that computes for somebody else. */
import { figuresOf, type Sample, type Side } from "../alternate.ts";
import { type Bench, type Case, caseName, casesOf, type Part } from "../part.ts";
import { makeRow, type Row, type Target } from "../row.ts";
import { FORMATS } from "../shapes.ts";

const PROMPT_TOKENS = 512;
const DECODE_TOKENS = 128;

/** Of two cores with three busy threads two thirds are ours. */
const TARGET: Target = { of: "ratio", sense: ">=", limit: 0.58 };

/** Prefill and decode of one sequence, beside a busy thread against alone. */
export const foreign: Part = {
  cases: [...casesOf(["135m"], ["bf16", "int8"]), ...casesOf(["1b"], ["bf16"])],
  measure,
};

async function measure(bench: Bench, testCase: Case): Promise<Row[]> {
  const { shape, format } = testCase;
  const { weft, llamaCpp, models, threads } = bench;
  const common = { promptTokens: PROMPT_TOKENS, decodeTokens: DECODE_TOKENS };
  const checkpoint = await models.checkpoint(shape, format);
  const flags = [...FORMATS[format].weftFlags, "--threads", String(threads)];
  const sides = aloneAndBeside(
    "weft",
    async () => {
      const run = await weft.bench({ ...common, model: checkpoint, flags, depth: 1 });
      return { prefill: run.prefill, decode: run.decode };
    },
  );
  if (llamaCpp) {
    const model = models.gguf(shape, format);
    sides.push(...aloneAndBeside("llama.cpp", async () => {
      const run = await llamaCpp.bench({ ...common, model, depth: 0 });
      return { prefill: run.prefill!, decode: run.decode! };
    }));
  }
  const results = await bench.alternate(`foreign, ${caseName(testCase)}`, sides);
  const rows: Row[] = [];
  for (const [index, name] of (llamaCpp ? ["weft", "llama.cpp"] : ["weft"]).entries()) {
    const [alone, beside] = results.slice(2 * index);
    for (const figure of ["prefill", "decode"]) {
      rows.push(makeRow({
        part: "foreign",
        model: caseName(testCase),
        work: `${name}: ${figure} ${figure === "prefill" ? PROMPT_TOKENS : DECODE_TOKENS}`,
        unit: "tok/s",
        subject: { name: "beside a busy thread", samples: figuresOf(beside, figure) },
        baseline: { name: "alone", samples: figuresOf(alone, figure) },
        targets: name === "weft" ? [TARGET] : [],
      }));
    }
  }
  return rows;
}

function aloneAndBeside(name: string, run: () => Promise<Sample>): Side[] {
  return [
    { name: `${name} alone`, run },
    {
      name: `${name} beside`,
      run: async () => {
        await using _thread = new BusyThread();
        return await run();
      },
    },
  ];
}

/** A process with one thread that never rests; it ends when disposed. */
class BusyThread implements AsyncDisposable {
  readonly #child = new Deno.Command("sh", {
    args: ["-c", "while :; do :; done"],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}
