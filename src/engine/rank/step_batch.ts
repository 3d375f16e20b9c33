/**
 * Writes plans into the arrays of a step.
 * @module
 */
import type { ForwardBatch } from "../../models/causal_lm.ts";
import type { BlockTables } from "./block_tables.ts";
import type { LogitRow } from "./logit_rows.ts";
import type { StepArena, StepLayout } from "./step_arena.ts";
import type { PlannedSequence } from "../step_plan.ts";

/** Tokens that earlier steps have drawn and that a plan refers to by (step, slot). */
export interface TokenBoard {
  /** The token drawn for `slot` in `step`; waits for that step under a deadline. */
  tokenOf(step: number, slot: number): number;
}

/** Where drawn tokens are found: on this device by slot, on a board that another rank posts to, or nowhere. */
export type DrawnTokens = "slots" | TokenBoard | null;

/** Options of {@linkcode StepBatch}. */
export interface StepBatchOptions {
  /** Memory of the arrays. */
  readonly arena: StepArena;
  /** How it is divided. */
  readonly layout: StepLayout;
  /** Where keys and values lie. */
  readonly tables: BlockTables;
  /** Where input tokens that were not known when planned come from. */
  readonly drawnTokens: DrawnTokens;
}

/**
 * A batch of one size, written anew for each step. What a step leaves empty is padding: token 0 at
 * position 0 of a sequence that lies in the null block, whose draws go nowhere.
 */
export class StepBatch {
  /** What the model sees. */
  readonly forward: ForwardBatch;
  /** How the arena is divided. */
  readonly layout: StepLayout;
  readonly #options: StepBatchOptions;

  /** A batch as large as the layout. */
  constructor(options: StepBatchOptions) {
    const { layout, tables } = options;
    const { ids, positions, slotMapping, queryStarts, contextStarts, tableRows } = layout.device;
    this.#options = options;
    this.layout = layout;
    this.forward = {
      ...layout.counts,
      ids,
      tensors: {
        positions,
        slotMapping,
        queryStarts,
        contextStarts,
        tableRows,
        blockTables: tables.tensor,
      },
    };
  }

  /** Writes a plan's sequences and rows of logits, pads the rest, and copies it all to the device. */
  write(sequences: readonly PlannedSequence[], rows: readonly LogitRow[]): void {
    const { arena, layout, tables } = this.#options;
    const { queryStarts, contextStarts, tableRows } = layout.host;
    let tokens = 0, numNewBlocks = 0;
    for (let index = 0; index < sequences.length; index++) {
      const sequence = sequences[index];
      numNewBlocks += tables.extend(sequence, layout.host, numNewBlocks);
      queryStarts[index] = tokens;
      contextStarts[index] = sequence.startPosition;
      tableRows[index] = sequence.slot;
      this.#writeTokens(sequence, tokens);
      tokens += sequence.numTokens;
    }
    this.#pad(sequences.length, tokens);
    this.#writeRows(sequences, rows);
    arena.upload(numNewBlocks > 0 ? layout.whole : layout.withoutBlocks);
    if (numNewBlocks > 0) {
      tables.apply(layout.device.newBlocks, layout.device.newBlockPlaces, numNewBlocks);
    }
  }

  #writeTokens(sequence: PlannedSequence, firstToken: number): void {
    const { layout, tables, drawnTokens } = this.#options;
    const { ids, positions, slotMapping, sources } = layout.host;
    const { slot, startPosition, numTokens, tokens, inputStep } = sequence;
    sources.fill(-1, firstToken, firstToken + numTokens);
    if (tokens) ids.set(tokens, firstToken);
    else if (drawnTokens === "slots") sources[firstToken] = slot;
    else if (drawnTokens) ids[firstToken] = drawnTokens.tokenOf(inputStep, slot);
    for (let i = 0; i < numTokens; i++) {
      positions[firstToken + i] = startPosition + i;
      slotMapping[firstToken + i] = tables.cacheSlot(slot, startPosition + i);
    }
  }

  /** Sequences of padding share the tokens that are left, evenly: one each in a decode step. */
  #pad(firstSequence: number, firstToken: number): void {
    const { layout, tables } = this.#options;
    const { ids, positions, slotMapping, sources } = layout.host;
    const { queryStarts, contextStarts, tableRows } = layout.host;
    const { tokens, sequences } = layout.counts;
    const padding = sequences - firstSequence;
    ids.fill(0, firstToken);
    sources.fill(-1, firstToken);
    for (let index = 0; index < padding; index++) {
      const start = firstToken + Math.floor(index * (tokens - firstToken) / padding);
      const end = firstToken + Math.floor((index + 1) * (tokens - firstToken) / padding);
      queryStarts[firstSequence + index] = start;
      contextStarts[firstSequence + index] = 0;
      tableRows[firstSequence + index] = tables.nullRow;
      for (let token = start; token < end; token++) {
        positions[token] = token - start;
        slotMapping[token] = tables.cacheSlot(tables.nullRow, token - start);
      }
    }
    queryStarts[sequences] = tokens;
  }

  #writeRows(sequences: readonly PlannedSequence[], rows: readonly LogitRow[]): void {
    const { logitIndex, drawnSlots } = this.#options.layout.host;
    for (let row = 0; row < rows.length; row++) {
      const { token, sequence, sampling } = rows[row];
      logitIndex[row] = token;
      drawnSlots[row] = sampling ? sequences[sequence].slot : -1;
    }
    logitIndex.fill(0, rows.length);
    drawnSlots.fill(-1, rows.length);
  }
}
