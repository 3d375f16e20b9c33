/**
 * What the code of a model family is given to build from.
 * @module
 */
import type { LayerContext } from "../layers/weight_source.ts";
import type { ModelConfig } from "./model_config.ts";

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
