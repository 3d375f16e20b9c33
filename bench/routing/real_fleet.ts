/** Servers of a model of random weights, each a process of its own with one thread. */
import { presetConfig, type PresetName } from "../../src/models/presets.ts";
import { type Proxy, startWeft } from "./proxies.ts";

/** Positions that a request may take. */
const MAX_MODEL_LEN = 512;

/** Tokens that a server has computed, by its `/metrics`. */
export interface ServerCounters {
  /** Of prompts and answers. */
  readonly tokens: number;
  /** Of prompts, those that were looked up in a cache of prefixes and those found; null without such a cache. */
  readonly prefix: { readonly asked: number; readonly found: number } | null;
}

/** Starts `count` servers one after the other; `folder` is theirs to write to. */
export async function startFleet(
  count: number,
  { preset, folder }: { readonly preset: string; readonly folder: string },
): Promise<readonly Proxy[]> {
  const model = `${folder}/${preset}`;
  await Deno.mkdir(model);
  const config = presetConfig(preset as PresetName);
  await Deno.writeTextFile(`${model}/config.json`, JSON.stringify(config));
  const servers: Proxy[] = [];
  for (let i = 0; i < count; i++) {
    servers.push(
      await startWeft("serve", `replica ${i}`, [
        ...["--model", model, "--load-format", "dummy", "--threads", "1"],
        ...["--max-model-len", String(MAX_MODEL_LEN), "--kv-cache-memory", "256MiB"],
      ]),
    );
  }
  return servers;
}

/** What a server has done so far. */
export async function readCounters(port: number): Promise<ServerCounters> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const sum = (name: string): number | null => {
    const values = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)`, "gm"))];
    return values.length === 0
      ? null
      : values.reduce((total, [, value]) => total + Number(value), 0);
  };
  const [asked, found] = ["queries", "hits"].map((what) => sum(`vllm:prefix_cache_${what}_total`));
  return {
    tokens: sum("vllm:prompt_tokens_total")! + sum("vllm:generation_tokens_total")!,
    prefix: asked === null || found === null ? null : { asked, found },
  };
}
