import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Occupancy } from "../../../src/routing/occupancy.ts";
import { type ReplicaWork, ScalingEfficiency } from "../../../src/routing/scaling_efficiency.ts";
import { TestClock } from "./_clock.ts";

const IDLE: ReplicaWork = { busy: 0, concurrency: 0, promptTokens: 0, generationTokens: 0 };

function busy(promptTokens: number, generationTokens: number, concurrency = 1): ReplicaWork {
  return { busy: 1, concurrency, promptTokens, generationTokens };
}

/** Windows of one second in which `ids[i]` does `work[i]`, the others nothing. */
function observe(
  efficiency: ScalingEfficiency,
  work: Readonly<Record<string, ReplicaWork>>,
  windows = 10,
): void {
  for (let i = 0; i < windows; i++) efficiency.observe(new Map(Object.entries(work)), 1);
}

Deno.test("occupancy adds up how long there were how many requests", () => {
  const clock = new TestClock();
  const occupancy = new Occupancy(clock.now);
  clock.pass(1000);
  occupancy.change(1);
  clock.pass(2000);
  occupancy.change(3);
  clock.pass(500);
  assertEquals(occupancy.read(), { at: 3.5, busy: 2.5, requests: 3.5 });
  occupancy.change(0);
  clock.pass(1000);
  assertEquals(occupancy.read(), { at: 4.5, busy: 2.5, requests: 3.5 });
});

Deno.test("efficiency is what replicas do together over what each does alone", () => {
  const efficiency = new ScalingEfficiency();
  observe(efficiency, { a: busy(20, 100), b: IDLE });
  observe(efficiency, { a: IDLE, b: busy(40, 200) });
  assertEquals([...efficiency.known], [], "nothing of both together");
  observe(efficiency, { a: busy(18, 90), b: busy(36, 180) });
  assertEquals([...efficiency.known.keys()], [2]);
  assertAlmostEquals(efficiency.known.get(2)!, 0.9, 1e-5);
});

Deno.test("it finds the efficiency of any fleet, whatever its work is", () => {
  const work = fc.record({ prompt: fc.integer({ min: 1, max: 50 }), busy: fc.boolean() });
  fc.assert(fc.property(
    fc.double({ min: 0.3, max: 1, noNaN: true }),
    fc.array(fc.array(work, { minLength: 3, maxLength: 3 }), { minLength: 60, maxLength: 60 }),
    (truth, windows) => {
      const efficiency = new ScalingEfficiency();
      // Seconds for a token of a prompt and for a generated one, of three machines.
      const costs = [[0.002, 0.01], [0.004, 0.02], [0.001, 0.01]];
      const at = (replica: number, prompt: number, share: number): ReplicaWork => {
        const [perPrompt, perGenerated] = costs[replica];
        return busy(prompt * share, share * (1 - prompt * perPrompt) / perGenerated);
      };
      for (let i = 0; i < 30; i++) {
        const alone = ["a", "b", "c"].map((id, replica) =>
          [id, replica === i % 3 ? at(replica, 10 + i, 1) : IDLE] as const
        );
        efficiency.observe(new Map(alone), 1);
      }
      for (const window of windows) {
        const count = window.filter(({ busy }) => busy).length;
        if (count < 2) continue;
        const together = window.map(({ prompt, busy }, replica) =>
          ["abc"[replica], busy ? at(replica, prompt, truth) : IDLE] as const
        );
        efficiency.observe(new Map(together), 1);
      }
      for (const [count, value] of efficiency.known) {
        assert(count === 2 || count === 3);
        assertAlmostEquals(value, truth, 0.01);
      }
    },
  ));
});

Deno.test("what says nothing is left out", () => {
  const known = (change: (efficiency: ScalingEfficiency) => void): boolean => {
    const efficiency = new ScalingEfficiency();
    observe(efficiency, { a: busy(20, 100), b: IDLE });
    observe(efficiency, { a: IDLE, b: busy(20, 100) });
    change(efficiency);
    return efficiency.known.size > 0;
  };
  const both = (work: ReplicaWork) => (efficiency: ScalingEfficiency) =>
    observe(efficiency, { a: work, b: work });
  assert(known(both(busy(20, 100))));
  assert(!known(both(busy(20, 100, 8))), "never alone with that many requests at once");
  assert(!known(both(busy(100, 100))), "never alone with such prompts");
  assert(!known(both({ ...busy(20, 100), busy: 0.5 })), "busy for a part of the time");
  assert(!known(both(IDLE)), "nothing was done");
  assert(!known((efficiency) => observe(efficiency, { a: busy(20, 100), c: busy(20, 100) })));
  assert(
    !known((efficiency) => {
      both(busy(20, 100))(efficiency);
      efficiency.forget("a");
    }),
  );
  const brief = new ScalingEfficiency();
  observe(brief, { a: busy(20, 100), b: IDLE }, 3);
  observe(brief, { a: IDLE, b: busy(20, 100) }, 3);
  observe(brief, { a: busy(20, 100), b: busy(20, 100) });
  assertEquals(brief.known.size, 0, "too little was seen of each alone");
});

Deno.test("what was long ago fades", () => {
  const efficiency = new ScalingEfficiency();
  observe(efficiency, { a: busy(20, 100), b: IDLE });
  observe(efficiency, { a: IDLE, b: busy(20, 100) });
  observe(efficiency, { a: busy(10, 50), b: busy(10, 50) }, 100);
  assertAlmostEquals(efficiency.known.get(2)!, 0.5, 1e-5);
  observe(efficiency, { a: busy(20, 100), b: busy(20, 100) }, 600);
  assertAlmostEquals(efficiency.known.get(2)!, 1, 1e-3);
});
