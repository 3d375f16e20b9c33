import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { mapInWindow, type WindowOptions } from "../../../../src/serving/batch/map_in_window.ts";

/** Work that ends when it is told to. */
class Bench {
  readonly #jobs = new Map<number, PromiseWithResolvers<void>>();
  most = 0;
  aborted = 0;

  get running(): readonly number[] {
    return [...this.#jobs.keys()];
  }

  readonly work = async (item: number, { signal }: { signal: AbortSignal }): Promise<number> => {
    const job = Promise.withResolvers<void>();
    this.#jobs.set(item, job);
    this.most = Math.max(this.most, this.#jobs.size);
    signal.addEventListener("abort", () => {
      this.aborted++;
      job.resolve();
    });
    await job.promise;
    this.#jobs.delete(item);
    return 10 * item;
  };

  end(item: number): void {
    this.#jobs.get(item)!.resolve();
  }
}

/** Lets everything happen that does not wait for anything. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

/** Counts from 0, and tells how far it was asked. */
class Counting {
  taken = 0;
  closed = false;
  readonly items = this.#count();

  *#count(): Generator<number> {
    try {
      while (true) yield this.taken++;
    } finally {
      this.closed = true;
    }
  }
}

const OPTIONS: WindowOptions = { concurrency: 2, window: 4, order: "input" };

Deno.test("results come once each, in the order of the input or of their ends", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(3), { maxLength: 20 }),
      fc.record({
        concurrency: fc.integer({ min: 1, max: 5 }),
        spare: fc.nat(5),
        order: fc.constantFrom("input" as const, "completion" as const),
      }),
      async (turns, { concurrency, spare, order }) => {
        const ended: number[] = [];
        let [running, most] = [0, 0];
        const work = async (count: number, { index }: { index: number }): Promise<number> => {
          most = Math.max(most, ++running);
          for (let i = 0; i < count; i++) await settle();
          running--;
          ended.push(index);
          return index;
        };
        const options = { concurrency, window: concurrency + spare, order };
        const results = await Array.fromAsync(mapInWindow(turns, work, options));
        assertEquals(results, order === "input" ? [...turns.keys()] : ended);
        assertEquals(ended.length, turns.length);
        assert(most <= concurrency);
      },
    ),
    { numRuns: 40 },
  );
});

Deno.test("one slow item lets others run ahead as far as the window, and no further", async () => {
  const [bench, input] = [new Bench(), new Counting()];
  const results = mapInWindow(input.items, bench.work, OPTIONS);
  const first = results.next();
  await settle();
  for (const item of [1, 2, 3]) {
    bench.end(item);
    await settle();
  }
  assertEquals([bench.running, input.taken], [[0], 4]);
  bench.end(0);
  assertEquals((await first).value, 0);
  for (const expected of [10, 20, 30]) assertEquals((await results.next()).value, expected);
  assertEquals(bench.most, 2);
  await results.return();
  assert(input.closed);
});

Deno.test("a consumer that does not come back stops the input, in either order", async () => {
  for (const order of ["input", "completion"] as const) {
    const input = new Counting();
    const results = mapInWindow(input.items, (item) => Promise.resolve(item), {
      ...OPTIONS,
      order,
    });
    await results.next();
    await settle();
    assert(input.taken <= 1 + OPTIONS.window, `${input.taken}`);
    await results.return();
    assert(input.closed);
  }
});

Deno.test("a consumer that stops ends what is under way", async () => {
  const [bench, input] = [new Bench(), new Counting()];
  const results = mapInWindow(input.items, bench.work, OPTIONS);
  const first = results.next();
  await settle();
  bench.end(0);
  await first;
  await results.return();
  assertEquals([bench.running, input.closed], [[], true]);
  assert(bench.aborted > 0);
});

Deno.test("work that rejects, an input that throws and a signal end everything", async () => {
  const bench = new Bench();
  const failing = mapInWindow(
    new Counting().items,
    (item, options) => item === 1 ? Promise.reject(new Error("no")) : bench.work(item, options),
    OPTIONS,
  );
  await assertRejects(() => failing.next(), Error, "no");
  assertEquals(bench.running, []);

  const broken = mapInWindow(
    (function* () {
      yield 0;
      throw new Error("the input is torn");
    })(),
    bench.work,
    OPTIONS,
  );
  await assertRejects(() => broken.next(), Error, "the input is torn");
  assertEquals(bench.running, []);

  const cancel = new AbortController();
  const input = new Counting();
  const cancelled = mapInWindow(input.items, bench.work, { ...OPTIONS, signal: cancel.signal });
  const next = cancelled.next();
  await settle();
  cancel.abort(new Error("enough"));
  await assertRejects(() => next, Error, "enough");
  assertEquals([bench.running, input.closed], [[], true]);
  const never = mapInWindow(input.items, bench.work, { ...OPTIONS, signal: cancel.signal });
  await assertRejects(() => never.next(), Error, "enough");
});

Deno.test("results are given while the input waits, and an input that waits forever can be left", async () => {
  async function* waiting(): AsyncGenerator<number> {
    yield 1;
    await new Promise(() => {});
  }
  const cancel = new AbortController();
  const results = mapInWindow(waiting(), (item) => Promise.resolve(item), {
    ...OPTIONS,
    signal: cancel.signal,
  });
  assertEquals((await results.next()).value, 1);
  const next = results.next();
  cancel.abort(new Error("enough"));
  await assertRejects(() => next, Error, "enough");
});
