/** Without taking a single byte for so long a storage counts as dead; a slow one is left alone. */
const STALL_DEADLINE_MS = 60_000;
/** For the answer to a question, when everything has been sent: a commit of many files takes its time. */
const ANSWER_DEADLINE_MS = 300_000;

/** Told of each part that was taken: the file's path and the bytes of all files so far. */
export type OnSent = (path: string, sentBytes: number) => void;

/** `fetch` that counts the bytes of files on their way, and gives up on a storage that takes no more of them. */
export function sendCounted(onSent: OnSent): typeof globalThis.fetch {
  let sentBytes = 0;
  return async (input, init) => {
    const { body, signal } = init ?? {};
    // The hub's client says with each file to which path its bytes belong.
    const path = (init as { progressHint?: { path?: string } } | undefined)?.progressHint?.path;
    const watch = new Watch(signal ?? undefined);
    let sent = 0;
    let isOver = false;
    const counted =
      path !== undefined && body instanceof Blob
        ? countedBlob(body, (bytes) => {
            // A file goes on being read for a moment when its request is over.
            if (isOver) return;
            watch.expect(STALL_DEADLINE_MS);
            sent += bytes;
            sentBytes += bytes;
            if (sent === body.size) watch.expect(ANSWER_DEADLINE_MS);
            onSent(path, sentBytes);
          })
        : body;
    try {
      watch.expect(counted === body ? ANSWER_DEADLINE_MS : STALL_DEADLINE_MS);
      const response = await fetch(input, { ...init, ...(counted ? { body: counted } : {}), signal: watch.signal });
      if (!response.ok) sentBytes -= sent;
      return response;
    } catch (error) {
      sentBytes -= sent;
      throw error;
    } finally {
      isOver = true;
      watch.end();
    }
  };
}

/** Ends a request when what was expected of it did not come in time, or when its owner ends it. */
class Watch {
  readonly #controller = new AbortController();
  readonly #owner: AbortSignal | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #stop = (): void => this.#controller.abort(this.#owner?.reason);

  constructor(owner: AbortSignal | undefined) {
    this.#owner = owner;
    if (owner?.aborted) this.#stop();
    owner?.addEventListener('abort', this.#stop);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  expect(withinMs: number): void {
    clearTimeout(this.#timer);
    const giveUp = (): void => this.#controller.abort(new Error(`no progress for ${withinMs / 1000} s`));
    this.#timer = setTimeout(giveUp, withinMs);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#owner?.removeEventListener('abort', this.#stop);
  }
}

/** The same bytes; tells of each part when it is taken. */
function countedBlob(blob: Blob, onPart: (bytes: number) => void): Blob {
  const stream = (): ReadableStream<Uint8Array> =>
    blob.stream().pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          onPart(chunk.length);
          controller.enqueue(chunk);
        },
      }),
    );
  return Object.defineProperties(new Blob([]), { size: { value: blob.size }, stream: { value: stream } });
}
