import { assertEquals } from "@std/assert";
import { ReplicaDiscovery } from "../../../src/serving/router/replica_discovery.ts";
import type { ReplicaAddress } from "../../../src/serving/router/replica_source.ts";

/** A registry like the router's, where leaving takes until it is told, and a discovery that looks when it is told. */
class Fixture {
  readonly members = new Map<string, PromiseWithResolvers<void> | null>();
  readonly errors: string[] = [];
  readonly joins: string[] = [];
  readonly weights: [string, number][] = [];
  named: readonly ReplicaAddress[] = [];
  /** What the source fails with. */
  failure: string | null = null;
  #looked = Promise.withResolvers<void>();
  readonly discovery = new ReplicaDiscovery({
    registry: {
      join: (url) => {
        this.joins.push(url);
        if (this.members.has(url)) return Promise.reject(new RangeError(`${url} is taken`));
        this.members.set(url, null);
        return Promise.resolve(url);
      },
      leave: async (url) => {
        const left = Promise.withResolvers<void>();
        this.members.set(url, left);
        await left.promise;
        this.members.delete(url);
      },
      setWeight: (url, weight) => void this.weights.push([url, weight]),
    },
    sources: [() => {
      this.#looked.resolve();
      this.#looked = Promise.withResolvers();
      if (this.failure !== null) return Promise.reject(new Error(this.failure));
      return Promise.resolve(this.named);
    }],
    intervalMs: 1,
    drainMs: 1000,
    onError: (error) => this.errors.push((error as Error).message),
  });

  /** What is named from now on has been looked at. */
  async name(...urls: string[]): Promise<void> {
    await this.address(urls.map((url) => ({ url, weight: 1 })));
  }

  async address(named: readonly ReplicaAddress[]): Promise<void> {
    this.named = named;
    for (let looks = 0; looks < 3; looks++) await this.#looked.promise;
  }
}

Deno.test("a replica that is named again while it leaves joins when it has left", async () => {
  const fixture = new Fixture();
  using discovery = fixture.discovery;
  await discovery.start();
  await fixture.name("http://a", "http://b");
  await fixture.name("http://b");
  assertEquals(fixture.joins, ["http://a", "http://b"]);
  await fixture.name("http://a", "http://b");
  fixture.members.get("http://a")!.resolve();
  await fixture.name("http://a", "http://b");
  assertEquals([...fixture.members], [["http://b", null], ["http://a", null]]);
  assertEquals(fixture.errors, []);
});

Deno.test("a replica that could not join is tried until it can, and told once", async () => {
  const fixture = new Fixture();
  using discovery = fixture.discovery;
  fixture.members.set("http://a", null); // Somebody else's.
  await discovery.start();
  await fixture.name("http://a");
  assertEquals(fixture.errors, ["http://a is taken"]);
  fixture.members.delete("http://a");
  await fixture.name("http://a");
  assertEquals([...fixture.members.keys()], ["http://a"]);
  assertEquals(fixture.errors, ["http://a is taken"]);
});

Deno.test("a weight that changes is set once, and what others set stays", async () => {
  const fixture = new Fixture();
  using discovery = fixture.discovery;
  await discovery.start();
  await fixture.name("http://a");
  await fixture.address([{ url: "http://a", weight: 2 }]);
  await fixture.address([{ url: "http://a", weight: 2 }]);
  assertEquals(fixture.weights, [["http://a", 2]]);
});

Deno.test("a source that fails again and again is told once, and again after it has worked", async () => {
  const fixture = new Fixture();
  using discovery = fixture.discovery;
  await discovery.start();
  for (const failure of ["no file", "no right", null, "no right"]) {
    fixture.failure = failure;
    await fixture.name("a");
  }
  assertEquals(fixture.errors, ["no file", "no right", "no right"]);
  assertEquals([...fixture.members.keys()], ["a"]);
});
