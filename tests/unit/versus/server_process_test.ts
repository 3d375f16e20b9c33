import { assert, assertEquals, assertRejects } from "@std/assert";
import { LlamaCpp } from "../../../bench/versus/llama_cpp.ts";
import { OnnxRuntime } from "../../../bench/versus/onnx_runtime.ts";
import { runProgram } from "../../../bench/versus/run_program.ts";
import { freePort, ServerProcess } from "../../../bench/versus/server_process.ts";

function server(port: number): readonly string[] {
  // Busy at first, as servers are that load weights.
  const code = `let asked = 0; Deno.serve({ hostname: "127.0.0.1", port: ${port} }, () =>
    new Response("", { status: asked++ < 2 ? 503 : 200 }));`;
  return [Deno.execPath(), "eval", "--no-config", code];
}

Deno.test("a server is waited for until it is healthy, and is gone when disposed", async () => {
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  {
    await using running = await ServerProcess.start({ command: server(port), url });
    assert(running.startedAt < performance.now());
    assert(running.peakMemoryBytes > 1e6 && Number.isInteger(running.peakMemoryBytes));
    const response = await fetch(url);
    await response.body?.cancel();
    assertEquals(response.status, 200);
  }
  await assertRejects(() => fetch(url), TypeError);
});

Deno.test("a server that ends says why", async () => {
  await assertRejects(
    () =>
      ServerProcess.start({
        command: ["sh", "-c", "echo no such model >&2; exit 3"],
        url: `http://127.0.0.1:${freePort()}`,
      }),
    Error,
    "no such model",
  );
});

Deno.test("a program that fails says how it was called and what it said", async () => {
  assertEquals(await runProgram({ command: ["sh", "-c", "echo $0", "word"] }), "word\n");
  const failing = { command: ["sh", "-c", "echo broken >&2; exit 4"] };
  const error = await assertRejects(() => runProgram(failing), Error, "exited with 4");
  assert(error.message.includes("broken") && error.message.includes("sh -c"));
});

Deno.test("folders without a peer's programs are refused by name", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const options = { folder, cache: folder, threads: 1, log: () => {} };
    await assertRejects(() => LlamaCpp.open(options), Error, "llama-batched-bench");
    await assertRejects(() => OnnxRuntime.open(options), Error, "node_modules");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
