/**
 * GPT-2: learned positions, LayerNorm, GELU, and weights stored `[inFeatures, outFeatures]`.
 *
 * Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019); tensor names as
 * in Hugging Face checkpoints, with or without the `transformer.` prefix.
 * @module
 */
import { Attention } from "../layers/attention.ts";
import { FeedForwardBuffers, Mlp } from "../layers/mlp.ts";
import { LayerNorm } from "../layers/norm.ts";
import { ParallelLmHead, VocabParallelEmbedding } from "../layers/vocab_parallel.ts";
import { loadLinear, matrixSlice } from "../layers/weight_source.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { DecoderLayer, Embedding, ModelParts } from "./causal_lm.ts";
import { embeddingUse, type FamilyContext, isTiedHead, type ModelFamily } from "./family.ts";
import { GPT2_KEYS, readGpt2Config } from "./gpt2_config.ts";

/** GPT-2. */
export const GPT2: ModelFamily = {
  modelType: "gpt2",
  architecture: "GPT2LMHeadModel",
  knownKeys: GPT2_KEYS,
  readConfig: readGpt2Config,
  naming: (config) => ({
    canonical: (stored) =>
      stored.startsWith("transformer.") || stored.startsWith("lm_head.")
        ? stored
        : `transformer.${stored}`,
    // Old checkpoints store the causal masks.
    isIgnorable: (name) => isTiedHead(name, config) || /\.h\.\d+\.attn\.(masked_)?bias$/.test(name),
  }),
  // The second layer of each pair reads an activation, or values fused with queries and keys.
  sharedInputs: (_config, index) => [
    { writer: `transformer.h.${index}.ln_1`, readers: [`transformer.h.${index}.attn.c_attn`] },
    { writer: `transformer.h.${index}.ln_2`, readers: [`transformer.h.${index}.mlp.c_fc`] },
  ],
  build: buildGpt2,
};

function buildGpt2(context: FamilyContext): ModelParts {
  const { config, stage } = context;
  const { hiddenSize, vocabSize } = config;
  const buffers = new FeedForwardBuffers(context);
  const tied = config.tieWordEmbeddings;
  const tokens = stage.first || (stage.last && tied)
    ? new VocabParallelEmbedding(context, {
      name: "transformer.wte",
      vocabSize,
      hiddenSize,
      use: embeddingUse(stage, tied),
    })
    : null;
  const layers: DecoderLayer[] = [];
  for (let index = stage.firstLayer; index < stage.endLayer; index++) {
    layers.push(buildLayer(context, index, buffers));
    context.onLayer();
  }
  return {
    embedding: stage.first && tokens ? positionedEmbedding(context, tokens) : null,
    layers,
    norm: stage.last ? layerNorm(context, "transformer.ln_f") : null,
    head: stage.last
      ? new ParallelLmHead(context, {
        name: "lm_head",
        vocabSize,
        hiddenSize,
        tied: tied && tokens ? tokens : undefined,
      })
      : null,
    shared: [buffers, ...(tokens ? [tokens] : [])],
  };
}

/** Token embedding plus the learned embedding of the absolute position, which is whole on every rank. */
function positionedEmbedding(context: FamilyContext, tokens: VocabParallelEmbedding): Embedding {
  const { device, config, maxRows } = context;
  const { hiddenSize, maxPositionEmbeddings } = config;
  const stored = context.weights.tensor("transformer.wpe.weight", [
    maxPositionEmbeddings,
    hiddenSize,
  ]);
  const table = loadLinear(context, [matrixSlice(stored, {})], { use: "table" });
  const positions = Tensor.allocate(device, { shape: [maxRows, hiddenSize] });
  return {
    forward(out, batch) {
      const rows = batch.tokens;
      tokens.forward(out, batch.ids, rows);
      device.embedding(positions, batch.tensors.positions, table, rows, 0);
      device.add(out, out, positions, rows * hiddenSize);
    },
    [Symbol.dispose]() {
      table[Symbol.dispose]();
      positions[Symbol.dispose]();
    },
  };
}

function buildLayer(
  context: FamilyContext,
  index: number,
  buffers: FeedForwardBuffers,
): DecoderLayer {
  const { config } = context;
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim } = config;
  const prefix = `transformer.h.${index}`;
  return {
    inputNorm: layerNorm(context, `${prefix}.ln_1`),
    attention: new Attention(context, {
      qkvNames: [`${prefix}.attn.c_attn`],
      outputName: `${prefix}.attn.c_proj`,
      hiddenSize,
      numHeads,
      numKvHeads,
      headDim,
      qkvBias: true,
      outputBias: true,
      transposed: true,
      slidingWindow: config.slidingWindows[index],
    }, null),
    postAttentionNorm: layerNorm(context, `${prefix}.ln_2`),
    mlp: new Mlp(context, {
      up: `${prefix}.mlp.c_fc`,
      down: `${prefix}.mlp.c_proj`,
      hiddenSize,
      intermediateSize,
      bias: true,
      transposed: true,
    }, buffers),
  };
}

function layerNorm(context: FamilyContext, name: string): LayerNorm {
  const { hiddenSize, normEpsilon } = context.config;
  return new LayerNorm(context, { name, size: hiddenSize, epsilon: normEpsilon });
}
