import { assert, assertEquals } from "@std/assert";
import local from "../../../deno.json" with { type: "json" };
import net from "../../../deno.net.json" with { type: "json" };

Deno.test("the configuration for machines with a network differs by the links only", () => {
  const { links, ...rest } = local;
  assert(links.length > 0, "the local configuration links stand-ins");
  assertEquals<unknown>(net, rest);
});
