/**
 * What a model is, in one form for every family.
 * @module
 */
import type { WeightDType } from "../tensor/dtype.ts";

/** Model families that can be served, by the `model_type` of their config.json. */
export type ModelType = "llama" | "mistral" | "qwen2" | "qwen3" | "mixtral" | "gpt2";

/** How rotary frequencies are stretched for contexts longer than the model was first trained on. */
export type RopeScaling =
  | { readonly type: "default" }
  | {
    readonly type: "linear";
    /** Positions are divided by this. */
    readonly factor: number;
  }
  | {
    readonly type: "llama3";
    /** Low frequencies are divided by this. */
    readonly factor: number;
    /** Wavelengths above `originalMaxPositionEmbeddings / lowFreqFactor` are scaled fully. */
    readonly lowFreqFactor: number;
    /** Wavelengths below `originalMaxPositionEmbeddings / highFreqFactor` are left alone. */
    readonly highFreqFactor: number;
    /** Context of the first training. */
    readonly originalMaxPositionEmbeddings: number;
  };

/** Rotary position embedding. */
export interface RopeConfig {
  /** Base of the frequencies. */
  readonly theta: number;
  /** Leading elements of a head that are rotated. Even. */
  readonly rotaryDim: number;
  /** Frequency scaling. */
  readonly scaling: RopeScaling;
}

/** Mixture-of-experts feed-forward layers. */
export interface ExpertsConfig {
  /** Experts in each layer. */
  readonly numExperts: number;
  /** Experts that each token visits. */
  readonly expertsPerToken: number;
  /** Whether the chosen experts' weights are divided by their sum. */
  readonly normalize: boolean;
}

/**
 * A decoder-only transformer. Plain data: it can be posted to a Worker. Every number has been
 * checked, so sizes computed from it are safe integers.
 */
export interface ModelConfig {
  /** First entry of `architectures`, such as `LlamaForCausalLM`. */
  readonly architecture: string;
  /** Family. */
  readonly modelType: ModelType;
  /** Entries of the vocabulary. */
  readonly vocabSize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width of the feed-forward layer (of one expert in a mixture). */
  readonly intermediateSize: number;
  /** Decoder layers. */
  readonly numLayers: number;
  /** Query heads. */
  readonly numHeads: number;
  /** Key/value heads; divides `numHeads`. */
  readonly numKvHeads: number;
  /** Elements of a head. `numHeads * headDim` need not be `hiddenSize`. */
  readonly headDim: number;
  /** Positions that the model was trained for. */
  readonly maxPositionEmbeddings: number;
  /** Added to the variance in norms. */
  readonly normEpsilon: number;
  /** Whether the output head is the embedding matrix. */
  readonly tieWordEmbeddings: boolean;
  /** Biases on the query, key and value projections. */
  readonly attentionBias: boolean;
  /** Bias on the attention's output projection. */
  readonly attentionOutputBias: boolean;
  /** Biases in the feed-forward layer. */
  readonly mlpBias: boolean;
  /** RMSNorm over each query and key head (Qwen3). */
  readonly qkNorm: boolean;
  /** For each layer, the keys that a query sees, itself included; 0 means all. */
  readonly slidingWindows: readonly number[];
  /** Rotary embedding; null where positions are learned (GPT-2). */
  readonly rope: RopeConfig | null;
  /** Activation of the feed-forward layer: gated SiLU, or GELU in its tanh form. */
  readonly activation: "silu" | "gelu_tanh";
  /** Mixture of experts; null in a dense model. */
  readonly experts: ExpertsConfig | null;
  /** Storage type that the config announces (`f32` when it says nothing). */
  readonly dtype: WeightDType;
  /** Token that begins a text, if there is one. */
  readonly bosTokenId: number | null;
  /** Tokens that end a generation. */
  readonly eosTokenIds: readonly number[];
}
