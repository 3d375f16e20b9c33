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

Deno.test("BlockManager leaks nothing, and finds a block by what it holds, over random use", () => {
  const action = fc.record({
    kind: fc.constantFrom(
      "open",
      "open",
      "extend",
      "extend",
      "share",
      "share",
      "release",
      "retire",
    ),
    pick: fc.nat(7),
    amount: fc.nat(12),
  });
  let found = 0;
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60, size: "max" }), (actions) => {
      const blocks = manager();
      const tables: { readonly table: BlockTable; readonly family: number }[] = [];
      /** By block: what was written there last, which its name must say. */
      const held = new Map<number, string>();
      const nameOf = (family: number, place: number) => `${family}/${place}`;
      let step = 0;
      for (const { kind, pick, amount } of actions) {
        const open = tables.length === 0 ? undefined : tables[pick % tables.length];
        if (kind === "open") {
          const table = blocks.open();
          if (table === null) continue;
          const [family, cached] = [amount % 2, [] as number[]];
          const sequence = { nameOf: (place: number) => nameOf(family, place) };
          blocks.findCached(sequence, { start: 0, end: pick }, cached);
          cached.forEach((block, place) => assertEquals(held.get(block), nameOf(family, place)));
          const free = blocks.numFree;
          const taken = blocks.countFree(cached);
          blocks.join(table, cached);
          assertEquals(blocks.numFree, free - taken);
          found += cached.length;
          tables.push({ table, family });
        } else if (kind === "retire") {
          blocks.retire(step++);
        } else if (open !== undefined && kind === "extend") {
          const before = open.table.blocks.length;
          const size = Math.min(blocks.reachOf(open.table), amount);
          blocks.extend(open.table, size);
          assert(open.table.blocks.length * blocks.blockSize >= size);
          for (let place = before; place < open.table.blocks.length; place++) {
            held.set(open.table.blocks[place], nameOf(open.family, place));
          }
        } else if (open !== undefined && kind === "share") {
          open.table.blocks.forEach((_, place) => {
            if (place < amount) blocks.share(open.table, place, nameOf(open.family, place));
          });
        } else if (open !== undefined && kind === "release") {
          tables.splice(tables.indexOf(open), 1);
          blocks.release(open.table, step + amount % 3 - 1);
        }
        blocks.checkIntegrity();
      }
      for (const { table } of tables) blocks.release(table, step);
      blocks.retire(step + 2);
      blocks.checkIntegrity();
      assertEquals([blocks.numFree, blocks.numDraining], [8, 0]);
    }),
    { numRuns: 1000, seed: 11 },
  );
  assert(found > 1000, `few blocks were found: ${found}`);
});
