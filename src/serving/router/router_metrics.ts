/**
 * Prometheus metrics of a router.
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { MemberStatus } from "../../routing/member_status.ts";
import type { ReplicaPool } from "../../routing/replica_pool.ts";
import type { RouteObserver } from "../../routing/route_request.ts";
import type { HttpReplica } from "./http_replica.ts";

const FIRST_BYTE_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

const GAUGES: readonly (readonly [string, string, (member: MemberStatus) => number])[] = [
  ["weft:replica_up", "1 while the replica takes requests", ({ serves }) => serves ? 1 : 0],
  ["weft:replica_active_requests", "Requests that the replica has", ({ active }) => active],
  ["weft:replica_weight", "Share of the work that the replica is to get", ({ weight }) => weight],
];

const COUNTERS: readonly (readonly [string, string, (member: MemberStatus) => number])[] = [
  ["weft:replica_requests_total", "Requests sent to the replica", ({ sent }) => sent],
  ["weft:replica_failures_total", "Requests that the replica failed", ({ failed }) => failed],
  [
    "weft:replica_ejections_total",
    "Times that the replica was ejected, as it failed or answered far later than others",
    ({ ejections }) => ejections,
  ],
];

/** The metrics of one router, in a registry of its own. */
export class RouterMetrics implements RouteObserver {
  readonly #registry = new Registry();
  readonly #firstByte: Histogram<"replica">;
  readonly #answers: Counter<"status">;
  readonly #retries: Counter;
  readonly #hedges: Counter;
  readonly #hedgesWon: Counter;

  /** Reads the replicas of `pool`, and what is known of their `scaling`, when it is asked. */
  constructor(
    pool: ReplicaPool<HttpReplica>,
    scaling: { readonly known: ReadonlyMap<number, number> },
  ) {
    const registers = [this.#registry];
    const labelNames = ["replica"] as const;
    for (const [name, help, read] of GAUGES) {
      new Gauge({
        name,
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          for (const member of pool.members) this.set({ replica: member.id }, read(member));
        },
      });
    }
    for (const [name, help, read] of COUNTERS) {
      new Counter({
        name,
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          for (const member of pool.members) this.inc({ replica: member.id }, read(member));
        },
      });
    }
    new Gauge({
      name: "weft:router_queued_requests",
      help: "Requests that wait for a replica with room",
      registers,
      collect() {
        this.set(pool.queued);
      },
    });
    new Gauge({
      name: "weft:scaling_efficiency",
      help: "Throughput of that many busy replicas over what each does alone; absent while unknown",
      labelNames: ["replicas"],
      registers,
      collect() {
        this.reset();
        for (const [count, value] of scaling.known) this.set({ replicas: count }, value);
      },
    });
    this.#answers = new Counter({
      name: "weft:router_answers_total",
      help: "Answers by status",
      labelNames: ["status"],
      registers,
    });
    const counter = (name: string, help: string): Counter => new Counter({ name, help, registers });
    this.#retries = counter(
      "weft:router_retries_total",
      "Times that a request was sent again, as a replica had failed it or it was taken back",
    );
    this.#hedges = counter(
      "weft:router_hedges_total",
      "Streams sent to a second replica, as the first had not begun",
    );
    this.#hedgesWon = counter(
      "weft:router_hedges_won_total",
      "Streams that the second replica began first",
    );
    this.#firstByte = new Histogram({
      name: "weft:router_first_byte_seconds",
      help: "Time from a request's arrival to the first byte of its answer",
      labelNames,
      buckets: FIRST_BYTE_BUCKETS,
      registers,
    });
  }

  /** Media type of {@linkcode text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** An answer has begun. */
  observeFirstByte(replica: string, seconds: number): void {
    this.#firstByte.observe({ replica }, seconds);
  }

  /** See {@linkcode RouteObserver}. */
  retried(): void {
    this.#retries.inc();
  }

  /** See {@linkcode RouteObserver}. */
  hedged(): void {
    this.#hedges.inc();
  }

  /** See {@linkcode RouteObserver}. */
  hedgeWon(): void {
    this.#hedgesWon.inc();
  }

  /** An answer has been given. */
  observeAnswer(status: number): void {
    this.#answers.inc({ status });
  }
}
