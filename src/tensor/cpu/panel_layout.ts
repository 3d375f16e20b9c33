/**
 * How the panels of native/cpu/linear_panels.h are laid out.
 * @module
 */

/** Outputs of a panel. */
const PANEL_OUTPUTS = 16;

/** Most pairs of input features that a matrix tile holds. */
const TILE_PAIRS = 16;

/** Sizes of a weight in panels. */
export interface PanelLayout {
  /** Input features of a block of the sum. */
  readonly blockSize: number;
  /** Blocks of the sum. */
  readonly blocks: number;
  /** Pairs of input features that a block takes, padding included. */
  readonly blockPairs: number;
  /** Elements of all panels. */
  readonly size: number;
}

/**
 * The layout of a weight `[outFeatures, inFeatures]` whose sum is cut into blocks of `blockSize` (0: one
 * block). A block is padded so that it can be cut into matrix tiles of one depth, which costs less than
 * tiles that are all full but the last.
 */
export function panelLayout(
  { outFeatures, inFeatures }: { outFeatures: number; inFeatures: number },
  blockSize: number,
): PanelLayout {
  // A rank that has but a part of a block keeps the block's layout, and so its order of additions.
  const size = Math.max(1, blockSize === 0 ? inFeatures : blockSize);
  const blocks = Math.max(1, Math.ceil(inFeatures / size));
  const pairs = Math.ceil(size / 2);
  const tiles = Math.ceil(pairs / TILE_PAIRS);
  const blockPairs = Math.ceil(pairs / tiles) * tiles;
  const panels = Math.ceil(outFeatures / PANEL_OUTPUTS);
  return {
    blockSize: size,
    blocks,
    blockPairs,
    size: panels * PANEL_OUTPUTS * blocks * blockPairs * 2,
  };
}
