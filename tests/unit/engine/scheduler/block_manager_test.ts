import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { BlockManager, type BlockTable } from "../../../../src/engine/scheduler/block_manager.ts";

function manager(options: Partial<ConstructorParameters<typeof BlockManager>[0]> = {}) {
  return new BlockManager({ numBlocks: 8, blockSize: 4, numSlots: 3, ...options });
}

function open(blocks: BlockManager): BlockTable {
  const table = blocks.open();
  assert(table !== null);
  return table;
}

Deno.test("BlockManager refuses sizes that are not positive integers", () => {
  for (const name of ["numBlocks", "blockSize", "numSlots"]) {
    for (const value of [0, -1, 1.5, NaN]) {
      assertThrows(() => manager({ [name]: value }), RangeError, name);
    }
  }
});

Deno.test("BlockManager.extend() adds exactly the blocks that are lacking", () => {
  const blocks = manager();
  const table = open(blocks);
  const sizes = [1, 4, 5, 16].map((numTokens) => {
    blocks.extend(table, numTokens);
    return table.blocks.length;
  });
  assertEquals(sizes, [1, 1, 2, 4]);
  assertEquals(blocks.numFree, 4);
  assertEquals(blocks.reachOf(table), 32);
  blocks.checkIntegrity();
});

Deno.test("BlockManager.extend() takes all blocks or none", () => {
  const blocks = manager();
  const first = open(blocks);
  const second = open(blocks);
  blocks.extend(first, 28);
  assertThrows(() => blocks.extend(second, 8), RangeError, "fewer are free: 1");
  assertEquals(second.blocks.length, 0);
  assertEquals(blocks.numFree, 1);
});

Deno.test("BlockManager.open() gives distinct slots, and null when there is none", () => {
  const blocks = manager();
  const slots = [open(blocks), open(blocks), open(blocks)].map((table) => table.slot);
  assertEquals(new Set(slots).size, 3);
  assertEquals(blocks.open(), null);
});

Deno.test("BlockManager.release() keeps blocks and slot until the last plan has retired", () => {
  const blocks = manager({ numSlots: 1 });
  const table = open(blocks);
  blocks.extend(table, 8);
  blocks.release(table, 5);
  blocks.retire(4);
  assertEquals([blocks.numFree, blocks.numDraining], [6, 2]);
  assertEquals(blocks.open(), null);
  blocks.checkIntegrity();
  blocks.retire(5);
  assertEquals([blocks.numFree, blocks.numDraining], [8, 0]);
  assertEquals(open(blocks).slot, table.slot);
});

Deno.test("BlockManager.release() frees at once what no plan in flight uses", () => {
  const blocks = manager();
  const unused = open(blocks);
  blocks.release(unused, -1);
  const table = open(blocks);
  blocks.extend(table, 4);
  blocks.retire(3);
  blocks.release(table, 3);
  assertEquals(blocks.numFree, 8);
  blocks.checkIntegrity();
});

Deno.test("BlockManager refuses a table that was released", () => {
  const blocks = manager();
  const table = open(blocks);
  blocks.release(table, 2);
  assertThrows(() => blocks.extend(table, 1), RangeError, "not open");
  assertThrows(() => blocks.release(table, 2), RangeError, "not open");
});

Deno.test("BlockManager hands out the blocks in the same order for the same calls", () => {
  const run = () => {
    const blocks = manager();
    const first = open(blocks);
    blocks.extend(first, 12);
    const second = open(blocks);
    blocks.extend(second, 8);
    blocks.release(first, -1);
    const third = open(blocks);
    blocks.extend(third, 16);
    return [second.blocks, third.blocks];
  };
  assertEquals(run(), run());
  assertNotEquals(run()[0], run()[1]);
});

Deno.test("BlockManager leaks nothing and shares nothing over random use", () => {
  const action = fc.record({
    kind: fc.constantFrom("open", "extend", "release", "retire"),
    pick: fc.nat(7),
    amount: fc.nat(12),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const blocks = manager();
      const tables: BlockTable[] = [];
      let step = 0;
      for (const { kind, pick, amount } of actions) {
        const index = tables.length === 0 ? -1 : pick % tables.length;
        if (kind === "open") {
          const table = blocks.open();
          if (table !== null) tables.push(table);
        } else if (kind === "retire") {
          blocks.retire(step++);
        } else if (index >= 0 && kind === "extend") {
          const size = Math.min(blocks.reachOf(tables[index]), amount);
          blocks.extend(tables[index], size);
          assert(tables[index].blocks.length * blocks.blockSize >= size);
        } else if (index >= 0 && kind === "release") {
          blocks.release(tables.splice(index, 1)[0], step + amount % 3 - 1);
        }
        blocks.checkIntegrity();
      }
      for (const table of tables) blocks.release(table, step);
      blocks.retire(step + 2);
      blocks.checkIntegrity();
      assertEquals([blocks.numFree, blocks.numDraining], [8, 0]);
    }),
    { numRuns: 1000, seed: 11 },
  );
});
