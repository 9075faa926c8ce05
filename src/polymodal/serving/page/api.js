// Requests to the server that the page came from, and what can go wrong with them.

const KEY = "polymodal-api-key";
let apiKey = rememberedKey();

function rememberedKey() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

/** Use an API key for all requests, until the tab is closed. */
export function setApiKey(key) {
  apiKey = key;
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // storage is blocked: the key lasts until the page is closed
  }
}

const IN_CELL = /^Row (\d+), column '(.+?)': /;

/** A request that failed: `status` 0 means that no server answered. */
export class RequestError extends Error {
  constructor(status, sentence, { field = null, row = null, retryAfter = null, requestId = null } = {}) {
    super(sentence);
    Object.assign(this, { status, field, row, retryAfter, requestId });
  }

  /** The sentence without the place at its beginning, for a reader who sees the place. */
  get reason() {
    const reason = this.message.replace(IN_CELL, "");
    return reason.charAt(0).toUpperCase() + reason.slice(1);
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * Ask the server: GET without a body, POST of JSON with one.
 *
 * Addresses are relative to the page, so that it works behind a proxy's path too.
 */
export async function ask(path, body = undefined, signal = undefined) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (apiKey) headers.Authorization = `Bearer ${apiKey}`;
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(0, "");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw failure(response, answer);
  if (answer === null) throw new RequestError(502, "");
  return answer;
}

/** The error of a refusal; its sentence begins with the cell, "Row 3, column 'age': ...", where one is wrong. */
function failure(response, answer) {
  const seconds = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const sentence = typeof answer?.error === "string" ? answer.error : "";
  const place = IN_CELL.exec(sentence);
  return new RequestError(response.status, sentence, {
    field: answer?.field ?? place?.[2] ?? null,
    row: answer?.row ?? (place ? Number(place[1]) : null),
    retryAfter: Number.isFinite(seconds) ? seconds : null,
    requestId: answer?.request_id ?? response.headers.get("X-Request-ID"),
  });
}
