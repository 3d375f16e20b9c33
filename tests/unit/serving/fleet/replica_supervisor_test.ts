import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  ReplicaStartError,
  ReplicaSupervisor,
  type ReplicaSupervisorOptions,
} from "../../../../src/serving/fleet/replica_supervisor.ts";

/** A replica that says what it is, serves, and ends with its standard input. */
function script(text: string): { program: string; args: string[] } {
  return { program: "sh", args: ["-c", text] };
}

const SERVES = "echo loaded >&2; echo weft ready: http://127.0.0.1:$((9000 + $$ % 1000))/; cat";

interface Fleet extends AsyncDisposable {
  readonly supervisor: ReplicaSupervisor;
  readonly events: string[];
  /** Resolves when an event has come that matches, after those that were waited for before. */
  event(pattern: RegExp): Promise<string>;
}

function fleet(options: Partial<ReplicaSupervisorOptions>): Fleet {
  const events: string[] = [];
  let seen = 0;
  const supervisor = new ReplicaSupervisor({
    count: 2,
    command: () => script(SERVES),
    weights: { model: "old" },
    apiKey: "key",
    members: {
      rejoin: (url, { id, apiKey }) => {
        events.push(`${id} joins ${new URL(url).hostname} ${apiKey}`);
        return Promise.resolve();
      },
      suspend: (id, reason) => void events.push(`${id} suspended: ${reason}`),
    },
    onLine: (rank, line) => events.push(`${rank} says ${line}`),
    firstMs: 20,
    maxMs: 40,
    ...options,
  });
  return {
    supervisor,
    events,
    async event(pattern) {
      while (true) {
        const index = events.findIndex((event, i) => i >= seen && pattern.test(event));
        if (index >= 0) {
          seen = index + 1;
          return events[index];
        }
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
    [Symbol.asyncDispose]: () => supervisor[Symbol.asyncDispose](),
  };
}

Deno.test("replicas start one after the other, come back when they end, and end when stopped", async () => {
  await using tested = fleet({});
  const { supervisor, events } = tested;
  await supervisor.start();
  assertEquals(events, [
    ...["0 says loaded", "0 joins 127.0.0.1 key", "1 says loaded", "1 joins 127.0.0.1 key"],
  ]);
  const [first, second] = supervisor.pids;
  Deno.kill(first!, "SIGKILL");
  assertEquals(await tested.event(/suspended/), "0 suspended: its process was killed by SIGKILL");
  await tested.event(/0 joins/);
  assert(supervisor.pids[0] !== first && supervisor.pids[1] === second);
  const pids = supervisor.pids;
  await supervisor.stop(1000);
  for (const pid of pids) assertEquals(isThere(pid!), false);
});

Deno.test("the others start together when that is asked for", async () => {
  const open = Promise.withResolvers<void>();
  let joining = 0;
  await using tested = fleet({
    count: 3,
    startTogether: () => true,
    members: {
      rejoin: async (_, { id }) => {
        if (id === "0") return;
        if (++joining === 2) open.resolve();
        await open.promise;
      },
      suspend: () => {},
    },
  });
  await tested.supervisor.start();
  assertEquals(joining, 2);
});

Deno.test("a first start that fails is an error; later ones are tried again and again", async () => {
  await using never = fleet({ command: () => script("echo broken >&2; exit 3") });
  const error = await assertRejects(() => never.supervisor.start(), ReplicaStartError);
  assertEquals(
    error.message,
    "Cannot start replica 0: its process ended with code 3 before it served",
  );
  assertEquals(never.events, ["0 says broken"]);

  let starts = 0;
  await using flapping = fleet({
    count: 1,
    command: () => script(++starts % 4 === 1 ? SERVES : "exit 3"),
  });
  await flapping.supervisor.start();
  Deno.kill(flapping.supervisor.pids[0]!, "SIGKILL");
  await flapping.event(/killed by SIGKILL/);
  for (let i = 0; i < 3; i++) await flapping.event(/suspended: its process ended with code 3/);
  await flapping.event(/0 joins/);
  assertEquals(starts, 5);
});

Deno.test("a replica that ends after the release is not started again; others go on", async () => {
  const downs: (number | null)[] = [];
  await using tested = fleet({ onDown: (_rank, _reason, retryMs) => downs.push(retryMs) });
  await tested.supervisor.start();
  tested.supervisor.release();
  const [first, second] = tested.supervisor.pids;
  Deno.kill(first!, "SIGTERM");
  await tested.event(/0 suspended: its process was killed by SIGTERM/);
  assertEquals([downs, tested.supervisor.pids], [[null], [null, second]]);
});

Deno.test("a replica that says nothing while it starts is given up", async () => {
  await using silent = fleet({ command: () => script("cat"), silenceMs: 50 });
  const error = await assertRejects(() => silent.supervisor.start(), ReplicaStartError);
  const says = /^Cannot start replica 0: its process \d+ has said nothing for 0.05 s$/;
  assertMatch(error.message, says);
});

Deno.test("replicas start with the weights that are committed; what is just starting starts anew", async () => {
  const gate = Promise.withResolvers<void>();
  let joins = 0;
  await using tested = fleet({
    count: 1,
    command: (_, { model }) => script(`echo ${model} >&2; ${SERVES}`),
    members: {
      // The second start is held up between being ready and having joined.
      rejoin: () => ++joins === 2 ? gate.promise : Promise.resolve(),
      suspend: () => {},
    },
  });
  const { supervisor } = tested;
  await supervisor.start();
  supervisor.commit({ model: "middle" });
  const [served] = supervisor.pids;
  Deno.kill(served!, "SIGKILL");
  await tested.event(/says middle/);
  while (joins < 2) await new Promise((resolve) => setTimeout(resolve, 2));
  supervisor.commit({ model: "new" });
  gate.resolve();
  await tested.event(/says new/);
  assertEquals(supervisor.committed, { model: "new" });
});

function isThere(pid: number): boolean {
  try {
    Deno.statSync(`/proc/${pid}`);
    return true;
  } catch {
    return false;
  }
}
