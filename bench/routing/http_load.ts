/** Clients that send the same request again and again over connections of their own. */

/** What one measurement gave. */
export interface LoadFigures {
  /** Answers in a second. */
  readonly perSecond: number;
  /** Milliseconds from the first byte sent to the last received, of every request. */
  readonly latencies: Float64Array;
}

/**
 * `clients` connections ask `port` for completions for `seconds`. Sockets and a search for the end of the
 * headers: a client library would take more time than what it measures. Throws when an answer is no 200.
 */
export async function loadHttp(
  port: number,
  { clients, seconds }: { readonly clients: number; readonly seconds: number },
): Promise<LoadFigures> {
  const latencies: number[] = [];
  const request = requestBytes();
  const start = performance.now();
  const end = start + 1000 * seconds;
  await Promise.all(Array.from({ length: clients }, async () => {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port });
    connection.setNoDelay();
    const buffer = new Uint8Array(16384);
    for (let now = performance.now(); now < end;) {
      for (let sent = 0; sent < request.length;) {
        sent += await connection.write(request.subarray(sent));
      }
      await readAnswer(connection, buffer);
      const later = performance.now();
      latencies.push(later - now);
      now = later;
    }
  }));
  const elapsed = (performance.now() - start) / 1000;
  return { perSecond: latencies.length / elapsed, latencies: Float64Array.from(latencies) };
}

function requestBytes(): Uint8Array {
  const body = JSON.stringify({
    model: "instant",
    prompt: "How long does this take?",
    max_tokens: 1,
    n: 1,
  });
  return new TextEncoder().encode(
    "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" +
      `content-length: ${body.length}\r\n\r\n${body}`,
  );
}

async function readAnswer(connection: Deno.TcpConn, buffer: Uint8Array): Promise<void> {
  let length = 0;
  let expected = Infinity;
  while (length < expected) {
    const count = await connection.read(buffer.subarray(length));
    if (count === null) throw new Error("Cannot measure as the connection was closed");
    length += count;
    if (expected !== Infinity) continue;
    const text = new TextDecoder("latin1").decode(buffer.subarray(0, length));
    const body = text.indexOf("\r\n\r\n") + 4;
    if (body < 4) continue;
    if (!text.startsWith("HTTP/1.1 200")) throw new Error(`Cannot measure: ${text.slice(0, 200)}`);
    const declared = /^content-length: (\d+)/im.exec(text);
    if (declared === null) throw new Error("Cannot measure an answer of unknown length");
    expected = body + Number(declared[1]);
  }
}
