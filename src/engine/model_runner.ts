/**
 * Turns step plans into model runs on one rank.
 * @module
 */
import type { CausalLm, ForwardBatch } from "../models/causal_lm.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import type { Device } from "../tensor/device.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { SampleRow } from "./sample_row.ts";
import type { Sampler } from "./sampler.ts";
import type { PlannedSequence, RowLogprobs, SequenceResult, StepPlan } from "./step_plan.ts";

/** Tokens that earlier steps have drawn and that a plan refers to by (step, slot). */
export interface TokenBoard {
  /** The token drawn for `slot` in `step`; waits for that step under a deadline. */
  tokenOf(step: number, slot: number): number;
}

/** Options of {@linkcode ModelRunner}. */
export interface ModelRunnerOptions {
  /** Device of the model. */
  readonly device: Device;
  /** This rank's stage of the model. */
  readonly model: CausalLm;
  /** On the last stage. */
  readonly sampler: Sampler | null;
  /** Where input tokens that were not known when planned come from. */
  readonly board: TokenBoard;
  /** Sequences of the largest step. */
  readonly maxNumSeqs: number;
  /** Tokens of the largest step. */
  readonly maxNumBatchedTokens: number;
  /** Positions that a sequence may take. */
  readonly maxModelLen: number;
}

/** A row of logits with where its answer belongs. */
interface LogitRow extends SampleRow {
  /** Token of the batch. */
  readonly token: number;
  /** Index of the planned sequence. */
  readonly sequence: number;
}

/**
 * Executes plans: writes the flattened batch into device buffers that live as long as the runner,
 * runs the stage, and on the last stage draws tokens. It keeps each slot's block table, to which plans
 * only add.
 */
