import { assertEquals, assertMatch } from "@std/assert";
import { whyUnreachable } from "../../../src/serving/why_unreachable.ts";

Deno.test("what a failed fetch says is why it failed", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const error = await fetch(`http://127.0.0.1:${port}/`).catch((error) => error);
  assertMatch(whyUnreachable(error), /^client error .*refused/i);
  assertEquals(whyUnreachable("no error"), "no error");
});
