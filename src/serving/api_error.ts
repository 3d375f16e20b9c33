/**
 * Errors in the shape of the OpenAI API.
 * @module
 */
import { EngineDeadError, UnsupportedRequestError } from "../engine/types.ts";
import { WeightsError, type WeightsErrorReason } from "../engine/weights.ts";
import { TextError } from "../text/text_error.ts";

/** The `type` of an error, as OpenAI's clients know them. */
export type ApiErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "rate_limit_error"
  | "service_unavailable_error"
  | "server_error";

/** The body of every error answer. */
export interface ApiErrorBody {
  /** What went wrong. */
  readonly error: {
    /** One sentence. */
    readonly message: string;
    /** Kind of error. */
    readonly type: ApiErrorType;
    /** The field of the request that is at fault, or null. */
    readonly param: string | null;
    /** A word for programs, or null. */
    readonly code: string | null;
  };
}

/** Options of {@linkcode ApiError}. */
export interface ApiErrorOptions {
  /** HTTP status. */
  readonly status: number;
  /** The field of the request that is at fault. */
  readonly param?: string | null;
  /** A word for programs. */
  readonly code?: string | null;
  /** Headers of the answer beside the content type. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error that is answered to the client as it is. */
export class ApiError extends Error {
  /** HTTP status. */
  readonly status: number;
  /** The field of the request that is at fault, or null. */
  readonly param: string | null;
  /** A word for programs, or null. */
  readonly code: string | null;
  /** Headers of the answer beside the content type. */
  readonly headers: Readonly<Record<string, string>>;

  /** Carries a status and the field at fault. */
  constructor(message: string, options: ApiErrorOptions) {
    super(message);
    this.name = "ApiError";
    this.status = options.status;
    this.param = options.param ?? null;
    this.code = options.code ?? null;
    this.headers = options.headers ?? {};
  }

  /** The body of the answer. */
  get body(): ApiErrorBody {
    const { message, param, code } = this;
    return { error: { message, type: typeOfStatus(this.status), param, code } };
  }

  /** The answer. */
  get response(): Response {
    return Response.json(this.body, { status: this.status, headers: this.headers });
  }
}

/** A 400 that names the field at fault. */
export function badRequest(message: string, param: string | null, code?: string): ApiError {
  return new ApiError(message, { status: 400, param, code });
}

const WEIGHTS_ERRORS: Readonly<
  Record<WeightsErrorReason, readonly [status: number, code: string]>
> = {
  invalid: [400, "invalid_weights"],
  conflict: [409, "weights_conflict"],
  failed: [500, "update_failed"],
  memory: [507, "insufficient_memory"],
};

/** What to answer for an error of the engine or the tokenizer; null when the error is unexpected. */
export function toApiError(error: unknown): ApiError | null {
  if (error instanceof ApiError) return error;
  if (error instanceof UnsupportedRequestError) {
    // The engine names its own parameters: maxTokens is max_tokens here.
    const param = error.param?.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) ?? null;
    return badRequest(error.message, param);
  }
  if (error instanceof EngineDeadError) {
    return new ApiError(error.message, { status: 503, code: "engine_dead" });
  }
  if (error instanceof WeightsError) {
    const [status, code] = WEIGHTS_ERRORS[error.reason];
    return new ApiError(error.message, { status, code });
  }
  if (error instanceof TextError) {
    return new ApiError(error.message, { status: 503, code: "text_unavailable" });
  }
  return null;
}

/** What is answered for an unexpected error: its message may hold what clients should not see. */
export function internalError(): ApiError {
  return new ApiError("Cannot serve the request as the server failed", { status: 500 });
}

function typeOfStatus(status: number): ApiErrorType {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  if (status === 503) return "service_unavailable_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}
