/**
 * A server at an address of its own that answers as a script tells it.
 * @module
 */

/** How a fake server answers a generation. */
export type UpstreamBehaviour =
  | "serves"
  | "says 500"
  | "says 429"
  | "says 400"
  | "resets at once"
  | "resets after the first byte"
  | "resets before the last byte"
  | "is silent"
  | "is silent after the first byte";

/** A fake server that speaks just enough of the API. */
export class FakeUpstream implements AsyncDisposable {
  /** What it does with generations now. */
  behaviour: UpstreamBehaviour;
  /** What it does with probes now. */
  probes: "serves" | "is silent" | "says 500" = "serves";
  /** Generations that it takes at once; to more it says 429. */
  room = Infinity;
  /** Milliseconds before it says anything of a generation. */
  delayMs = 0;
  /** Bodies of generations that it was sent, probes left out. */
  readonly bodies: string[] = [];
  /** `authorization` headers of those. */
  readonly keys: (string | null)[] = [];
  /** `X-Request-Id` of its requests. */
  readonly requestIds: (string | null)[] = [];
  /** Generations whose connection was closed before they had ended. */
  aborted = 0;
  readonly #listener: Deno.TcpListener;
  readonly #accepting: Promise<void>;
  readonly #name: string;
  #inside = 0;
  readonly #connections = new Set<Deno.TcpConn>();

  /** Listens on a free port, or on `port`. */
  constructor(name: string, behaviour: UpstreamBehaviour = "serves", port = 0) {
    this.#name = name;
    this.behaviour = behaviour;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port });
    this.#accepting = this.#accept();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get id(): string {
    return `127.0.0.1:${this.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    close(this.#listener);
    for (const connection of this.#connections) close(connection);
    await this.#accepting;
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#listener) {
      this.#connections.add(connection);
      this.#serve(connection).catch(() => {}).finally(() => {
        this.#connections.delete(connection);
        close(connection);
      });
    }
  }

  /** One request a connection: small, and every reset is one. */
  async #serve(connection: Deno.TcpConn): Promise<void> {
    const { head, body } = await readRequest(connection);
    const write = async (text: string): Promise<void> => {
      await connection.write(new TextEncoder().encode(text));
    };
    const json = (status: number, value: unknown): Promise<void> => {
      const text = JSON.stringify(value);
      return write(
        `HTTP/1.1 ${status} X\r\ncontent-type: application/json\r\nretry-after: 7\r\n` +
          `content-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`,
      );
    };
    if (head.startsWith("GET /v1/models")) return await json(200, { data: [{ id: "fake" }] });
    const probe = body.includes(`"max_tokens":1}`);
    if (!probe) {
      this.bodies.push(body);
      this.requestIds.push(/^x-request-id: (.*)$/im.exec(head)?.[1] ?? null);
      this.keys.push(/^authorization: (.*)$/im.exec(head)?.[1] ?? null);
    }
    using _place = probe ? undefined : this.#enter();
    const behaviour = probe ? this.probes : this.#inside > this.room ? "says 429" : this.behaviour;
    if (behaviour === "resets at once") return;
    if (behaviour.startsWith("says ")) {
      return await json(Number(behaviour.slice(5)), { error: { message: this.#name } });
    }
    if (behaviour === "is silent") return await this.#untilClosed(connection);
    if (!probe) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    if (!body.includes(`"stream":true`)) {
      if (behaviour !== "serves") {
        await write(
          "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
        );
        return;
      }
      return await json(200, { text: this.#name });
    }
    await write(
      "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    const chunk = (text: string): Promise<void> =>
      write(`${text.length.toString(16)}\r\n${text}\r\n`);
    for (let i = 0; i < 5; i++) {
      await chunk(`data: {"text":"${this.#name} ${i}"}\n\n`);
      if (behaviour === "resets after the first byte") return;
      if (behaviour === "is silent after the first byte") {
        return await this.#untilClosed(connection);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await chunk("data: [DONE]\n\n");
    await chunk("");
  }

  #enter(): Disposable {
    this.#inside++;
    return { [Symbol.dispose]: () => void this.#inside-- };
  }

  async #untilClosed(connection: Deno.TcpConn): Promise<void> {
    await connection.read(new Uint8Array(1)).catch(() => null);
    this.aborted++;
  }
}

/** A port where connections are never opened: the kernel drops what asks for one, as a firewall does. */
export async function blackHole(port: number): Promise<Disposable> {
  const place = new DisposableStack();
  place.use(Deno.listen({ hostname: "127.0.0.1", port, tcpBacklog: 1 }));
  for (let full = false; !full;) {
    const opening = Deno.connect({ hostname: "127.0.0.1", port });
    const late = Promise.withResolvers<null>();
    const timer = setTimeout(() => late.resolve(null), 100);
    const connection = await Promise.race([opening, late.promise]);
    clearTimeout(timer);
    full = connection === null;
    if (connection !== null) place.use(connection);
    else opening.then((connection) => connection.close(), () => {});
  }
  return place;
}

async function readRequest(connection: Deno.TcpConn): Promise<{ head: string; body: string }> {
  let text = "";
  const bytes = new Uint8Array(65536);
  while (true) {
    const count = await connection.read(bytes);
    if (count === null) throw new Error("no request");
    text += new TextDecoder("latin1").decode(bytes.subarray(0, count));
    const [head, body] = text.split("\r\n\r\n", 2);
    const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0);
    if (body !== undefined && body.length >= length) return { head, body };
  }
}

function close(resource: { close(): void }): void {
  try {
    resource.close();
  } catch {
    // It was closed already.
  }
}
