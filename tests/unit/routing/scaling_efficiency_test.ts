import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import { FleetOccupancy, Occupancy } from "../../../src/routing/occupancy.ts";
import { type ReplicaWork, ScalingEfficiency } from "../../../src/routing/scaling_efficiency.ts";
import { TestClock } from "./_clock.ts";

interface WindowOptions {
  readonly companions?: number;
  readonly concurrency?: number;
  readonly seconds?: number;
}

function work(
  promptTokens: number,
  generationTokens: number,
  { companions = 1, concurrency = 1, seconds = 1 }: WindowOptions = {},
): ReplicaWork {
  return {
    seconds,
    companions,
    companionsVariance: 0,
    concurrency,
    promptTokens,
    generationTokens,
  };
}

function observe(efficiency: ScalingEfficiency, id: string, own: ReplicaWork, windows = 10): void {
  for (let i = 0; i < windows; i++) efficiency.observe(id, own);
}

Deno.test("occupancy adds up how long there were how many requests, beside how many busy replicas", () => {
  const clock = new TestClock();
  const fleet = new FleetOccupancy(clock.now);
  const [a, b] = [new Occupancy(fleet), new Occupancy(fleet)];
  clock.pass(1000);
  a.change(1);
  clock.pass(2000);
  b.change(5);
  clock.pass(1000);
  a.change(3);
  clock.pass(500);
  const whole = { busy: 3.5, requests: 4.5, companions: 5, companionsSquared: 8 };
  assertEquals(a.read(), whole);
  assertEquals(b.read(), { busy: 1.5, requests: 7.5, companions: 3, companionsSquared: 6 });
  a.change(0);
  clock.pass(1000);
  assertEquals(a.read(), whole);
  assertEquals(b.read(), { busy: 2.5, requests: 12.5, companions: 4, companionsSquared: 7 });
});

Deno.test("efficiency is what replicas do together over what each does alone", () => {
  const efficiency = new ScalingEfficiency();
  observe(efficiency, "a", work(20, 100));
  observe(efficiency, "b", work(40, 200));
  assertEquals([...efficiency.known], [], "nothing of both together");
  observe(efficiency, "a", work(18, 90, { companions: 2 }));
  observe(efficiency, "b", work(36, 180, { companions: 2 }));
  assertEquals([...efficiency.known.keys()], [2]);
  assertAlmostEquals(efficiency.known.get(2)!, 0.9, 1e-5);
});

Deno.test("it finds the efficiency of any fleet, whatever its work is", () => {
  // Seconds for a token of a prompt and for a generated one, of three machines.
  const costs = { a: [0.002, 0.01], b: [0.004, 0.02], c: [0.001, 0.01] } as const;
  const id = fc.constantFrom("a" as const, "b" as const, "c" as const);
  const at = (
    id: keyof typeof costs,
    prompt: number,
    { share = 1, ...options }: WindowOptions & { readonly share?: number },
  ): ReplicaWork => {
    const [perPrompt, perGenerated] = costs[id];
    return work(prompt * share, share * (1 - prompt * perPrompt) / perGenerated, options);
  };
  fc.assert(fc.property(
    fc.tuple(...[2, 3].map(() => fc.double({ min: 0.3, max: 1, noNaN: true }))),
    fc.array(
      fc.record({ id, prompt: fc.integer({ min: 1, max: 50 }), companions: fc.constantFrom(2, 3) }),
      { minLength: 60, maxLength: 60 },
    ),
    (truths, windows) => {
      const efficiency = new ScalingEfficiency();
      for (let i = 0; i < 30; i++) {
        const alone = (["a", "b", "c"] as const)[i % 3];
        efficiency.observe(alone, at(alone, 10 + i, {}));
      }
      for (const { id, prompt, companions } of windows) {
        const share = truths[companions - 2];
        efficiency.observe(id, at(id, prompt, { share, companions }));
      }
      for (const [count, value] of efficiency.known) {
        assertAlmostEquals(value, truths[count - 2], 0.01);
      }
    },
  ));
});

Deno.test("what says nothing is left out", () => {
  const isKnownBy = (own: ReplicaWork, id = "a"): boolean => {
    const efficiency = new ScalingEfficiency();
    observe(efficiency, "a", work(20, 100));
    observe(efficiency, id, own, 20);
    return efficiency.known.size > 0;
  };
  const together = work(20, 100, { companions: 2 });
  assert(isKnownBy(together));
  assert(!isKnownBy(work(20, 100)), "nobody beside it");
  assert(!isKnownBy(together, "b"), "b never worked alone");
  assert(!isKnownBy({ ...together, concurrency: 8 }), "never alone with that many at once");
  assert(!isKnownBy(work(100, 100, { companions: 2 })), "never alone with such prompts");
  assert(!isKnownBy(work(0, 0, { companions: 2 })), "nothing was computed");
  assert(!isKnownBy({ ...together, companionsVariance: 0.2 }), "others came and went");
  assert(!isKnownBy(work(2, 10, { companions: 2, seconds: 0.1 })), "too little to measure");

  const forgotten = new ScalingEfficiency();
  observe(forgotten, "a", work(20, 100));
  forgotten.forget("a");
  observe(forgotten, "a", together, 20);
  assertEquals(forgotten.known.size, 0);
  const brief = new ScalingEfficiency();
  observe(brief, "a", work(20, 100), 3);
  observe(brief, "a", together, 20);
  assertEquals(brief.known.size, 0, "too little was seen of it alone");
});

Deno.test("what was long ago fades", () => {
  const efficiency = new ScalingEfficiency();
  observe(efficiency, "a", work(20, 100));
  observe(efficiency, "a", work(10, 50, { companions: 2 }), 100);
  assertAlmostEquals(efficiency.known.get(2)!, 0.5, 1e-5);
  observe(efficiency, "a", work(20, 100, { companions: 2 }), 900);
  assertAlmostEquals(efficiency.known.get(2)!, 1, 1e-3);
});
