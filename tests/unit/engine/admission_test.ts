import { assertEquals } from "@std/assert";
import { Admission } from "../../../src/engine/admission.ts";

Deno.test("requests for one answer are on one set, those that come after the weights have changed too", async () => {
  let current = "old";
  const door = new Admission(() => current);
  const answer = {};
  const first = await door.enter({ answer });
  current = "new";
  const second = await door.enter({ answer });
  const other = await door.enter({ answer: {} });
  assertEquals([first?.set, second?.set, other?.set], ["old", "old", "new"]);
  first!.end();
  assertEquals((await door.enter({ answer }))?.set, "old");
  assertEquals(door.active("old"), 2);
});

Deno.test("a request for an answer under way finds the door open; for one that has ended it is shut", async () => {
  let current = "old";
  const door = new Admission(() => current);
  const answer = {};
  const first = await door.enter({ answer });
  door.shut();
  const second = await door.enter({ answer });
  assertEquals(second?.set, "old");
  first!.end();
  second!.end();
  const third = door.enter({ answer });
  assertEquals(door.waiting, 1);
  current = "new";
  door.open();
  assertEquals((await third)?.set, "new");
});

Deno.test("an answer of which nothing was given out moves as a whole", async () => {
  let current = "old";
  const door = new Admission(() => current);
  const answer = {};
  const leases = [await door.enter({ answer }), await door.enter({ answer })];
  current = "new";
  door.moveFrom("old");
  assertEquals(leases.map((lease) => lease?.moved), [true, true]);
  const again = [await door.enter({ answer }), await door.enter({ answer })];
  assertEquals(again.map((lease) => lease?.set), ["new", "new"]);
  assertEquals(again[0]!.begin(), true);
  door.moveFrom("new");
  assertEquals(again.map((lease) => lease?.moved), [false, false]);
});
