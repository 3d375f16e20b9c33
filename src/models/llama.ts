/**
 * Llama-shaped models: Llama 2/3, Mistral, Qwen2, Qwen3, and Mixtral with experts.
 *
 * Source: Touvron et al., "Llama 2" (arXiv 2307.09288); tensor names as in Hugging Face checkpoints.
 * @module
 */
import { Attention } from "../layers/attention.ts";
import { SparseMoe } from "../layers/experts.ts";
import { type FeedForward, FeedForwardBuffers, GatedMlp } from "../layers/mlp.ts";
import { RmsNorm } from "../layers/norm.ts";
import { RotaryEmbedding } from "../layers/rotary_embedding.ts";
import { ParallelLmHead, VocabParallelEmbedding } from "../layers/vocab_parallel.ts";
import type { DecoderLayer, ModelParts } from "./causal_lm.ts";
import {
  embeddingUse,
  type FamilyContext,
  isTiedHead,
  type ModelFamily,
  type SharedInput,
} from "./family.ts";
import { llamaKeys, type LlamaShaped, readLlamaConfig } from "./llama_config.ts";
import type { ModelConfig } from "./model_config.ts";

/** The Llama-shaped families. */
export const LLAMA_FAMILIES: readonly ModelFamily[] = [
  llamaShaped("llama", "LlamaForCausalLM"),
  llamaShaped("mistral", "MistralForCausalLM"),
  llamaShaped("qwen2", "Qwen2ForCausalLM"),
  llamaShaped("qwen3", "Qwen3ForCausalLM"),
  llamaShaped("mixtral", "MixtralForCausalLM"),
];

function llamaShaped(modelType: LlamaShaped, architecture: string): ModelFamily {
  return {
    modelType,
    architecture,
    knownKeys: llamaKeys(modelType),
    readConfig: (reader) => readLlamaConfig(reader, modelType),
    naming: (config) => ({
      canonical: (stored) => stored,
      // Old checkpoints store the frequencies, which are computed.
      isIgnorable: (name) => isTiedHead(name, config) || /\.rotary_emb\.inv_freq$/.test(name),
    }),
    sharedInputs: llamaSharedInputs,
    build: buildLlama,
  };
}

function buildLlama(context: FamilyContext): ModelParts {
  const { config, stage } = context;
  const { hiddenSize, vocabSize } = config;
  const buffers = new FeedForwardBuffers(context);
  const rotary = config.rope
    ? new RotaryEmbedding(context.device, { ...config.rope, maxPositions: context.maxModelLen })
    : null;
  const tied = config.tieWordEmbeddings;
  const embedding = stage.first || (stage.last && tied)
    ? new VocabParallelEmbedding(context, {
      name: "model.embed_tokens",
      vocabSize,
      hiddenSize,
      use: embeddingUse(stage, tied),
    })
    : null;
  const layers: DecoderLayer[] = [];
  for (let index = stage.firstLayer; index < stage.endLayer; index++) {
    layers.push(buildLayer(context, index, rotary, buffers));
    context.onLayer();
  }
  return {
    embedding: stage.first && embedding
      ? {
        forward: (out, batch) => embedding.forward(out, batch.ids, batch.tokens),
        [Symbol.dispose]: () => {},
      }
      : null,
    layers,
    norm: stage.last ? rmsNorm(context, "model.norm") : null,
    head: stage.last
      ? new ParallelLmHead(context, {
        name: "lm_head",
        vocabSize,
        hiddenSize,
        tied: tied && embedding ? embedding : undefined,
      })
      : null,
    shared: [buffers, ...(rotary ? [rotary] : []), ...(embedding ? [embedding] : [])],
  };
}

function buildLayer(
  context: FamilyContext,
  index: number,
  rotary: RotaryEmbedding | null,
  buffers: FeedForwardBuffers,
): DecoderLayer {
  const { config } = context;
  const prefix = `model.layers.${index}`;
  const attention = `${prefix}.self_attn`;
  return {
    inputNorm: rmsNorm(context, `${prefix}.input_layernorm`),
    attention: new Attention(context, {
      qkvNames: [`${attention}.q_proj`, `${attention}.k_proj`, `${attention}.v_proj`],
      outputName: `${attention}.o_proj`,
      headNorms: config.qkNorm
        ? {
          query: `${attention}.q_norm`,
          key: `${attention}.k_norm`,
          epsilon: config.normEpsilon,
        }
        : undefined,
      hiddenSize: config.hiddenSize,
      numHeads: config.numHeads,
      numKvHeads: config.numKvHeads,
      headDim: config.headDim,
      qkvBias: config.attentionBias,
      outputBias: config.attentionOutputBias,
      slidingWindow: config.slidingWindows[index],
    }, rotary),
    postAttentionNorm: rmsNorm(context, `${prefix}.post_attention_layernorm`),
    mlp: buildFeedForward(context, prefix, buffers),
  };
}

function buildFeedForward(
  context: FamilyContext,
  prefix: string,
  buffers: FeedForwardBuffers,
): FeedForward {
  const { hiddenSize, intermediateSize, mlpBias, experts } = context.config;
  const names = feedForwardNames(context.config, prefix);
  if (!experts) {
    const [mlp] = names.experts;
    return new GatedMlp(
      context,
      { ...mlp, hiddenSize, intermediateSize, bias: mlpBias },
      buffers,
    );
  }
  return new SparseMoe(context, {
    router: names.router!,
    expert: (index) => names.experts[index],
    ...experts,
    hiddenSize,
    intermediateSize,
  }, buffers);
}

function llamaSharedInputs(config: ModelConfig, index: number): SharedInput[] {
  const prefix = `model.layers.${index}`;
  const attention = `${prefix}.self_attn`;
  const shared: SharedInput[] = [{
    writer: `${prefix}.input_layernorm`,
    readers: ["q_proj", "k_proj", "v_proj"].map((name) => `${attention}.${name}`),
  }];
  // Where query heads share a value head, so would the columns of the output projection.
  if (config.numHeads === config.numKvHeads) {
    shared.push({ writer: `${attention}.v_proj`, readers: [`${attention}.o_proj`] });
  }
  const { router, experts } = feedForwardNames(config, prefix);
  shared.push({
    writer: `${prefix}.post_attention_layernorm`,
    readers: [
      ...router ? [router] : [],
      ...experts.flatMap(({ gate, up }) => [gate, up]),
    ],
  });
  return [...shared, ...experts.map(({ up, down }) => ({ writer: up, readers: [down] }))];
}

/** Names of the feed-forward layer's projections: one set, or one for each expert of a router. */
function feedForwardNames(
  { experts }: ModelConfig,
  prefix: string,
): { router: string | null; experts: { gate: string; up: string; down: string }[] } {
  if (!experts) {
    const mlp = `${prefix}.mlp`;
    const names = { gate: `${mlp}.gate_proj`, up: `${mlp}.up_proj`, down: `${mlp}.down_proj` };
    return { router: null, experts: [names] };
  }
  const moe = `${prefix}.block_sparse_moe`;
  return {
    router: `${moe}.gate`,
    experts: Array.from({ length: experts.numExperts }, (_, index) => {
      const expert = `${moe}.experts.${index}`;
      return { gate: `${expert}.w1`, up: `${expert}.w3`, down: `${expert}.w2` };
    }),
  };
}

function rmsNorm(context: FamilyContext, name: string): RmsNorm {
  const { hiddenSize, normEpsilon } = context.config;
  return new RmsNorm(context, { name, size: hiddenSize, epsilon: normEpsilon });
}
