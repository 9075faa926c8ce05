// A table sent to the server in chunks: refused rows are set aside with their reason, a busy server is waited for.
import { ask, RequestError } from "./api.js";

const FIRST_ROWS = 16; // the first chunk, so that progress shows at once
const MOST_ROWS = 128;
const BODY_SHARE = 0.8; // of the largest body that the server reads
const TRIES = 6;
const LONGEST_WAIT_S = 30;

/** A run over rows `{column: cell}`; `answers[i]` is `{row}` of the server or `{problem, field}` of row i. */
export class BatchRun {
  constructor(rows, { coverage, limits = {} }) {
    this.rows = rows;
    this.coverage = coverage;
    this.limits = limits;
    this.answers = new Array(rows.length).fill(null);
    this.next = 0;
    this.notices = new Set();
    this.stopping = new AbortController();
  }

  stop() {
    this.stopping.abort();
  }

  /** Send what was not sent yet. Rejects where the server does not answer; call it again to go on. */
  async run({ progress, waiting }) {
    this.stopping = new AbortController();
    let size = Math.min(FIRST_ROWS, this.limits.max_rows ?? FIRST_ROWS);
    while (this.next < this.rows.length) {
      const chunk = await this.takeChunk(size);
      await this.sendChunk(chunk, waiting);
      this.next += chunk.length;
      progress(this.next, this.rows.length);
      size = Math.min(2 * size, this.limits.max_rows ?? MOST_ROWS, MOST_ROWS);
    }
  }

  /** The next rows, with their files read, as many as fit into one body. */
  async takeChunk(size) {
    const most = BODY_SHARE * (this.limits.max_body_bytes ?? Infinity);
    const chunk = [];
    let bytes = 0;
    for (let place = this.next; place < Math.min(this.next + size, this.rows.length); place += 1) {
      const row = await readRow(this.rows[place]);
      bytes += JSON.stringify(row).length;
      if (chunk.length && bytes > most) break;
      chunk.push({ place, row });
    }
    return chunk;
  }

  async sendChunk(chunk, waiting) {
    if (!chunk.length) return;
    try {
      const body = { rows: chunk.map(({ row }) => row), ...(this.coverage ? { coverage: this.coverage } : {}) };
      const answer = await this.askPatiently(body, waiting);
      chunk.forEach(({ place }, at) => {
        this.answers[place] = { row: answer.rows[at] };
      });
      for (const notice of answer.notices ?? [])
        this.notices.add(typeof notice === "string" ? notice : JSON.stringify(notice));
    } catch (error) {
      if (!(error instanceof RequestError) || error.isTemporary || error.status === 401 || error.status === 403)
        throw error;
      await this.setAside(chunk, error, waiting);
    }
  }

  /** Keep the reason of the refused row and send the others; where no row is named, send halves. */
  async setAside(chunk, error, waiting) {
    const named = error.row >= 1 && error.row <= chunk.length ? error.row - 1 : null;
    if (chunk.length === 1 || named !== null) {
      const refused = named ?? 0;
      this.answers[chunk[refused].place] = { problem: error.field ? `${error.field}: ${error.reason}` : error.reason };
      return this.sendChunk(
        chunk.filter((_, at) => at !== refused),
        waiting,
      );
    }
    const middle = Math.ceil(chunk.length / 2);
    await this.sendChunk(chunk.slice(0, middle), waiting);
    return this.sendChunk(chunk.slice(middle), waiting);
  }

  async askPatiently(body, waiting) {
    for (let trial = 1; ; trial += 1) {
      try {
        const answer = await ask("predict", body, this.stopping.signal);
        if (trial > 1) waiting(null);
        return answer;
      } catch (error) {
        if (!(error instanceof RequestError) || ![429, 503].includes(error.status) || trial === TRIES) throw error;
        const seconds = Math.min(error.retryAfter ?? 2 ** (trial - 1), LONGEST_WAIT_S);
        waiting(seconds);
        await pause(seconds, this.stopping.signal);
      }
    }
  }
}

/** Read the files among the cells of a row: functions that promise a cell. */
async function readRow(row) {
  const read = {};
  for (const [column, cell] of Object.entries(row)) read[column] = typeof cell === "function" ? await cell() : cell;
  return read;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}
