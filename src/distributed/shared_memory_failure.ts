/**
 * What a failed operation of a shared-memory group says.
 * @module
 */
import {
  COLLECTIVES,
  type CommunicationLibrary,
  REDUCTION_CODES,
  STATUS,
  TYPE_CODES,
} from "../native/communication.ts";
import type { AbortFlag } from "../native/shared_memory.ts";

/** An operation of a group, by the name of its method. */
export type GroupOperation = typeof COLLECTIVES[number] | "send" | "recv";

/** The operands of a call, in the codes of `native/communication.ts`. */
export interface CallOperands {
  /** Code of the element type. */
  readonly type?: number;
  /** Code of the reduction, or the root. */
  readonly detail?: number;
  /** Number of elements. */
  readonly count?: number;
}

/** A rank's view of the group whose operation failed. */
export interface FailingGroup {
  /** Address of the C structure. */
  readonly address: bigint;
  /** This rank's place in the group. */
  readonly rank: number;
  /** World rank of each member. */
  readonly members: readonly number[];
  /** Deadline of an operation. */
  readonly timeoutMs: number;
  /** The launch's abort flag. */
  readonly abortFlag: AbortFlag;
}

/** Names the operation, this rank, and the peer that was late, called something else, or gave up first. */
export function describeFailure(
  library: CommunicationLibrary,
  group: FailingGroup,
  failure: { operation: GroupOperation; status: number; call: CallOperands },
): string {
  const { operation, status, call } = failure;
  const { members, timeoutMs } = group;
  const where = `${nameRank(members, group.rank)} of ${members.length}`;
  if (status === STATUS.cancelled) {
    const reason = group.abortFlag.reason?.text;
    return `Cannot complete ${operation} on ${where} as the group was aborted: ${reason}`;
  }
  const out = new BigUint64Array(5);
  library.symbols.weft_group_failure(group.address, out);
  const [peer, collective, type, detail, count] = Array.from(out, Number);
  const peerName = nameRank(members, peer);
  if (status === STATUS.timedOut) {
    const missing = operation === "send" ? "received" : operation === "recv" ? "sent" : "arrived";
    return `Cannot complete ${operation} on ${where} within ${timeoutMs} ms: ` +
      `${peerName} has not ${missing}`;
  }
  if (operation === "recv") {
    return `Cannot complete recv of ${describeElements(call)} on ${where}: ` +
      `${peerName} sent ${describeElements({ type, count })}`;
  }
  const peerOperation = COLLECTIVES[collective];
  return `Cannot complete ${describeCall(operation, call)} on ${where}: ` +
    `${peerName} called ${describeCall(peerOperation, { type, detail, count })}`;
}

function nameRank(members: readonly number[], rank: number): string {
  return members[rank] === rank ? `rank ${rank}` : `rank ${rank} (world rank ${members[rank]})`;
}

function describeCall(operation: GroupOperation, call: CallOperands): string {
  switch (operation) {
    case "barrier":
      return operation;
    case "allReduce":
    case "reduceScatter":
      return `${operation} of ${describeElements(call)} (${
        nameOfCode(REDUCTION_CODES, call.detail)
      })`;
    case "broadcast":
      return `${operation} of ${describeElements(call)} from rank ${call.detail}`;
    default:
      return `${operation} of ${describeElements(call)}`;
  }
}

function describeElements(call: CallOperands): string {
  return `${call.count} ${nameOfCode(TYPE_CODES, call.type)}`;
}

function nameOfCode(codes: Readonly<Record<string, number>>, code: number | undefined): string {
  return Object.keys(codes).find((name) => codes[name] === code) ?? `of code ${code}`;
}
