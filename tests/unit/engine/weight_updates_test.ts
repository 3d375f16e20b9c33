/** Weights that change while an engine serves: every answer comes from one version, and bad folders change nothing. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertNotEquals,
  assertRejects,
} from "@std/assert";
import { folderDigest } from "../../../src/engine/folder_digest.ts";
import { LlmEngine } from "../../../src/engine/llm_engine.ts";
import { EngineDeadError, type EngineOptions } from "../../../src/engine/types.ts";
import { WeightsError } from "../../../src/engine/weights.ts";
import {
  copyWeights,
  damagedWeights,
  DAMAGES,
  flipByte,
  greedyAnswer,
  otherWeights,
  type VersionedAnswer,
} from "../../weight_versions.ts";

const model = new URL("../../fixtures/golden/llama", import.meta.url).pathname;
const PROMPTS = [[5, 6, 7], [140, 155, 85, 298, 30], [9], [33, 140, 207, 105, 286, 209, 153]];
const LONGEST = 24;

async function load(options: Partial<EngineOptions> = {}): Promise<LlmEngine> {
  return await LlmEngine.load({
    model,
    device: "cpu",
    dtype: "f32",
    threads: 1,
    numKvBlocks: 64,
    maxModelLen: 128,
    maxNumSeqs: 8,
    text: null,
    weightVersion: "first",
    ...options,
  });
}

function ask(engine: LlmEngine, prompt = 0, maxTokens = LONGEST, signal?: AbortSignal) {
  return greedyAnswer(engine, { promptTokenIds: PROMPTS[prompt], maxTokens, signal });
}

/** What each version answers to each prompt. */
type Golden = Readonly<Record<string, readonly (readonly number[])[]>>;

async function goldenOf(engine: LlmEngine): Promise<readonly (readonly number[])[]> {
  const answers = await Promise.all(PROMPTS.map((_, prompt) => ask(engine, prompt)));
  return answers.map(({ tokenIds }) => tokenIds);
}

/** The answer comes from one version, as it is; returns which. */
function assertOfOneVersion(answer: VersionedAnswer, golden: Golden, prompt: number): string {
  assertEquals(answer.versions.length, 1);
  const [version] = answer.versions;
  assertEquals(answer.finishReason, "length");
  assertEquals(answer.tokenIds, golden[version][prompt].slice(0, answer.tokenIds.length));
  return version;
}

async function assertReason(
  reason: WeightsError["reason"],
  run: () => Promise<unknown>,
  message?: RegExp,
): Promise<void> {
  const error = await assertRejects(run, WeightsError);
  assertEquals([error.reason, error.message], [reason, error.message]);
  if (message) assertMatch(error.message, message);
}

/** Resolves once `engine` gives out the first token of a long answer; that one goes on. */
async function begunAnswer(engine: LlmEngine, maxTokens = 100) {
  const begun = Promise.withResolvers<void>();
  const watched = {
    async *generate(request: Parameters<LlmEngine["generate"]>[0]) {
      for await (const chunk of engine.generate(request)) {
        begun.resolve();
        yield chunk;
      }
    },
  };
  const answer = greedyAnswer(watched, { promptTokenIds: PROMPTS[0], maxTokens });
  await begun.promise;
  return { answer };
}

