import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Queue } from "../../../src/engine/queue.ts";

Deno.test("a queue gives what an array gives, whatever comes and goes", () => {
  const commands = fc.array(fc.option(fc.integer()), { maxLength: 100 });
  fc.assert(fc.property(commands, (items) => {
    const queue = new Queue<number>();
    const array: number[] = [];
    for (const item of items) {
      if (item === null) {
        assertEquals(queue.shift(), array.shift());
      } else {
        queue.push(item);
        array.push(item);
      }
      assertEquals(queue.size, array.length);
    }
  }));
});
