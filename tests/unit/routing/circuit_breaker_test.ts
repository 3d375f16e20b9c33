import { assert, assertEquals } from "@std/assert";
import { CircuitBreaker } from "../../../src/routing/circuit_breaker.ts";
import { RetryBudget } from "../../../src/routing/retry_budget.ts";
import { TestClock } from "./_clock.ts";

function breaker(): { clock: TestClock; circuit: CircuitBreaker } {
  const clock = new TestClock();
  return {
    clock,
    circuit: new CircuitBreaker({ ...clock, failures: 3, openMs: 100, maxOpenMs: 300 }),
  };
}

Deno.test("a circuit opens after failures in a row only", () => {
  const { circuit } = breaker();
  for (const works of [false, false, true, false, false]) {
    if (works) circuit.succeed();
    else circuit.fail();
  }
  assertEquals(circuit.state, "closed");
  circuit.fail();
  assertEquals([circuit.state, circuit.lets], ["open", false]);
});

Deno.test("a half-open circuit lets one probe through, whose result decides", () => {
  const { clock, circuit } = breaker();
  circuit.trip();
  clock.pass(99);
  circuit.succeed();
  assertEquals(circuit.state, "open", "what was sent before it opened proves nothing");
  clock.pass(1);
  assertEquals([circuit.state, circuit.lets], ["half-open", true]);
  circuit.fail();
  assertEquals(circuit.state, "half-open", "that was not the probe");
  circuit.enter();
  assert(!circuit.lets);
  circuit.giveUp();
  assert(circuit.lets, "a probe that was given up says nothing");
  circuit.enter();
  circuit.succeed();
  assertEquals([circuit.state, circuit.closedForMs], ["closed", 0]);
  clock.pass(40);
  assertEquals(circuit.closedForMs, 40);
});

Deno.test("it stays open longer each time, up to a limit, and forgets after a good while", () => {
  const { clock, circuit } = breaker();
  const openFor = (): number => {
    circuit.trip();
    let waited = 0;
    for (; circuit.state === "open"; waited += 10) clock.pass(10);
    circuit.enter();
    circuit.succeed();
    return waited;
  };
  assertEquals([1, 2, 3, 4].map(openFor), [100, 200, 300, 300]);
  clock.pass(301);
  circuit.succeed();
  assertEquals(openFor(), 100);
});

Deno.test("a budget allows a reserve of retries, then one in ten", () => {
  const budget = new RetryBudget({ reserve: 3 });
  assertEquals([1, 2, 3, 4].map(() => budget.withdraw()), [true, true, true, false]);
  for (let request = 0; request < 11; request++) budget.deposit();
  assertEquals([1, 2].map(() => budget.withdraw()), [true, false]);
  for (let request = 0; request < 1000; request++) budget.deposit();
  assertEquals(budget.balance, 3);
});
