import { assert, assertEquals, assertMatch } from "@std/assert";
import { ENGINE_FLAGS } from "../src/cli/flags.ts";

const ROOT = new URL("../", import.meta.url);
const README = await Deno.readTextFile(new URL("README.md", ROOT));
const CONTRIBUTING = await Deno.readTextFile(new URL("CONTRIBUTING.md", ROOT));
const DOCS = await readFolder(new URL("docs/", ROOT));

Deno.test("every file and folder that the documents name is there", async () => {
  const named = `${README}\n${CONTRIBUTING}\n${DOCS}`.matchAll(
    /`((?:src|native|tests|examples|bench|docs|models|third_party)\/[\w./]*)`/g,
  );
  const paths = [...new Set([...named].map((match) => match[1]))]
    .filter((path) => !/NAME|SUBJECT/.test(path));
  assert(paths.length > 20, "paths were found");
  for (const path of paths) {
    assert(await Deno.stat(new URL(path, ROOT)).then(() => true, () => false), path);
  }
});

Deno.test("the README's table of flags is the engine's", () => {
  const rows = README.matchAll(/^\| `--([a-z-]+)(?: (?:[^|`]|\\\|)*)?` \|([^|]*)\|/gm);
  const documented = [...rows].map((match) => [match[1], match[2].trim()]);
  const actual = Object.entries(ENGINE_FLAGS).map(([name, flag]) => [name, flag.shownDefault]);
  assertEquals(documented, actual);
});

Deno.test("the README's library example prints an answer", async () => {
  const [, example] = README.match(/```ts\n([\s\S]*?)```/)!;
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      script,
      example.replace('"@weft/weft"', JSON.stringify(new URL("mod.ts", ROOT).href)),
    );
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", `--config=${new URL("deno.json", ROOT).pathname}`, script],
      cwd: ROOT,
      env: { NO_COLOR: "1" },
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    assertMatch(new TextDecoder().decode(stdout), /^Tensor parallelism splits each weight matrix/);
  } finally {
    await Deno.remove(script);
  }
});

async function readFolder(folder: URL): Promise<string> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) if (name.endsWith(".md")) names.push(name);
  const texts = await Promise.all(
    names.sort().map((name) => Deno.readTextFile(new URL(name, folder))),
  );
  return texts.join("\n");
}
