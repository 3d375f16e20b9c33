/** Weights without a model: requests take one token a step from them, and loads end when the test says so. */
import type { SetLease } from "../../../src/engine/admission.ts";
import {
  type LoadedWeights,
  WeightsError,
  type WeightsFolder,
} from "../../../src/engine/weights.ts";
import type { WeightSet, WeightSetLoader } from "../../../src/engine/weight_set.ts";
import { WeightSets } from "../../../src/engine/weight_sets.ts";

/** One set; it counts itself among `alive` until it is disposed. */
export class FakeSet implements WeightSet {
  readonly weights: LoadedWeights;
  failure: string | null = null;
  held = false;
  disposed = false;
  readonly requests = new Set<FakeRequest>();
  readonly #died = Promise.withResolvers<string>();
  readonly #alive: Set<FakeSet>;

  constructor(version: string, alive: Set<FakeSet>) {
    this.weights = { version, model: `folder of ${version}` };
    this.#alive = alive.add(this);
  }

  get died(): Promise<string> {
    return this.#died.promise;
  }

  hold(): Promise<void> {
    this.held = true;
    return Promise.resolve();
  }

  go(): void {
    this.held = false;
  }

  check(prompts: readonly (readonly number[])[]): Promise<readonly (readonly number[])[]> {
    return Promise.resolve(prompts);
  }

  die(reason: string): void {
    this.failure ??= reason;
    this.#died.resolve(reason);
    for (const request of [...this.requests]) request.lose(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.die("it was disposed");
    await Promise.resolve();
    this.disposed = true;
    this.#alive.delete(this);
  }
}

/** A request for some tokens. */
export class FakeRequest {
  state: "waiting" | "running" | "served" | "aborted" | "lost" = "waiting";
  /** The set of each token. */
  readonly tokens: FakeSet[] = [];
  /** What became of its set, where it was lost on one. */
  lostBy: string | null = null;
  /** Tokens that it wants. */
  readonly wanted: number;
  #lease: SetLease<FakeSet> | null = null;

  constructor(sets: WeightSets<FakeSet, string>, wanted: number, signal?: AbortSignal) {
    this.wanted = wanted;
    this.#enter(sets, signal);
  }

  /** Takes a token where its set moves. */
  step(): void {
    const lease = this.#lease;
    if (this.state !== "running" || lease === null || lease.set.held) return;
    if (!lease.begin()) throw new Error("a request that has moved still runs");
    this.tokens.push(lease.set);
    if (this.tokens.length === this.wanted) this.#end("served");
  }

  lose(reason: string | null): void {
    this.lostBy = reason;
    this.#end("lost");
  }

  async #enter(sets: WeightSets<FakeSet, string>, signal?: AbortSignal): Promise<void> {
    try {
      const lease = await sets.gate.admission.enter({ signal });
      if (lease === null) this.state = "aborted";
      else if (lease.moved) this.#enter(sets, signal);
      else this.#run(lease, sets, signal);
    } catch {
      this.state = "lost";
    }
  }

  #run(lease: SetLease<FakeSet>, sets: WeightSets<FakeSet, string>, signal?: AbortSignal): void {
    this.#lease = lease;
    this.state = "running";
    if (lease.set.failure !== null) return this.lose(lease.set.failure);
    lease.set.requests.add(this);
    lease.onStop((stop) => {
      if (stop === "abort") return this.#end("aborted");
      lease.set.requests.delete(this);
      this.state = "waiting";
      this.#lease = null;
      this.#enter(sets, signal);
    });
  }

  #end(state: "served" | "aborted" | "lost"): void {
    this.state = state;
    this.#lease?.set.requests.delete(this);
    this.#lease?.end();
  }
}

interface PendingLoad {
  readonly version: string;
  readonly settle: PromiseWithResolvers<void>;
}

/** Where fake sets come from; folders whose name begins with `bad` are refused. */
export class FakeLoader implements WeightSetLoader<FakeSet, string> {
  /** Sets that hold memory. */
  readonly alive = new Set<FakeSet>();
  /** Most that did at once. */
  most = 0;
  readonly #pending: PendingLoad[] = [];

  /** Sets that serve `first`. */
  start(): WeightSets<FakeSet, string> {
    return new WeightSets(this.#made("first"), { loader: this, onRetire: () => {} });
  }

  /** Whether a load is under way. */
  get loading(): boolean {
    return this.#pending.length > 0;
  }

  /** Ends the oldest load. */
  settle(succeeds: boolean): void {
    const load = this.#pending.shift();
    if (succeeds) load?.settle.resolve();
    else load?.settle.reject(new Error(`${load.version} did not load`));
  }

  verify({ model, version = model }: WeightsFolder): Promise<string> {
    if (!model.startsWith("bad")) return Promise.resolve(version);
    return Promise.reject(new WeightsError(`${model} is bad`, { reason: "invalid" }));
  }

  verifyUnchanged(): void {}

  async load(version: string, signal: AbortSignal): Promise<FakeSet> {
    const load = { version, settle: Promise.withResolvers<void>() };
    this.#pending.push(load);
    signal.addEventListener("abort", () => load.settle.reject(signal.reason));
    if (signal.aborted) load.settle.reject(signal.reason);
    try {
      await load.settle.promise;
    } finally {
      if (this.#pending.includes(load)) this.#pending.splice(this.#pending.indexOf(load), 1);
    }
    return this.#made(version);
  }

  reload({ weights }: FakeSet, signal: AbortSignal): Promise<FakeSet> {
    return this.load(weights.version, signal);
  }

  explain(error: unknown): WeightsError {
    if (error instanceof WeightsError) return error;
    return new WeightsError(String(error), { reason: "failed" });
  }

  #made(version: string): FakeSet {
    const set = new FakeSet(version, this.alive);
    this.most = Math.max(this.most, this.alive.size);
    return set;
  }
}

/** Lets everything that follows from what has happened happen. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 40; i++) await Promise.resolve();
}
