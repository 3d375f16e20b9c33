/** A server that is started, asked and stopped. */

const READY_SECONDS = 600;
const STOP_SECONDS = 60;
const POLL_MILLISECONDS = 10;
const SHOWN = 600;

/** A running server; it is stopped when disposed. */
export class ServerProcess implements AsyncDisposable {
  /** Its address. */
  readonly url: string;
  /** When it was started, by `performance.now()`. */
  readonly startedAt: number;
  readonly #child: Deno.ChildProcess;
  readonly #output: Promise<string>;

  private constructor(child: Deno.ChildProcess, options: { url: string; startedAt: number }) {
    this.url = options.url;
    this.startedAt = options.startedAt;
    this.#child = child;
    this.#output = new Response(child.stderr).text();
  }

  /** Starts a server that will listen at `url`, and resolves when it is healthy. */
  static async start(
    options: { readonly command: readonly string[]; readonly url: string; readonly cwd?: string },
  ): Promise<ServerProcess> {
    const { command: [program, ...args], url, cwd } = options;
    const startedAt = performance.now();
    const child = new Deno.Command(program, {
      args,
      cwd,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const server = new ServerProcess(child, { url, startedAt });
    try {
      await server.#healthy();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Most bytes that were resident in its memory at once, mapped files included. */
  get peakMemoryBytes(): number {
    const status = Deno.readTextFileSync(`/proc/${this.#child.pid}/status`);
    const [, kibibytes] = /^VmHWM:\s*(\d+) kB$/m.exec(status) ?? [];
    return Number(kibibytes) * 1024;
  }

  async #healthy(): Promise<void> {
    let ended = false;
    this.#child.status.then(() => ended = true);
    const deadline = performance.now() + READY_SECONDS * 1000;
    while (performance.now() < deadline) {
      if (ended) {
        const output = (await this.#output).trim().slice(-SHOWN);
        throw new Error(`Cannot start the server of ${this.url}: it ended\n${output}`);
      }
      if (await isHealthy(this.url)) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
    }
    throw new Error(`Cannot reach the server of ${this.url}: ${READY_SECONDS} s are over`);
  }

  /** Stops it and waits for its end; one that does not stop is killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal("SIGTERM");
    const deadline = setTimeout(() => this.#signal("SIGKILL"), STOP_SECONDS * 1000);
    await this.#child.status;
    clearTimeout(deadline);
    await this.#output;
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health`);
    await response.body?.cancel();
    return response.ok;
  } catch (error) {
    // Nobody listens yet.
    if (error instanceof TypeError) return false;
    throw error;
  }
}

/** A port that is free now. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
