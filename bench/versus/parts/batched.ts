/** Decode of many sequences together. */
import { figuresOf, type Side } from "../alternate.ts";
import { type Bench, type Case, caseName, casesOf, type Part } from "../part.ts";
import { makeRow, type Row, type Target } from "../row.ts";
import { FORMATS } from "../shapes.ts";

const SEQUENCES = 16;
const PROMPT_TOKENS = 128;
const DECODE_TOKENS = 64;

/** Decode of 16 sequences: prompts of 128 tokens, 64 new ones each. */
export const batched: Part = { cases: casesOf(["135m"], ["bf16", "int8"]), measure };

async function measure(bench: Bench, testCase: Case): Promise<Row[]> {
  const { shape, format } = testCase;
  const { weft, llamaCpp, models, threads } = bench;
  const work = { promptTokens: PROMPT_TOKENS, decodeTokens: DECODE_TOKENS };
  const checkpoint = await models.checkpoint(shape, format);
  const sides: Side[] = [{
    name: "weft",
    run: async () => {
      const flags = [...FORMATS[format].weftFlags, "--threads", String(threads)];
      const { prefill, decode } = await weft.bench({
        ...work,
        model: checkpoint,
        flags,
        depth: PROMPT_TOKENS,
        batch: SEQUENCES,
      });
      return { prefill, decode };
    },
  }];
  if (llamaCpp) {
    const model = models.gguf(shape, format);
    sides.push({
      name: "llama.cpp",
      run: () => llamaCpp.batched({ ...work, model, sequences: SEQUENCES }),
    });
  }
  const [ours, theirs] = await bench.alternate(`batched, ${caseName(testCase)}`, sides);
  const row = (figure: string, work: string, targets: readonly Target[]) =>
    makeRow({
      part: "batched",
      model: caseName(testCase),
      work,
      unit: "tok/s",
      subject: { name: "weft", samples: figuresOf(ours, figure) },
      baseline: theirs && { name: "llama.cpp", samples: figuresOf(theirs, figure) },
      targets,
    });
  return [
    row("prefill", `prefill ${SEQUENCES} x ${PROMPT_TOKENS}`, []),
    row("decode", `decode ${SEQUENCES} x ${DECODE_TOKENS}`, decodeTargets(testCase)),
  ];
}

function decodeTargets({ format }: Case): Target[] {
  if (format === "bf16") return [{ of: "ratio", sense: ">=", limit: 4 }];
  return format === "int8" ? [{ of: "ratio", sense: ">=", limit: 2.5 }] : [];
}
