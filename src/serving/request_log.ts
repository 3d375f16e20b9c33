/**
 * Names of requests, and a record of each that was answered.
 * @module
 */
import type { Env, Hono } from "hono";

/** A request that has been answered. */
export interface RequestRecord {
  /** Its name: the header `X-Request-Id`, of the request where it brought a usable one, and of the answer. */
  readonly requestId: string;
  /** Its method. */
  readonly method: string;
  /** Its path without the query. */
  readonly path: string;
  /** Status of the answer. */
  readonly status: number;
  /** Time from its arrival to the last byte of the answer, in seconds. */
  readonly seconds: number;
}

/** The header that names a request. */
export const REQUEST_ID_HEADER = "x-request-id";

/** What a name may look like that a client gives: it goes into headers and logs as it is. */
const USABLE = /^[\w.:=+/@-]{1,128}$/;

interface Entry {
  readonly id: string;
  readonly arrival: number;
  /** Null until the answer has begun. */
  status: number | null;
  /** The answer is known to go on when its headers have left. */
  goesOn: boolean;
}

/** The requests of one app. */
export class RequestLog {
  readonly #entries = new WeakMap<Request, Entry>();
  readonly #onRequest: (record: RequestRecord) => void;

  /** Tells `onRequest` of every request that has been answered. */
  constructor(onRequest: (record: RequestRecord) => void = () => {}) {
    this.#onRequest = onRequest;
  }

  /** Names every request to `app`, whatever becomes of it. To be called before anything else is added. */
  watch<E extends Env>(app: Hono<E>): void {
    app.use(async (c, next) => {
      const { raw } = c.req;
      const entry: Entry = {
        id: nameOf(raw),
        arrival: performance.now(),
        status: null,
        goesOn: false,
      };
      this.#entries.set(raw, entry);
      await next();
      c.res.headers.set(REQUEST_ID_HEADER, entry.id);
      entry.status = c.res.status;
      if (!entry.goesOn) this.#tell(raw, entry);
    });
  }

  /** Name of a request that is being answered. */
  idOf(request: Request): string {
    return this.#entries.get(request)?.id ?? nameOf(request);
  }

  /** The answer to `request` has not ended before what is returned is disposed. */
  hold(request: Request): Disposable {
    const entry = this.#entries.get(request);
    if (entry === undefined) return { [Symbol.dispose]() {} };
    entry.goesOn = true;
    return {
      [Symbol.dispose]: () => {
        if (!entry.goesOn) return;
        entry.goesOn = false;
        if (entry.status !== null) this.#tell(request, entry);
      },
    };
  }

  #tell({ method, url }: Request, { id, arrival, status }: Entry): void {
    this.#onRequest({
      requestId: id,
      method,
      path: new URL(url).pathname,
      status: status!,
      seconds: (performance.now() - arrival) / 1000,
    });
  }
}

function nameOf({ headers }: Request): string {
  const given = headers.get(REQUEST_ID_HEADER);
  return given !== null && USABLE.test(given) ? given : crypto.randomUUID().replaceAll("-", "");
}
