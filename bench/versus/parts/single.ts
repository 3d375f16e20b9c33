/** Prefill and decode of one sequence. */
import type { Side, SideResult } from "../alternate.ts";
import { figuresOf } from "../alternate.ts";
import { type Ceilings, decodeLimit, type Limit, prefillLimit } from "../ceilings.ts";
import { ggufBytesPerToken } from "../gguf_model.ts";
import type { LlamaCpp } from "../llama_cpp.ts";
import type { OnnxRuntime } from "../onnx_runtime.ts";
import { type Bench, type Case, caseName, casesOf, type Part } from "../part.ts";
import { makeRow, type Roof, type Row, type Target } from "../row.ts";
import { configOf, FORMATS } from "../shapes.ts";
import type { ModelConfig } from "../../../src/models/model_config.ts";

const PROMPT_TOKENS = 512;
const DECODE_TOKENS = 128;
const LLAMA_CPP = "llama.cpp";

/** Bytes of an element of llama.cpp's cache, which is f16. */
const PEER_KV_BYTES = 2;

/** Prefill of 512 tokens, and decode of 128 from an empty context and at depth 512. */
export const single: Part = {
  cases: [
    ...casesOf(["135m"], ["f32", "bf16", "int8", "int4"]),
    ...casesOf(["1b"], ["bf16", "int8", "int4"]),
  ],
  measure,
};

async function measure(bench: Bench, testCase: Case): Promise<Row[]> {
  const { shape, format } = testCase;
  const config = configOf(shape);
  const sides = [await weftSide(bench, testCase)];
  if (bench.llamaCpp) sides.push(llamaCppSide(bench.llamaCpp, bench.models.gguf(shape, format)));
  if (bench.onnxRuntime && shape === "135m" && format !== "bf16") {
    const model = bench.models.onnx(shape, format);
    sides.push(onnxSide(bench.onnxRuntime, { model, config }));
  }
  const [weft, ...peers] = await bench.alternate(`single, ${caseName(testCase)}`, sides);
  const row = (figure: Figure, peer?: { readonly name: string; readonly result: SideResult }) => {
    const isLlamaCpp = peer?.name === LLAMA_CPP;
    return makeRow({
      part: "single",
      model: caseName(testCase),
      work: WORK[figure],
      unit: "tok/s",
      subject: { name: "weft", samples: figuresOf(weft, figure) },
      baseline: peer && { name: peer.name, samples: figuresOf(peer.result, figure) },
      roof: roofOf(figure, { bench, testCase, config, weft, hasPeer: isLlamaCpp }),
      targets: isLlamaCpp ? TARGETS[figure](testCase) : [],
    });
  };
  const figures: readonly Figure[] = ["prefill", "decode", "decodeDeep"];
  if (peers.length === 0) return figures.map((figure) => row(figure));
  return peers.flatMap((result, index) =>
    figures.map((figure) => row(figure, { name: sides[1 + index].name, result }))
  );
}

type Figure = "prefill" | "decode" | "decodeDeep";

const WORK: Readonly<Record<Figure, string>> = {
  prefill: `prefill ${PROMPT_TOKENS}`,
  decode: `decode ${DECODE_TOKENS} from empty`,
  decodeDeep: `decode ${DECODE_TOKENS} at depth ${PROMPT_TOKENS}`,
};

const atLeast = (of: Target["of"], limit: number): Target => ({ of, sense: ">=", limit });

const TARGETS: Readonly<Record<Figure, (testCase: Case) => Target[]>> = {
  prefill: ({ format }) => {
    if (format === "bf16") return [atLeast("ratio", 12)];
    return format === "int8" ? [atLeast("ratio", 8)] : [];
  },
  decode: ({ shape, format }) => {
    if (shape !== "1b" || format === "f32") return [];
    if (format === "bf16") return [atLeast("ratio", 1.4), atLeast("share", 0.85)];
    return [atLeast("ratio", 1.2)];
  },
  decodeDeep: ({ shape, format }) => {
    if (shape !== "1b" || format === "f32") return [];
    return [atLeast("ratio", { bf16: 1.6, int8: 1.4, int4: 1.5 }[format])];
  },
};

async function weftSide({ weft, models, threads }: Bench, { shape, format }: Case): Promise<Side> {
  const common = {
    model: await models.checkpoint(shape, format),
    flags: [...FORMATS[format].weftFlags, "--threads", String(threads)],
    promptTokens: PROMPT_TOKENS,
    decodeTokens: DECODE_TOKENS,
  };
  return {
    name: "weft",
    run: async () => {
      const empty = await weft.bench({ ...common, depth: 1 });
      const deep = await weft.bench({ ...common, depth: PROMPT_TOKENS });
      return {
        prefill: (empty.prefill + deep.prefill) / 2,
        decode: empty.decode,
        decodeDeep: deep.decode,
        decodeBytes: empty.bytesPerToken,
        decodeDeepBytes: deep.bytesPerToken,
      };
    },
  };
}

function llamaCppSide(llamaCpp: LlamaCpp, model: string): Side {
  const common = { model, decodeTokens: DECODE_TOKENS };
  return {
    name: LLAMA_CPP,
    run: async () => {
      const empty = await llamaCpp.bench({ ...common, promptTokens: PROMPT_TOKENS, depth: 0 });
      const deep = await llamaCpp.bench({ ...common, promptTokens: 0, depth: PROMPT_TOKENS });
      return { prefill: empty.prefill!, decode: empty.decode!, decodeDeep: deep.decode! };
    },
  };
}

function onnxSide(
  onnxRuntime: OnnxRuntime,
  { model, config }: { readonly model: string; readonly config: ModelConfig },
): Side {
  const common = { model, config, promptTokens: PROMPT_TOKENS, decodeTokens: DECODE_TOKENS };
  return {
    name: "onnxruntime-node",
    run: async () => {
      const { prefill, decode } = await onnxRuntime.bench({ ...common, depth: 0 });
      const deep = await onnxRuntime.bench({ ...common, depth: PROMPT_TOKENS });
      return { prefill, decode, decodeDeep: deep.decode };
    },
  };
}

function roofOf(
  figure: Figure,
  options: {
    readonly bench: { readonly ceilings: Ceilings };
    readonly testCase: Case;
    readonly config: ModelConfig;
    readonly weft: SideResult;
    readonly hasPeer: boolean;
  },
): Roof | undefined {
  const { bench: { ceilings }, testCase: { format }, config, weft, hasPeer } = options;
  const roof = (subject: Limit | null, peer: Limit | null) =>
    subject
      ? { of: subject.of, subject: subject.rate, baseline: hasPeer && peer ? peer.rate : null }
      : undefined;
  if (figure === "prefill") {
    const limit = prefillLimit(ceilings, { config, format, tokens: PROMPT_TOKENS });
    return roof(limit, limit);
  }
  const bytes = figuresOf(weft, `${figure}Bytes`)?.[0];
  const context = DECODE_TOKENS / 2 + (figure === "decodeDeep" ? PROMPT_TOKENS : 0);
  const peerBytes = ggufBytesPerToken(config, FORMATS[format].gguf) +
    2 * config.numLayers * config.numKvHeads * config.headDim * PEER_KV_BYTES * context;
  return bytes === undefined
    ? undefined
    : roof(decodeLimit(ceilings, bytes), decodeLimit(ceilings, peerBytes));
}