Deno.test("200 requests through prepare, activate, revert, release and update: none lost, none mixed", async () => {
  using other = otherWeights(model);
  await using engine = await load();
  const first = await goldenOf(engine);
  await engine.prepareWeights({ model: other.folder, version: "second" });
  engine.activateWeights();
  const golden: Golden = { first, second: await goldenOf(engine) };
  assertNotEquals(golden.second, golden.first);
  engine.revertWeights();
  await engine.releaseWeights();

  const served: Record<string, number> = { first: 0, second: 0 };
  let started = 0;
  let done = false;
  const client = async () => {
    while (!done || started < 200) {
      const [prompt, maxTokens] = [started % PROMPTS.length, 1 + started++ * 7 % LONGEST];
      const answer = await ask(engine, prompt, maxTokens);
      assertEquals(answer.tokenIds.length, maxTokens);
      served[assertOfOneVersion(answer, golden, prompt)]++;
    }
  };
  const clients = Array.from({ length: 12 }, client);
  const servedMore = async (by: number) => {
    const enough = started + by;
    while (started < enough) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  await engine.prepareWeights({ model: other.folder, version: "second" });
  for (let i = 0; i < 2; i++) {
    await servedMore(15);
    engine.activateWeights();
    await servedMore(15);
    engine.revertWeights();
  }
  await servedMore(5);
  await engine.releaseWeights();
  await engine.updateWeights({ model: other.folder, version: "second" });
  await servedMore(15);
  await engine.pause("hold");
  await engine.updateWeights({ model, version: "first" });
  engine.resume();
  await servedMore(15);
  done = true;
  await Promise.all(clients);
  assert(served.first > 20 && served.second > 20, JSON.stringify(served));
  assertEquals(engine.weights, {
    paused: null,
    current: { version: "first", model },
    prepared: null,
    previous: null,
  });
  assertEquals([engine.stats.running, engine.stats.waiting], [0, 0]);
});

Deno.test("pausing: running requests end, are aborted or stand still, and new ones wait", async (test) => {
  await using engine = await load();
  const golden: Golden = { first: await goldenOf(engine) };

  await test.step("finish", async () => {
    const { answer } = await begunAnswer(engine);
    await engine.pause("finish");
    assertEquals([engine.stats.running, engine.weights.paused], [0, "finish"]);
    const waiting = ask(engine);
    const left = new AbortController();
    const leaving = ask(engine, 0, 4, left.signal);
    assertEquals((await answer).finishReason, "length");
    assertEquals((await answer).tokenIds.length, 100);
    left.abort();
    assertEquals((await leaving).finishReason, "abort");
    assertEquals(engine.stats.waiting, 1);
    engine.resume();
    assertOfOneVersion(await waiting, golden, 0);
  });

  await test.step("abort", async () => {
    const { answer } = await begunAnswer(engine);
    await engine.pause("abort");
    const { finishReason, tokenIds } = await answer;
    assertEquals(finishReason, "abort");
    assert(tokenIds.length < 100);
    const waiting = ask(engine);
    engine.resume();
    assertOfOneVersion(await waiting, golden, 0);
  });

  await test.step("hold", async () => {
    const { answer } = await begunAnswer(engine);
    await engine.pause("hold");
    const { steps } = engine.stats;
    const waiting = ask(engine);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assertEquals(engine.stats.steps, steps);
    assertEquals([engine.stats.running, engine.stats.waiting], [1, 1]);
    await assertReason("conflict", () => engine.checkWeights("current", [[1]], 1), /held/);
    engine.resume();
    assertEquals((await answer).tokenIds.slice(0, LONGEST), golden.first[0]);
    assertOfOneVersion(await waiting, golden, 0);
  });

  await test.step("a second pause changes the mode, and ends the first", async () => {
    const { answer } = await begunAnswer(engine);
    const finishing = assertReason("conflict", () => engine.pause("finish"), /pauses with hold/);
    await engine.pause("hold");
    await finishing;
    await engine.pause("abort");
    assertEquals((await answer).finishReason, "abort");
    engine.resume();
  });

  await test.step("requests that are malformed are refused at once", async () => {
    await engine.pause("finish");
    await assertRejects(() => ask(engine, 0, 1000), Error, "context of 128");
    engine.resume();
  });
});

Deno.test("weights that are prepared: when they may be, and who gets them", async (test) => {
  using other = otherWeights(model);
  await using engine = await load({ maxNumSeqs: 1 });
  const source = { model: other.folder, version: "second" };

  await test.step("what asks too much, or comes at the wrong time, is refused by its reason", async () => {
    await assertReason("conflict", () => Promise.try(() => engine.activateWeights()));
    await assertReason("conflict", () => Promise.try(() => engine.revertWeights()));
    await assertReason("conflict", () => engine.checkWeights("prepared", PROMPTS, 1));
    await assertReason("invalid", () => engine.checkWeights("current", [[9999]], 1), /vocabulary/);
    const preparing = engine.prepareWeights(source);
    await assertReason("conflict", () => engine.updateWeights(source), /prepare weights now/);
    await preparing;
    await assertReason(
      "conflict",
      () => engine.prepareWeights(source),
      /release one first: second/,
    );
    await assertReason("conflict", () => engine.updateWeights(source), /release one first: second/);
  });

  await test.step("requests that are held: begun ones keep the old, the others get the new", async () => {
    const first = await goldenOf(engine);
    const [begun, queued] = [await begunAnswer(engine), ask(engine, 1)];
    while (engine.stats.waiting < 1) await new Promise((resolve) => setTimeout(resolve, 1));
    await engine.pause("hold");
    engine.activateWeights();
    const checked = await engine.checkWeights("current", [PROMPTS[1]], LONGEST);
    engine.resume();
    assertEquals((await begun.answer).versions, ["first"]);
    assertEquals((await begun.answer).tokenIds.slice(0, LONGEST), first[0]);
    const answer = await queued;
    assertEquals(answer.versions, ["second"]);
    assertEquals(answer.tokenIds.slice(0, checked[0].length), checked[0]);
  });

  await test.step("releasing twice does no harm", async () => {
    await engine.releaseWeights();
    await engine.releaseWeights();
    assertEquals([engine.weights.prepared, engine.weights.previous], [null, null]);
  });
});

Deno.test("folders that must not be served leave the old weights serving, whatever the verb", async (test) => {
  await using engine = await load();
  const golden: Golden = { first: await goldenOf(engine) };
  const status = engine.weights;
  const refused = async (folder: { model: string; sha256?: string }, message?: RegExp) => {
    const busy = ask(engine, 1);
    await assertReason("invalid", () => engine.prepareWeights(folder), message);
    await assertReason("invalid", () => engine.updateWeights(folder), message);
    assertEquals(engine.weights, status);
    assertOfOneVersion(await busy, golden, 1);
    assertOfOneVersion(await ask(engine), golden, 0);
  };
  for (const damage of DAMAGES) {
    await test.step(damage, async () => {
      using bad = damagedWeights(model, damage);
      await refused({ model: bad.folder });
    });
  }
  await test.step("hash", async () => {
    using copy = copyWeights(model);
    const sha256 = await folderDigest(copy.folder);
    flipByte(`${copy.folder}/model.safetensors`);
    await refused({ model: copy.folder, sha256 }, /SHA-256/);
    Deno.removeSync(`${copy.folder}/config.json`); // the hash is compared before anything is read
    await refused({ model: copy.folder, sha256 }, /SHA-256/);
  });
  await test.step("no folder", () => refused({ model: `${model}/nothing` }));
  await test.step("weights that give no number", async () => {
    using bad = otherWeights(model);
    const file = `${bad.folder}/model.safetensors`;
    const bytes = Deno.readFileSync(file);
    bytes.fill(0xff, bytes.length >> 1); // float NaNs
    Deno.writeFileSync(file, bytes);
    await engine.prepareWeights({ model: bad.folder });
    await assertReason("invalid", () => engine.checkWeights("prepared", PROMPTS, 2), /not finite/);
    await engine.releaseWeights();
    assertOfOneVersion(await ask(engine), golden, 0);
  });
});

Deno.test("weights are replaced in place only where the old ones could be loaded again", async () => {
  using present = copyWeights(model);
  using other = otherWeights(model);
  await using engine = await load({ model: present.folder });
  const golden: Golden = { first: await goldenOf(engine) };
  // Renamed over it, as the file is mapped: its old content must stay.
  Deno.copyFileSync(`${other.folder}/model.safetensors`, `${present.folder}/new`);
  Deno.renameSync(`${present.folder}/new`, `${present.folder}/model.safetensors`);
  await assertReason("invalid", () => engine.updateWeights({ model: other.folder }), /go back to/);
  assertOfOneVersion(await ask(engine), golden, 0);
  const prepared = await engine.prepareWeights({ model: present.folder, version: "second" });
  assertEquals(engine.activateWeights(), prepared);
  assertEquals((await ask(engine)).versions, ["second"]);
});

Deno.test("a link is followed once: weights can be replaced though it leads elsewhere by then", async () => {
  using others = copyWeights(model);
  using link = copyWeights(model);
  const path = `${link.folder}/current`;
  Deno.symlinkSync(others.folder, path);
  await using engine = await load();
  await engine.updateWeights({ model: path, version: "second" });
  assertEquals(engine.weights.current.model, others.folder);
  Deno.removeSync(path);
  Deno.symlinkSync(model, path);
  await engine.updateWeights({ model: path, version: "third" });
  assertEquals(engine.weights.current, { model, version: "third" });
});

Deno.test("an engine that is disposed in the middle of a change ends the change and what waits", async () => {
  using other = otherWeights(model);
  for (const [change, delayMs] of [["prepareWeights", 0], ["updateWeights", 60]] as const) {
    const engine = await load();
    const { answer } = await begunAnswer(engine);
    const ended = answer.catch((error) => assertInstanceOf(error, EngineDeadError));
    const pausing = engine.pause("hold");
    const waiting = assertRejects(() => ask(engine), EngineDeadError);
    const changing = engine[change]({ model: other.folder });
    // Whether 60 ms are enough to load, nobody knows; at once they are not.
    const changed = delayMs === 0
      ? assertReason("failed", () => changing)
      : changing.catch((error) => assertEquals(error.reason, "failed"));
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    await engine[Symbol.asyncDispose]();
    await Promise.all([ended, pausing, waiting, changed]);
    assertEquals(engine.healthy, false);
    await assertReason("failed", () => engine[change]({ model: other.folder }), /start another/);
  }
});
