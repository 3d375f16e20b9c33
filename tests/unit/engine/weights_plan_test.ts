/** What is known of weights before they are loaded: their name, and whether there is room for them. */
import { assertEquals, assertMatch, assertNotEquals, assertThrows } from "@std/assert";
import { type EngineConfig, resolveEngineConfig } from "../../../src/engine/engine_config.ts";
import { verifyMemory, verifySharedHost } from "../../../src/engine/engine_memory.ts";
import { verifySameModel } from "../../../src/engine/same_model.ts";
import {
  givenVersion,
  weightFingerprint,
  weightVersion,
} from "../../../src/engine/weight_version.ts";
import { WeightsError } from "../../../src/engine/weights.ts";
import { CapacityError } from "../../../src/tensor/errors.ts";
import { copyWeights, flipByte, otherWeights } from "../../weight_versions.ts";

const model = new URL("../../fixtures/golden/llama", import.meta.url).pathname;

function versionOf(folder: string, loadFormat: "safetensors" | "dummy" = "safetensors"): string {
  return weightVersion(undefined, weightFingerprint({ model: folder, loadFormat }));
}

Deno.test("weights are named by what their files say, wherever they lie", () => {
  using same = copyWeights(model);
  using other = otherWeights(model);
  using third = otherWeights(model, 2);
  const version = versionOf(model);
  assertMatch(version, /^[0-9a-f]{12}$/);
  assertEquals(versionOf(same.folder), version);
  assertEquals(new Set([model, other.folder, third.folder].map((f) => versionOf(f))).size, 3);
  assertNotEquals(versionOf(model, "dummy"), version);
  assertEquals(versionOf(other.folder, "dummy"), versionOf(model, "dummy"));
  flipByte(`${same.folder}/config.json`);
  assertNotEquals(versionOf(same.folder), version);
});

Deno.test("a name that the files give is told from one that was given, until the files change", () => {
  using copy = copyWeights(model);
  const { folder } = copy;
  const version = versionOf(folder);
  assertEquals(givenVersion({ model: folder, version }, "safetensors"), undefined);
  assertEquals(givenVersion({ model: folder, version: "v2" }, "safetensors"), "v2");
  flipByte(`${folder}/config.json`);
  assertEquals(givenVersion({ model: folder, version }, "safetensors"), version);
  Deno.removeSync(`${folder}/config.json`);
  assertEquals(givenVersion({ model: folder, version }, "safetensors"), version);
});

Deno.test("a change to one tensor alone changes the name", () => {
  using copy = copyWeights(model);
  const file = `${copy.folder}/model.safetensors`;
  const bytes = Deno.readFileSync(file);
  bytes[bytes.length - 64 * 320 * 4] ^= 1; // the first element of the last matrix
  Deno.writeFileSync(file, bytes);
  assertNotEquals(versionOf(copy.folder), versionOf(model));
});

Deno.test("weights may be stored otherwise and end otherwise, and nothing else", () => {
  const { modelConfig } = resolveEngineConfig({ model, device: "cpu", numKvBlocks: 4 });
  verifySameModel({ ...modelConfig, dtype: "bf16", eosTokenIds: [7] }, modelConfig);
  for (
    const change of [{ vocabSize: 321 }, { rope: null }, { normEpsilon: 1e-6 }, {
      architecture: "MistralForCausalLM",
      numLayers: 3,
    }]
  ) {
    const [name] = Object.keys(change);
    assertThrows(
      () => verifySameModel({ ...modelConfig, ...change }, modelConfig),
      WeightsError,
      `as ${name} of`,
    );
  }
});

Deno.test("a host that holds one set is refused a second where both do not fit", () => {
  const config = resolveEngineConfig({ model, device: "cpu", numKvBlocks: 32 });
  const gigabyte = 1 << 30;
  const host = (total: number, available: number) => ({
    total: () => total,
    available: () => available,
    holds: () => false,
  });
  verifySharedHost(config, [config], host(gigabyte, gigabyte));
  for (const small of [host(1_500_000, 1_500_000), host(gigabyte, 500_000)]) {
    assertThrows(() => verifySharedHost(config, [config], small), CapacityError, "both need");
  }
});

Deno.test("a GPU counts the weights and caches of both sets", () => {
  const gpu = { name: "small", architecture: 90, totalMemory: 16 << 20 };
  const settle = (numKvBlocks: number): EngineConfig =>
    resolveEngineConfig({ model, device: "cuda", numKvBlocks, maxNumBatchedTokens: 16 }, {
      kind: "cuda",
      wasm: false,
      reason: "test",
      gpus: [gpu],
    });
  verifyMemory(settle(100));
  verifyMemory(settle(100), [settle(100)]);
  verifyMemory(settle(500));
  assertThrows(() => verifyMemory(settle(500), [settle(500)]), CapacityError, "give numKvBlocks");
});
