/** Layouts of weft against one rank. */
import { figuresOf, type Side } from "../alternate.ts";
import { type Bench, type Case, caseName, casesOf, type Part } from "../part.ts";
import { makeRow, type Row } from "../row.ts";
import { FORMATS } from "../shapes.ts";

const PROMPT_TOKENS = 512;
const DECODE_TOKENS = 64;
const PIPELINE_SEQUENCES = 8;

/** A layout and how many sequences it gets. */
interface Layout {
  readonly name: string;
  readonly flags: readonly string[];
  readonly batch: number;
}

/** TP 2 with one thread a rank against one rank with two. */
export const tensorParallel: Part = {
  // The small shape has 9 heads, which two ranks cannot share.
  cases: casesOf(["1b"], ["bf16", "int8"]),
  measure: (bench, testCase) =>
    compare(bench, {
      part: "tensor-parallel",
      testCase,
      limit: 0.95,
      subject: {
        name: "2 ranks x 1 thread",
        flags: ["--tensor-parallel-size", "2", "--threads", "1"],
        batch: 1,
      },
      baseline: { name: "1 rank x 2 threads", flags: ["--threads", "2"], batch: 1 },
    }),
};

/** PP 2 with twice the sequences against one rank with one thread. */
export const pipelineParallel: Part = {
  cases: [...casesOf(["135m"], ["bf16", "int8"]), ...casesOf(["1b"], ["bf16"])],
  measure: (bench, testCase) =>
    compare(bench, {
      part: "pipeline-parallel",
      testCase,
      limit: 1.8,
      subject: {
        name: `2 stages, ${PIPELINE_SEQUENCES} sequences`,
        flags: ["--pipeline-parallel-size", "2", "--threads", "1"],
        batch: PIPELINE_SEQUENCES,
      },
      baseline: {
        name: `1 rank x 1 thread, ${PIPELINE_SEQUENCES / 2} sequences`,
        flags: ["--threads", "1"],
        batch: PIPELINE_SEQUENCES / 2,
      },
    }),
};

interface Comparison {
  readonly part: string;
  readonly testCase: Case;
  readonly limit: number;
  readonly subject: Layout;
  readonly baseline: Layout;
}

async function compare(bench: Bench, comparison: Comparison): Promise<Row[]> {
  const { part, testCase, limit, subject, baseline } = comparison;
  const { shape, format } = testCase;
  const model = await bench.models.checkpoint(shape, format);
  const side = ({ name, flags, batch }: Layout): Side => ({
    name,
    run: async () => {
      const { prefill, decode } = await bench.weft.bench({
        model,
        flags: [...FORMATS[format].weftFlags, ...flags],
        promptTokens: PROMPT_TOKENS,
        decodeTokens: DECODE_TOKENS,
        depth: PROMPT_TOKENS,
        batch,
      });
      return { prefill, decode };
    },
  });
  const [ours, theirs] = await bench.alternate(`${part}, ${caseName(testCase)}`, [
    side(subject),
    side(baseline),
  ]);
  return ["prefill", "decode"].map((figure) =>
    makeRow({
      part,
      model: caseName(testCase),
      work: figure === "prefill"
        ? `prefill, prompts of ${PROMPT_TOKENS}`
        : `decode ${DECODE_TOKENS} at depth ${PROMPT_TOKENS}`,
      unit: "tok/s",
      subject: { name: subject.name, samples: figuresOf(ours, figure) },
      baseline: { name: baseline.name, samples: figuresOf(theirs, figure) },
      targets: [{ of: "ratio", sense: ">=", limit }],
    })
  );
}
