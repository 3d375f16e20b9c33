/** A real `weft serve` process on a free port, for tests at the boundary that users touch. */
import { TextLineStream } from "./text_line_stream.ts";

/** A running server. Disposing kills it if it still runs. */
export interface ServeProcess extends AsyncDisposable {
  /** Base URL without a trailing slash. */
  readonly url: string;
  /** Process id of the server. */
  readonly pid: number;
  /** The line that announced it. */
  readonly readyLine: string;
  /** Sends a signal and resolves with the exit code. */
  stop(signal?: Deno.Signal): Promise<number>;
  /** Everything on stderr so far. */
  log(): string;
}

const ROOT = new URL("../../", import.meta.url).pathname;

/** Starts `deno run -A mod.ts serve` with `args` and waits for its last line on stdout. */
export function startServe(...args: string[]): Promise<ServeProcess> {
  return startWeft("serve", args);
}

/** Starts `deno run -A mod.ts route` with `args` and waits for its line on stdout. */
export function startRoute(...args: string[]): Promise<ServeProcess> {
  return startWeft("route", args);
}

async function startWeft(command: string, args: readonly string[]): Promise<ServeProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "mod.ts", command, "--port", "0", ...args],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let log = "";
  const logged = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) log += text;
  })();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  let readyLine = "";
  for await (const line of lines.values({ preventCancel: true })) {
    if (!/^weft (router )?ready:/.test(line)) continue;
    readyLine = line;
    break;
  }
  const url = readyLine.match(/ready: (http:\/\/\S+)/)?.[1];
  if (!url) {
    await child.status;
    await logged;
    throw new Error(`${command} did not start: ${log}`);
  }
  const drained = lines.pipeTo(new WritableStream());
  let exited = false;
  const status = child.status.finally(() => exited = true);
  return {
    url: url.replace(/\/$/, ""),
    pid: child.pid,
    readyLine,
    log: () => log,
    async stop(signal: Deno.Signal = "SIGTERM") {
      child.kill(signal);
      const { code } = await status;
      await Promise.all([logged, drained]);
      return code;
    },
    async [Symbol.asyncDispose]() {
      if (!exited) child.kill("SIGKILL");
      await status;
      await Promise.allSettled([logged, drained]);
    },
  };
}

/** Value of a metric (summed over labels, or of the line that has `label`) in Prometheus text. */
export function metric(text: string, name: string, label = ""): number {
  const values = text.split("\n")
    .filter((line) =>
      line.startsWith(name) && /[{ ]/.test(line[name.length]) && line.includes(label)
    )
    .map((line) => Number(line.slice(line.lastIndexOf(" ") + 1)));
  if (values.length === 0) throw new Error(`No metric called ${name}`);
  return values.reduce((sum, value) => sum + value, 0);
}

/** Fetches `/metrics`. */
export async function metrics(url: string): Promise<string> {
  return await (await fetch(`${url}/metrics`)).text();
}

/** Waits until `condition` holds, checking every 20 ms. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  options: { timeoutMs?: number; what: string },
): Promise<void> {
  const deadline = performance.now() + (options.timeoutMs ?? 10_000);
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Still not so: ${options.what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
