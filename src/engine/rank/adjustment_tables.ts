/**
 * What changes the logits of sequences, kept by slot on the ranks that draw.
 * @module
 */
import { LOGIT_ENTRY_WORDS as ENTRY } from "../../tensor/sampling_kernels.ts";
import type { Mutable } from "../reused.ts";
import type { RowAdjustments } from "../sampler/sample_row.ts";
import type { PlannedAdjustments } from "../step_plan.ts";

/** A table for each slot that has had one; plans change them in the order in which they run. */
export class AdjustmentTables {
  readonly #tables = new Map<number, Mutable<RowAdjustments>>();

  /** The table of a slot after what a plan changes in it, until the next plan. Throws RangeError when that lies outside. */
  change(
    slot: number,
    { count, places, entries, masked, mask }: PlannedAdjustments,
  ): RowAdjustments {
    let table = this.#tables.get(slot);
    if (table === undefined) {
      this.#tables.set(slot, table = { count: 0, entries: new Int32Array(0), mask: null });
    }
    reserve(table, count);
    for (let i = 0; i < places.length; i++) {
      const place = places[i];
      if (!(place >= 0 && place < count)) {
        throw new RangeError(`Cannot adjust logit ${place} of ${count}`);
      }
      for (let j = 0; j < ENTRY; j++) table.entries[ENTRY * place + j] = entries[ENTRY * i + j];
    }
    table.count = count;
    if (!masked) table.mask = null;
    else if (mask !== null) table.mask = mask;
    return table;
  }
}

function reserve(table: Mutable<RowAdjustments>, count: number): void {
  if (ENTRY * count <= table.entries.length) return;
  const grown = new Int32Array(ENTRY * Math.max(count, table.entries.length / 2));
  grown.set(table.entries);
  table.entries = grown;
}
