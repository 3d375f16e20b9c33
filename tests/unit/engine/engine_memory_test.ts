import { assertThrows } from "@std/assert";
import { resolveEngineConfig } from "../../../src/engine/engine_config.ts";
import {
  engineFootprints,
  rankBytes,
  verifySharedHost,
} from "../../../src/engine/engine_memory.ts";
import { CapacityError } from "../../../src/tensor/errors.ts";

const MODEL = decodeURIComponent(new URL("../../../models/demo", import.meta.url).pathname);

Deno.test("a second set of weights needs no room for what replicas have packed already", () => {
  const config = resolveEngineConfig({ model: MODEL, device: "cpu", numKvBlocks: 32 });
  const [footprint] = engineFootprints(config);
  const bytes = rankBytes(footprint, 32);
  const verify = (available: number, { total = 2 * bytes, holds = false } = {}) =>
    verifySharedHost(config, [config], {
      total: () => total,
      available: () => available,
      holds: () => holds,
    });
  verify(bytes);
  assertThrows(() => verify(bytes - 1), CapacityError, "Cannot hold a second set of weights");
  verify(bytes - footprint.weightBytes, { holds: true });
  assertThrows(() => verify(bytes - footprint.weightBytes - 1, { holds: true }), CapacityError);
  assertThrows(() => verify(bytes, { total: 2 * bytes - 1, holds: true }), CapacityError);
});
