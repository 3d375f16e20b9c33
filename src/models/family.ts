/**
 * What a model family is: how its config.json reads, and how its layers are built.
 * @module
 */
import type { LayerContext } from "../layers/weight_source.ts";
import type { WeightOptions } from "../tensor/linear_kernels.ts";
import type { ModelParts } from "./causal_lm.ts";
import type { ConfigReader, KnownKeys } from "./config_reader.ts";
import type { ModelConfig } from "./model_config.ts";

/** A model family. It is registered in `registry.ts`; nothing else knows it. */
export interface ModelFamily {
  /** `model_type` in config.json. */
  readonly modelType: string;
  /** The entry of `architectures` that is implemented. */
  readonly architecture: string;
  /** Keys of config.json that the family does not read and still accepts. */
  readonly knownKeys: KnownKeys;
  /** Reads the config; throws ModelLoadError naming the key that cannot be served. */
  readConfig(reader: ConfigReader): FamilyConfig;
  /** How stored tensor names differ from those that `build` asks for. */
  naming(config: ModelConfig): TensorNaming;
  /** What writes the inputs of the linear layers of decoder layer `index`, where a scale can pass. */
  sharedInputs(config: ModelConfig, index: number): SharedInput[];
  /** Builds one rank's part. The tensors that this asks for are the family's parameters. */
  build(context: FamilyContext): ModelParts;
}

/** A config as a family reads it; what is left out means the same in every family. */
export type FamilyConfig = Omit<ModelConfig, "modelType" | "architecture" | "quantization">;

/** How stored names may differ from the names that the model's code uses. */
export interface TensorNaming {
  /** Name that the model's code uses for a stored name. */
  canonical(stored: string): string;
  /** Whether a tensor (by its canonical name) may be there without being read. */
  isIgnorable(name: string): boolean;
}

/**
 * Linear layers that read one input, and the norm or the linear layer that writes it. Dividing what the
 * writer gives by a scale for each feature, and multiplying the readers' columns by it, changes nothing.
 */
export interface SharedInput {
  /** Prefix of the norm's or the layer's tensors. */
  readonly writer: string;
  /** Names of the linear layers, of such too as stay dense. */
  readonly readers: readonly string[];
}

/** The layers of one pipeline stage. */
export interface Stage {
  /** First layer. */
  readonly firstLayer: number;
  /** One past the last layer. */
  readonly endLayer: number;
  /** Whether the stage embeds tokens. */
  readonly first: boolean;
  /** Whether the stage computes logits. */
  readonly last: boolean;
}

/** What a stage's token embedding serves: the last stage may share it with its head. */
export function embeddingUse(stage: Stage, tied: boolean): NonNullable<WeightOptions["use"]> {
  if (!stage.first) return "product";
  return stage.last && tied ? "both" : "table";
}

/** What a family's builder receives. */
export interface FamilyContext extends LayerContext {
  /** The model. */
  readonly config: ModelConfig;
  /** The layers to build. */
  readonly stage: Stage;
  /** Positions that a sequence may take. */
  readonly maxModelLen: number;
  /** To be called after each layer. */
  readonly onLayer: () => void;
}

/** A copy of a tied output head that some checkpoints store is not read. */
export function isTiedHead(name: string, config: ModelConfig): boolean {
  return config.tieWordEmbeddings && name === "lm_head.weight";
}
