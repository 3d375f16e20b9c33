import { assert, assertEquals } from "@std/assert";
import { SERVE_FLAGS } from "../../../src/cli/flags.ts";
import { parseFlags } from "../../../src/cli/parse_flags.ts";
import { replicaCommand } from "../../../src/cli/replica_command.ts";

Deno.test("a replica gets the flags of the router, read as the router read them; keys stay off its command line", () => {
  const given = [
    ...["--model=given", "--data-parallel-size=3", "--pipeline-parallel-size=2"],
    ...[
      "--pipeline-layers=1,3",
      "--kv-cache-memory=1.5GiB",
      "--dtype=half",
      "--seed=18446744073709551615",
    ],
    ...["--api-key=outer-secret", "--admin-api-key=admin-secret", "--host=0.0.0.0", "--port=80"],
    ...["--api-key=second-secret", "--api-key-file=keys", "--key-concurrency=3"],
    ...["--log-format=json", "--enable-log-requests"],
    ...["--balancing-policy=round-robin", "--gpu-memory-utilization=0.5"],
  ];
  const environment: Record<string, string> = { WEFT_ENFORCE_EAGER: "1", WEFT_THREADS: "2" };
  const { values } = parseFlags(given, { table: SERVE_FLAGS, env: (name) => environment[name] });
  const command = replicaCommand(values, {
    rank: 2,
    weights: { model: "committed", version: "v2" },
    model: "name with spaces",
    hostname: "127.0.0.1",
    apiKey: "inner-secret",
  });
  assertEquals(command.env, {
    WEFT_API_KEY: "inner-secret",
    WEFT_API_KEY_FILE: "",
    WEFT_ADMIN_API_KEY: "",
    WEFT_KEY_CONCURRENCY: "",
    WEFT_KEY_REQUESTS_PER_MINUTE: "",
    WEFT_ENABLE_LOG_REQUESTS: "",
    WEFT_WEIGHT_VERSION: "",
  });
  assert(!command.args.some((arg) => arg.includes("secret")));
  const flags = command.args.slice(command.args.indexOf("serve") + 1);
  const replica = parseFlags(flags, {
    table: SERVE_FLAGS,
    env: (name) => command.env?.[name] ?? environment[name],
  }).values;
  assertEquals(replica, {
    ...values,
    "model": "committed",
    "weight-version": "v2",
    "served-model-name": "name with spaces",
    "host": "127.0.0.1",
    "port": 0,
    "api-key": ["inner-secret"],
    "api-key-file": undefined,
    "admin-api-key": undefined,
    "key-concurrency": undefined,
    "enable-log-requests": false,
    "data-parallel-rank": 2,
    "exit-with-stdin": true,
    // The router's alone.
    "balancing-policy": "least-loaded",
  });
});