export class ModelRunner implements Disposable {
  readonly #options: ModelRunnerOptions;
  readonly #maxBlocks: number;
  readonly #slotTables: Int32Array[];
  readonly #host: {
    readonly ids: Int32Array;
    readonly positions: Int32Array;
    readonly slotMapping: Int32Array;
    readonly queryStarts: Int32Array;
    readonly contextStarts: Int32Array;
    readonly blockTables: Int32Array;
    readonly logitIndex: Int32Array;
  };
  readonly #ids: Tensor;
  readonly #positions: Tensor;
  readonly #slotMapping: Tensor;
  readonly #queryStarts: Tensor;
  readonly #contextStarts: Tensor;
  readonly #tableRows: Tensor;
  readonly #blockTables: Tensor;
  readonly #logitIndex: Tensor;

  /** Allocates the batch buffers. */
  constructor(options: ModelRunnerOptions) {
    const { device, maxNumSeqs, maxNumBatchedTokens, maxModelLen } = options;
    this.#options = options;
    this.#maxBlocks = Math.ceil(maxModelLen / KV_BLOCK_SIZE);
    this.#slotTables = Array.from(
      { length: maxNumSeqs },
      () => new Int32Array(this.#maxBlocks),
    );
    this.#host = {
      ids: new Int32Array(maxNumBatchedTokens),
      positions: new Int32Array(maxNumBatchedTokens),
      slotMapping: new Int32Array(maxNumBatchedTokens),
      queryStarts: new Int32Array(maxNumSeqs + 1),
      contextStarts: new Int32Array(maxNumSeqs),
      blockTables: new Int32Array(maxNumSeqs * this.#maxBlocks),
      logitIndex: new Int32Array(maxNumBatchedTokens),
    };
    const i32 = (...shape: number[]) => Tensor.allocate(device, { shape, dtype: "i32" });
    this.#ids = i32(maxNumBatchedTokens);
    this.#positions = i32(maxNumBatchedTokens);
    this.#slotMapping = i32(maxNumBatchedTokens);
    this.#queryStarts = i32(maxNumSeqs + 1);
    this.#contextStarts = i32(maxNumSeqs);
    this.#tableRows = i32(maxNumSeqs);
    this.#tableRows.upload(Int32Array.from({ length: maxNumSeqs }, (_, row) => row));
    this.#blockTables = i32(maxNumSeqs, this.#maxBlocks);
    this.#logitIndex = i32(maxNumBatchedTokens);
  }

  /** Runs a plan. On the last stage returns what every sequence got, else null. */
  execute(plan: StepPlan): SequenceResult[] | null {
    const batch = this.#writeBatch(plan.sequences);
    const { model } = this.#options;
    model.receive(batch.tokens);
    model.forward(batch);
    model.send(batch.tokens);
    return this.#options.sampler ? this.#sample(plan.sequences, this.#options.sampler) : null;
  }

  #writeBatch(sequences: readonly PlannedSequence[]): ForwardBatch {
    const { queryStarts, contextStarts } = this.#host;
    let tokens = 0;
    sequences.forEach((sequence, index) => {
      queryStarts[index] = tokens;
      contextStarts[index] = sequence.startPosition;
      this.#writeSequence(sequence, index, tokens);
      tokens += sequence.numTokens;
    });
    queryStarts[sequences.length] = tokens;
    this.#upload(tokens, sequences.length);
    return {
      tokens,
      sequences: sequences.length,
      ids: this.#ids,
      tensors: {
        positions: this.#positions,
        slotMapping: this.#slotMapping,
        queryStarts: this.#queryStarts,
        contextStarts: this.#contextStarts,
        tableRows: this.#tableRows,
        blockTables: this.#blockTables,
      },
    };
  }

  #writeSequence(sequence: PlannedSequence, index: number, firstToken: number): void {
    const { slot, startPosition, numTokens, tokens, newBlocks, firstNewBlock } = sequence;
    const { ids, positions, slotMapping, blockTables } = this.#host;
    const table = this.#slotTables[slot];
    for (let i = 0; i < newBlocks.length; i++) table[firstNewBlock + i] = newBlocks[i];
    if (tokens) ids.set(tokens, firstToken);
    else ids[firstToken] = this.#options.board.tokenOf(sequence.inputStep, slot);
    for (let i = 0; i < numTokens; i++) {
      const position = startPosition + i;
      const block = table[Math.floor(position / KV_BLOCK_SIZE)];
      positions[firstToken + i] = position;
      slotMapping[firstToken + i] = block * KV_BLOCK_SIZE + position % KV_BLOCK_SIZE;
    }
    const used = Math.ceil((startPosition + numTokens) / KV_BLOCK_SIZE);
    blockTables.set(table.subarray(0, used), index * this.#maxBlocks);
  }

  #upload(tokens: number, sequences: number): void {
    const host = this.#host;
    this.#ids.upload(host.ids.subarray(0, tokens));
    this.#positions.upload(host.positions.subarray(0, tokens));
    this.#slotMapping.upload(host.slotMapping.subarray(0, tokens));
    this.#queryStarts.upload(host.queryStarts.subarray(0, sequences + 1));
    this.#contextStarts.upload(host.contextStarts.subarray(0, sequences));
    this.#blockTables.upload(host.blockTables.subarray(0, sequences * this.#maxBlocks));
  }

  #sample(sequences: readonly PlannedSequence[], sampler: Sampler): SequenceResult[] {
    const { model } = this.#options;
    const rows = logitRows(sequences);
    const tokens = sequences.map(() => -1);
    const drawnLogprobs: (RowLogprobs | null)[] = sequences.map(() => null);
    const promptLogprobs: (RowLogprobs[] | null)[] = sequences.map(
      ({ promptTargets }) => promptTargets ? [] : null,
    );
    const atOnce = model.logits?.shape[0] ?? 0;
    for (let start = 0; start < rows.length; start += atOnce) {
      const chunk = rows.slice(start, start + atOnce);
      chunk.forEach((row, i) => this.#host.logitIndex[i] = row.token);
      this.#logitIndex.upload(this.#host.logitIndex.subarray(0, chunk.length));
      model.computeLogits(this.#logitIndex, chunk.length);
      const work = sampler.prepare(chunk);
      sampler.run(work);
      const drawn = sampler.readBack(work).read();
      chunk.forEach((row, i) => {
        if (row.sampling) {
          tokens[row.sequence] = drawn.tokens[i];
          drawnLogprobs[row.sequence] = drawn.logprobs[i];
        } else {
          const entry = drawn.logprobs[i];
          if (entry) promptLogprobs[row.sequence]?.push(entry);
        }
      });
    }
    return sequences.map(({ slot }, index) => ({
      slot,
      token: tokens[index],
      logprobs: drawnLogprobs[index],
      promptLogprobs: promptLogprobs[index],
    }));
  }

  /** Frees the batch buffers. */
  [Symbol.dispose](): void {
    const tensors = [
      this.#ids,
      this.#positions,
      this.#slotMapping,
      this.#queryStarts,
      this.#contextStarts,
      this.#tableRows,
      this.#blockTables,
      this.#logitIndex,
    ];
    for (const tensor of tensors) tensor[Symbol.dispose]();
  }
}

/** Rows of logits that a step needs: prompt tokens with targets, and each sequence's next token. */
function logitRows(sequences: readonly PlannedSequence[]): LogitRow[] {
  const rows: LogitRow[] = [];
  let firstToken = 0;
  sequences.forEach((planned, sequence) => {
    const { promptTargets, promptLogprobs, sampling, startPosition, numTokens } = planned;
    for (let i = 0; promptTargets && i < promptTargets.length; i++) {
      rows.push({
        token: firstToken + i,
        sequence,
        sampling: null,
        position: startPosition + i + 1,
        target: promptTargets[i],
        logprobs: promptLogprobs,
      });
    }
    if (sampling) {
      rows.push({
        token: firstToken + numTokens - 1,
        sequence,
        sampling,
        position: startPosition + numTokens,
        target: -1,
        logprobs: sampling.logprobs,
      });
    }
    firstToken += numTokens;
  });
  return rows;
}
