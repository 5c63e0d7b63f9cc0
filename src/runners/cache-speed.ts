import { bytes, compact, duration, grouped } from '../format.ts';
import type { CacheEvent } from './cache-events.ts';

/** Speed and time left, from the tokens computed since this process began to. */
export class CacheSpeed {
  #first: { at: number; done: number } | null = null;
  #totalBytes = 0;

  /** What there is to say after this event; `now` in milliseconds. */
  text(event: CacheEvent, now = performance.now()): string {
    if (event.kind === 'started') this.#totalBytes = event.total_bytes;
    if (event.kind !== 'stage') return event.kind === 'shard' ? `finished ${event.file}` : '';
    const { stage, message, done, total } = event;
    if (done === null || total === null) return message;
    if (stage === 'verify') return `${message}  ${bytes(done)} of ${bytes(total)}`;
    const share = `${grouped(done)} of ${grouped(total)}`;
    if (stage !== 'cache') return `${message}  ${share}`;
    this.#first ??= { at: now, done };
    const tokensPerSecond = ((done - this.#first.done) / (now - this.#first.at)) * 1000;
    const pace = tokensPerSecond > 0 ? `${compact(tokensPerSecond)} tok/s` : '';
    const left = tokensPerSecond > 0 ? `ETA ${duration((total - done) / tokensPerSecond)}` : '';
    const size = `${bytes((done / total) * this.#totalBytes)} of ${bytes(this.#totalBytes)}`;
    return [message, `${share} tokens`, pace, left, size].filter((part) => part !== '').join('  ');
  }
}
