import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DEMO_MODEL_FILES, demoModelFolder } from "../../../src/cli/demo_model.ts";
import { createLogger } from "../../../src/cli/log.ts";

const log = createLogger(() => {});
const SHIPPED = new URL("../../../models/demo/", import.meta.url);

/** Serves the files of the demo model, changed by `change`, while `use` runs. */
async function withOrigin(
  change: (bytes: Uint8Array<ArrayBuffer>, name: string) => BodyInit | null,
  use: (origin: { source: string; requests: string[]; cache: string }) => Promise<void>,
): Promise<void> {
  const requests: string[] = [];
  const cache = await Deno.makeTempDir();
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (r) => {
    const name = new URL(r.url).pathname.split("/").at(-1)!;
    requests.push(name);
    const body = change(await Deno.readFile(new URL(name, SHIPPED)), name);
    return new Response(body, { status: body === null ? 404 : 200 });
  });
  try {
    const source = `http://127.0.0.1:${server.addr.port}/models/demo/`;
    await use({ source, requests, cache });
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

Deno.test("beside a module on disk the demo model is used where it lies", async () => {
  const folder = await demoModelFolder({
    log,
    cacheFolder: () => {
      throw new Error("no cache is needed");
    },
  });
  assertEquals(`${folder}/`, SHIPPED.pathname);
});

Deno.test("the digests are those of the files that ship", async () => {
  for (const [name, expected] of Object.entries(DEMO_MODEL_FILES)) {
    const bytes = await Deno.readFile(new URL(name, SHIPPED));
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
    assertEquals(digest, expected, name);
  }
});

Deno.test("from a remote module the demo model is fetched once", async () => {
  await withOrigin((bytes) => bytes, async ({ source, requests, cache }) => {
    const options = { source, cacheFolder: () => cache, log };
    const folder = await demoModelFolder(options);
    assertEquals(requests.toSorted(), Object.keys(DEMO_MODEL_FILES).toSorted());
    const names = [...Deno.readDirSync(folder)].map((entry) => entry.name).toSorted();
    assertEquals(names, Object.keys(DEMO_MODEL_FILES).toSorted());
    assertEquals(await demoModelFolder(options), folder);
    assertEquals(requests.length, names.length);
  });
});

Deno.test("a damaged file in the cache is fetched again", async () => {
  await withOrigin((bytes) => bytes, async ({ source, requests, cache }) => {
    const options = { source, cacheFolder: () => cache, log };
    const folder = await demoModelFolder(options);
    await Deno.writeTextFile(`${folder}/config.json`, "{}");
    requests.length = 0;
    await demoModelFolder(options);
    assertEquals(requests, ["config.json"]);
  });
});

Deno.test("a file that is missing or is another one is refused by name", async () => {
  const change = (bytes: Uint8Array<ArrayBuffer>, name: string) =>
    name === "tokenizer.json" ? bytes.subarray(1) : bytes;
  await withOrigin(change, async ({ source, cache }) => {
    const load = () => demoModelFolder({ source, cacheFolder: () => cache, log });
    assertStringIncludes((await assertRejects(load, Error, "SHA-256")).message, "tokenizer.json");
  });
  await withOrigin(() => null, async ({ source, cache }) => {
    const load = () => demoModelFolder({ source, cacheFolder: () => cache, log });
    await assertRejects(load, Error, "404");
  });
});
