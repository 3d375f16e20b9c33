/**
 * What happened in an update, as it happens.
 * @module
 */

/**
 * Kinds of events. `held`: requests wait; `draining`: a replica ends its requests; `loading`, `loaded`: new weights;
 * `checked`: golden prompts were answered; `serving`: a replica serves the new weights; `switched`: all do;
 * `observing`, `promoted`: a canary; `rolling-back`, `restored`: the old weights; `released`: weights nobody needs;
 * `warning`: something went wrong that others make up for. `succeeded`, `failed` and `cancelled` end an update, and
 * `reverted` one that had succeeded.
 */
export type UpdateEventType =
  | "started"
  | "held"
  | "draining"
  | "loading"
  | "loaded"
  | "checked"
  | "serving"
  | "switched"
  | "observing"
  | "promoted"
  | "rolling-back"
  | "restored"
  | "released"
  | "warning"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "reverted";

/** Something happened in an update. */
export interface UpdateEvent {
  /** Counts from 0. */
  readonly index: number;
  /** When, in milliseconds since 1970. */
  readonly time: number;
  /** What. */
  readonly type: UpdateEventType;
  /** At which replica; null for all or none. */
  readonly replica: string | null;
  /** One sentence. */
  readonly message: string;
}

/** What is told beside type and message. */
export interface UpdateEventDetails {
  /** At which replica. */
  readonly replica?: string;
  /** What is to be said. */
  readonly message: string;
}

/** The latest events of an update. */
export class UpdateLog {
  readonly #limit: number;
  readonly #events: UpdateEvent[] = [];
  #count = 0;
  #closed = false;
  #changed = Promise.withResolvers<void>();

  /** Keeps `limit` events; older ones are dropped. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The latest events, the oldest first. */
  get events(): readonly UpdateEvent[] {
    return [...this.#events];
  }

  /** Adds an event. */
  add(type: UpdateEventType, { replica = undefined, message }: UpdateEventDetails): void {
    const index = this.#count++;
    this.#events.push({ index, time: Date.now(), type, replica: replica ?? null, message });
    if (this.#events.length > this.#limit) this.#events.shift();
    this.#wake();
  }

  /** Who follows need not wait any more; what is added later is kept all the same. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  /** The events from the first that is kept, then each as it comes, until the log is closed. */
  async *follow(): AsyncGenerator<UpdateEvent, void, void> {
    let next = 0;
    while (true) {
      const changed = this.#changed.promise;
      const closed = this.#closed;
      for (const event of this.events) {
        if (event.index < next) continue;
        next = event.index + 1;
        yield event;
      }
      if (next < this.#count) continue;
      if (closed) return;
      await changed;
    }
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
