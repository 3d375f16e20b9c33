/**
 * What people see of a replica.
 * @module
 */
import type { Member, MemberState } from "./member.ts";

/** What people see of a replica in a pool. */
export interface MemberStatus {
  /** Names it. */
  readonly id: string;
  /** What it may do. */
  readonly state: MemberState;
  /** Whether it takes requests in that state. */
  readonly serves: boolean;
  /** Why it is known not to serve; null while it is not. */
  readonly reason: string | null;
  /** Its share of the work. */
  readonly weight: number;
  /** Requests that it has. */
  readonly active: number;
  /** Requests that it was sent. */
  readonly sent: number;
  /** Requests that it has failed. */
  readonly failed: number;
  /** Times that it was ejected: it had failed too often, or answered far later than others. */
  readonly ejections: number;
  /** Why it was ejected; null while it is not. */
  readonly ejection: string | null;
}

/** Why a replica does not serve, in a sentence. */
export function explainState(
  { id, state, reason }: Pick<MemberStatus, "id" | "state" | "reason">,
): string {
  return reason === null ? `${id} is ${state}` : `${id} is down (${reason})`;
}

/** A replica as it is now. */
export function statusOf(member: Member<unknown>): MemberStatus {
  const { id, state, serves, weight, leases, sent, failed, ejections, ejection } = member;
  const [reason, active] = [member.down, leases.size];
  return { id, state, serves, reason, weight, active, sent, failed, ejections, ejection };
}
