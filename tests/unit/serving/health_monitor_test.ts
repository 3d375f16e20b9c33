import { assertEquals } from "@std/assert";
import { ReplicaPool } from "../../../src/routing/replica_pool.ts";
import { HealthMonitor } from "../../../src/serving/router/health_monitor.ts";

Deno.test("a monitor that has ended probes nobody, whoever asks it to", async () => {
  const pool = new ReplicaPool<string>();
  pool.add("a", "http://a");
  let probes = 0;
  const monitor = new HealthMonitor(pool, {
    probe: () => Promise.resolve(void probes++),
    intervalMs: 60_000,
  });
  await monitor.watch("a");
  monitor[Symbol.dispose]();
  // A timer that were left would keep the process alive, and fail this test.
  await monitor.watch("a");
  assertEquals(probes, 1);
});
