/**
 * `weft update`: new weights for servers that run.
 * @module
 */
import { isAbsolute, resolve } from "node:path";
import type { CliHost, Command, Invocation } from "./command.ts";
import { STRATEGY_PARAMETERS, UPDATE_FLAGS } from "./flags.ts";
import { readGoldenFile } from "./golden_file.ts";
import { type FlagValues, UsageError } from "./parse_flags.ts";
import { UpdatedServer } from "./updated_server.ts";

type Flags = typeof UPDATE_FLAGS;

/** What the server says of an update. */
interface Update {
  readonly id: string;
  readonly state: string;
  readonly version: string | null;
  readonly revertible: boolean;
  readonly error: { readonly message: string; readonly replica: string | null } | null;
}

/** The command `update`. */
export const updateCommand: Command<Flags> = {
  name: "update",
  summary: "Give servers that run new weights, while requests flow",
  example: "weft update --url http://127.0.0.1:8000 --model DIR --strategy rolling",
  flags: UPDATE_FLAGS,
  run: update,
};

async function update({ values, given, host }: Invocation<Flags>): Promise<number> {
  const server = new UpdatedServer(values.url, values["admin-api-key"] ?? values["api-key"]);
  if (values.revert) {
    if (given.some(({ name }) => name === "model")) {
      throw new UsageError("Cannot switch back to a folder: --revert takes no --model");
    }
    return await revert(server, host);
  }
  const body = await requestOf(values);
  const { id } = await server.call<Update>("POST", "/admin/updates", body);
  using _interrupts = onInterrupt(() => {
    host.log.warn("interrupted: the update is cancelled and rolled back");
    server.call("POST", `/admin/updates/${id}/cancel`, {}).catch((error) =>
      host.log.error((error as Error).message)
    );
  });
  await server.follow(id, ({ replica, message }) => host.print(`${replica ?? "all"}: ${message}`));
  const { state, version, error } = await server.call<Update>("GET", `/admin/updates/${id}`);
  if (state === "succeeded") {
    host.print(`weft updated: all replicas serve ${version}`);
    return 0;
  }
  const where = error?.replica ? ` at ${error.replica}` : "";
  host.log.error(`the update ${state}${where}: ${error?.message ?? "see above"}`);
  return 1;
}

async function revert(server: UpdatedServer, host: CliHost): Promise<number> {
  const { updates } = await server.call<{ updates: Update[] }>("GET", "/admin/updates");
  const last = updates.findLast(({ revertible }) => revertible);
  if (last === undefined) throw new Error("Cannot switch back as no update keeps the old weights");
  await server.call("POST", `/admin/updates/${last.id}/revert`, {});
  host.print("weft updated: the old weights serve again");
  return 0;
}

async function requestOf(values: FlagValues<Flags>): Promise<Record<string, unknown>> {
  const { strategy, model, sha256, golden } = values;
  if (model === undefined) throw new UsageError("Cannot update without weights: --model DIR");
  const body: Record<string, unknown> = {
    strategy,
    model: isAbsolute(model) || !await exists(model) ? model : resolve(model),
    sha256,
    version: values["weight-version"],
  };
  for (const [flag, field, strategies] of STRATEGY_PARAMETERS) {
    const value = values[flag];
    if (value === undefined) continue;
    if (!strategies.some((name) => name === strategy)) {
      throw new UsageError(
        `Cannot use --${flag} with the strategy ${strategy}: it belongs to ${
          strategies.join(", ")
        }`,
      );
    }
    body[field] = value;
  }
  if (golden !== undefined) body.golden = await readGoldenFile(golden, model);
  return body;
}

/** A path that this machine does not have may be one of the servers'. */
async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}

/** Calls `cancel` at the first Ctrl-C or SIGTERM, and ends the process at the second. */
function onInterrupt(cancel: () => void): Disposable {
  let interrupted = false;
  const listener = (): void => {
    if (interrupted) Deno.exit(130);
    interrupted = true;
    cancel();
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, listener);
  return {
    [Symbol.dispose]() {
      for (const signal of signals) Deno.removeSignalListener(signal, listener);
    },
  };
}
