/** What the iterator that `generate` returns does when it is not merely read to its end. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { LlmEngine } from "../../../src/engine/llm_engine.ts";
import {
  EngineDeadError,
  type GenerateRequest,
  type GenerationChunk,
  UnsupportedRequestError,
} from "../../../src/engine/types.ts";

const END = { done: true, value: undefined } as const;

Deno.test("a generation can be left, overtaken and cancelled at any moment", async (test) => {
  const engine = await LlmEngine.load({
    model: new URL("../../fixtures/golden/llama", import.meta.url).pathname,
    device: "cpu",
    threads: 1,
    numKvBlocks: 64,
    maxModelLen: 128,
    text: null,
  });
  const long = (more: Partial<GenerateRequest> = {}) => {
    const sampling = { temperature: 0, ignoreEos: true, maxTokens: 100 };
    return engine.generate({ promptTokenIds: [5, 6, 7], sampling, ...more });
  };
  const tokens = async (chunks: AsyncIterable<GenerationChunk>) =>
    (await Array.fromAsync(chunks)).flatMap(({ tokenIds }) => tokenIds);
  /** Nothing runs or waits: pausing would wait for it. */
  const assertIdle = async () => {
    await engine.pause("finish");
    engine.resume();
    assertEquals(engine.stats.waiting, 0);
  };
  const whole = await tokens(long());

  await test.step("calls of next that overlap are answered in order", async () => {
    const stream = long();
    const steps = await Promise.all(Array.from({ length: 102 }, () => stream.next()));
    assertEquals(steps.slice(100), [END, END]);
    assertEquals(steps.slice(0, 100).flatMap(({ value }) => value!.tokenIds), whole);
    assertEquals(await stream.next(), END);
  });

  await test.step("leaving a loop early cancels", async () => {
    for await (const { tokenIds } of long()) {
      assertEquals(tokenIds, whole.slice(0, 1));
      break;
    }
    await assertIdle();
  });

  await test.step("return before the first call asks for nothing", async () => {
    const stream = long();
    assertEquals(await stream.return!(), END);
    assertEquals(await stream.next(), END);
  });

  await test.step("return at the gate of a paused engine forgets the request at once", async () => {
    await engine.pause("finish");
    const stream = long();
    const held = stream.next();
    while (engine.stats.waiting === 0) await Promise.resolve();
    const returned = stream.return!();
    assertEquals(engine.stats.waiting, 0);
    assertEquals(await Promise.all([held, returned]), [END, END]);
    engine.resume();
  });

  await test.step("a call that stands still does not hold up return", async () => {
    const stream = long();
    await stream.next();
    await engine.pause("hold");
    const held = Array.from({ length: 100 }, () => stream.next());
    assertEquals(await stream.return!(), END);
    assertEquals((await Promise.all(held)).at(-1), END);
    engine.resume();
    await assertIdle();
  });

  await test.step("return while a request enters leaves no trace", async () => {
    for (let turns = 0; turns < 6; turns++) {
      const stream = long();
      const first = stream.next();
      for (let i = 0; i < turns; i++) await Promise.resolve();
      assertEquals(await Promise.all([stream.return!(), first]), [END, END]);
    }
    await assertIdle();
  });

  await test.step("a signal that fires while a request enters aborts it", async () => {
    for (let turns = 0; turns < 6; turns++) {
      const cancel = new AbortController();
      const chunks = Array.fromAsync(long({ signal: cancel.signal }));
      for (let i = 0; i < turns; i++) await Promise.resolve();
      cancel.abort();
      assertEquals((await chunks).at(-1)!.finishReason, "abort");
    }
    await assertIdle();
  });

  await test.step("an error is thrown once, and then it is over", async () => {
    const stream = long({ promptTokenIds: [-1] });
    const [first, second] = [stream.next(), stream.next()];
    await assertRejects(() => first, UnsupportedRequestError);
    assertEquals(await second, END);
  });

  await test.step("the engine's end: what has come is read, then it is thrown", async () => {
    const [read, unread] = [long(), long()];
    await Promise.all([read.next(), unread.next()]);
    await engine.pause("hold");
    const held = Promise.allSettled(Array.from({ length: 100 }, () => read.next()));
    await engine[Symbol.asyncDispose]();
    const results = await held;
    const failed = results.findIndex(({ status }) => status === "rejected");
    assert((results[failed] as PromiseRejectedResult).reason instanceof EngineDeadError);
    for (const rest of results.slice(failed + 1)) {
      assertEquals(rest, { status: "fulfilled", value: END });
    }
    await assertRejects(() => tokens(unread), EngineDeadError);
    await assertRejects(() => long().next(), EngineDeadError);
  });
});
