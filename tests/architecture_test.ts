import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokenLayerRules, type ModuleGraph, readModuleGraph } from "../tools/module_graph.ts";

const ROOT = new URL("../", import.meta.url);

function graph(...edges: readonly (readonly [from: string, to: string])[]): ModuleGraph {
  return { edges: edges.map(([from, to]) => ({ from, to, typeOnly: false })), rankEntries: [] };
}

Deno.test("imports go down the layers only", async () => {
  const modules = await readModuleGraph(ROOT);
  assert(modules.edges.some(({ from }) => from.startsWith("src/engine/")), "the graph was read");
  assert(modules.rankEntries.includes("src/engine/rank/rank_main.ts"), "rank entries were found");
  assertEquals(brokenLayerRules(modules), []);
});

Deno.test("an import that goes up is found", () => {
  assertEquals(
    brokenLayerRules(graph(
      ["src/tensor/device.ts", "src/models/llama.ts"],
      ["src/models/llama.ts", "src/tensor/device.ts"],
    )),
    ["src/tensor/device.ts imports src/models/llama.ts: tensor is below models"],
  );
});

Deno.test("text depends on no layer of tensors, and neither does anything above on its equal", () => {
  const broken = brokenLayerRules(graph(
    ["src/text/tokenizer.ts", "src/tensor/dtype.ts"],
    ["src/models/llama.ts", "src/text/tokenizer.ts"],
    ["src/engine/scheduler/scheduler.ts", "src/planner/plan.ts"],
    ["src/text/a.ts", "src/text/b.ts"],
  ));
  assertEquals(broken.length, 3);
});

Deno.test("the planner uses models and nothing that computes", () => {
  assertEquals(brokenLayerRules(graph(["src/planner/plan.ts", "src/models/model_config.ts"])), []);
  assertEquals(
    brokenLayerRules(graph(["src/planner/plan.ts", "src/layers/attention.ts"])).length,
    1,
  );
});

Deno.test("sources import neither the library's face nor anything outside src", () => {
  const broken = brokenLayerRules(graph(
    ["src/serving/server.ts", "mod.ts"],
    ["src/serving/server.ts", "tests/helper.ts"],
    ["src/unheard_of/file.ts", "src/native/a.ts"],
    ["src/native/sources.ts", "native/cpu/linear.c"],
    ["src/cli/main.ts", "deno.json"],
    ["mod.ts", "src/cli/main.ts"],
  ));
  assertEquals(broken.length, 3);
  assertMatch(broken[2], /unheard_of/);
});

Deno.test("a rank entry module is started by its URL; only its types may be imported", () => {
  const edge = { from: "src/engine/engine_ranks.ts", to: "src/engine/rank/rank_main.ts" };
  const rankEntries = ["src/engine/rank/rank_main.ts"];
  assertEquals(brokenLayerRules({ edges: [{ ...edge, typeOnly: true }], rankEntries }), []);
  assertEquals(brokenLayerRules({ edges: [{ ...edge, typeOnly: false }], rankEntries }), [
    "src/engine/engine_ranks.ts imports src/engine/rank/rank_main.ts: rank entries are started by URL",
  ]);
});

Deno.test("importing the library needs no permission", async () => {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const face = new URL("mod.ts", ROOT).href;
    await Deno.writeTextFile(
      script,
      `import * as weft from ${JSON.stringify(face)};\nconsole.log(Object.keys(weft).length);\n`,
    );
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", `--config=${new URL("deno.json", ROOT).pathname}`, script],
      env: { NO_COLOR: "1" },
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    assert(Number(new TextDecoder().decode(stdout)) > 0, "the library exports something");
  } finally {
    await Deno.remove(script);
  }
});
