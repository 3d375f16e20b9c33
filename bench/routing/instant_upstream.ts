/** A server that answers every request at once: what is left of a time through a proxy is the proxy's. */
const ANSWER = JSON.stringify({
  id: "cmpl-0",
  object: "text_completion",
  created: 0,
  model: "instant",
  data: [{ id: "instant" }],
  choices: [{ index: 0, text: "Hello", finish_reason: "length" }],
});
const HEADERS = { "content-type": "application/json" };

const server = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(port) },
  async (request) => {
    if (request.body !== null) await request.bytes();
    return new Response(ANSWER, { headers: HEADERS });
  },
);
await server.finished;
