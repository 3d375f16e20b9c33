import { assertEquals } from "@std/assert";
import { FleetLog } from "../../../src/cli/fleet_log.ts";
import { createLogger } from "../../../src/cli/log.ts";
import { ReplicaStartError } from "../../../src/serving/fleet/replica_supervisor.ts";

/** A log of two replicas, and what it has written, without the times. */
function fleetLog(): { log: FleetLog; written: () => string[] } {
  let text = "";
  const log = new FleetLog(2, {
    print: () => {},
    writeError: (raw) => text += raw,
    terminal: false,
    log: createLogger((line) => text += `${line}\n`),
    env: () => undefined,
  });
  return {
    log,
    written: () => text.trimEnd().split("\n").map((line) => line.replace(/^\d\d:\d\d:\d\d +/, "")),
  };
}

Deno.test("replicas that load are one progress, and say once what each would", () => {
  const { log, written } = fleetLog();
  for (const rank of [0, 1]) {
    log.line(rank, "Loading weights: 50%");
    log.line(rank, "10:00:00 INFO  device: cpu");
    log.line(rank, "10:00:00 WARN  not followed: top_k=5");
    log.serves(rank);
  }
  log.line(1, "10:00:09 INFO  SIGTERM: draining");
  log.changed(1, "not answering");
  log.changed(1, null);
  log.down(1, { reason: "its process was killed by SIGKILL", retryMs: 1234 });
  assertEquals(written(), [
    "Loading weights: 25%",
    "Loading weights: 50%",
    "Loading weights: 75%",
    "Loading weights: 100%",
    "INFO  replica 0: device: cpu",
    "WARN  replica 0: not followed: top_k=5",
    "INFO  replica 1: SIGTERM: draining",
    "WARN  replica 1: down: not answering",
    "INFO  replica 1: serves",
    "ERROR replica 1: its process was killed by SIGKILL: starting it again in 1.2 s",
  ]);
});

Deno.test("a replica that does not start is heard: its error, or else whatever it said", () => {
  const { log, written } = fleetLog();
  const error = new ReplicaStartError(1, new Error("its process ended with code 1"));
  log.line(1, "10:00:00 ERROR Cannot find the model folder: x");
  assertEquals(
    log.startError(error).message,
    "Cannot start replica 1: Cannot find the model folder: x",
  );
  const crash = new ReplicaStartError(0, new Error("its process was killed by SIGSEGV"));
  log.line(0, "# Fatal error in unreachable code");
  assertEquals(
    log.startError(crash).message,
    "Cannot start replica 0: its process was killed by SIGSEGV",
  );
  assertEquals(written(), ["WARN  replica 0: # Fatal error in unreachable code"]);
});

Deno.test("replicas that write objects are told as objects, with their fields", () => {
  const lines: string[] = [];
  const log = new FleetLog(1, {
    print: () => {},
    writeError: () => {},
    terminal: false,
    log: createLogger((line) => lines.push(line), "json"),
    env: () => undefined,
  });
  const replica = createLogger((line) => log.line(0, line), "json");
  replica.info("Loading weights: 50%");
  log.serves(0);
  replica.error("it failed", { request_id: "r-1" });
  assertEquals(lines.map((line) => JSON.parse(line)).map(({ time: _, ...event }) => event), [
    { level: "error", message: "replica 0: it failed", request_id: "r-1" },
  ]);
});
