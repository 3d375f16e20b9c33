/**
 * Limits of single request fields. They bound the work and the memory of one request.
 * @module
 */

/** Prompts of one completion request. */
export const MAX_PROMPTS = 128;
/** Choices of one answer, those that `best_of` throws away included. */
export const MAX_CHOICES = 128;
/** Tokens that all choices of an answer may have together. */
export const MAX_ANSWER_TOKENS = 2 ** 22;
/** Log-probabilities of an answer: those of each token, over all choices. */
export const MAX_ANSWER_LOGPROBS = 2 ** 22;
/** Messages of one chat request. */
export const MAX_MESSAGES = 4096;
/** Content parts of one message. */
export const MAX_CONTENT_PARTS = 1024;
/** Entries of `allowed_token_ids`, whatever the vocabulary. */
export const MAX_ALLOWED_TOKEN_IDS = 2 ** 20;
/** Top log-probabilities beside each token. */
export const MAX_LOGPROBS = 20;
/** UTF-16 code units of `cache_salt`. */
export const MAX_CACHE_SALT_LENGTH = 1024;
/** Nesting of `chat_template_kwargs`. */
export const MAX_TEMPLATE_DEPTH = 4;
/** Values in `chat_template_kwargs`, nested ones included. */
export const MAX_TEMPLATE_VALUES = 64;
/** UTF-16 code units of all texts and keys in `chat_template_kwargs`. */
export const MAX_TEMPLATE_LENGTH = 16384;
