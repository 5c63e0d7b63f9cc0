import { SaeLensError } from '../errors.ts';
import { type PromptAnswer, promptAnswerSchema } from '../features/prompt.ts';
import type { Logger } from '../log.ts';
import { resolveBundled } from '../worker/bundled.ts';
import { requireEnvironment } from '../worker/environment.ts';
import { Worker } from '../worker/worker.ts';
import { type EvalSubject, evaluatedFolder } from './eval-subjects.ts';

interface Reading {
  readonly worker: Worker;
  /** What does not change from prompt to prompt. */
  readonly params: Record<string, unknown>;
}

/** Reads prompts in a worker that keeps its language model and its SAE; one that is lost is started anew. */
export class PromptReader {
  readonly #subject: EvalSubject;
  readonly #device: string;
  readonly #log: Logger;
  #reading: Promise<Reading> | null = null;

  constructor(subject: EvalSubject, device: string, log: Logger) {
    this.#subject = subject;
    this.#device = device;
    this.#log = log;
  }

  /**
   * @param latent whose activation on every token is wanted
   * @throws SaeLensError WORKER_LOST, OUT_OF_MEMORY, MODEL_…, D_IN_MISMATCH, ENVIRONMENT_MISSING
   */
  async read(text: string, latent: number | null): Promise<PromptAnswer> {
    try {
      return await this.#ask(text, latent);
    } catch (error) {
      // It may have been gone before this prompt, and nobody had noticed. A prompt changes nothing: it can be read again.
      if (!(error instanceof SaeLensError) || error.code !== 'WORKER_LOST' || error.details.outOfMemory) throw error;
      return this.#ask(text, latent);
    }
  }

  async close(): Promise<void> {
    const reading = await this.#reading?.catch(() => null);
    await reading?.worker.kill();
  }

  async #ask(text: string, latent: number | null): Promise<PromptAnswer> {
    const reading = this.#current();
    const { worker, params } = await reading;
    const call = worker.call('read_prompt', { ...params, text, latent }, []);
    // A worker says that it ended later than its call fails.
    await call.catch((error: SaeLensError) => error.code === 'WORKER_LOST' && this.#forget(reading));
    return promptAnswerSchema.parse((await call).value);
  }

  #current(): Promise<Reading> {
    if (this.#reading !== null) return this.#reading;
    const reading = this.#start();
    const forget = (): void => this.#forget(reading);
    void reading.then(({ worker }) => worker.ended).then(forget, forget);
    this.#reading = reading;
    return reading;
  }

  async #start(): Promise<Reading> {
    const { python } = await requireEnvironment();
    const located = await resolveBundled(this.#subject.config, {
      python,
      progress: (message) => this.#log.info(message),
    });
    const worker = await Worker.start({ python });
    return { worker, params: { config: located, device: this.#device, sae: evaluatedFolder(this.#subject) } };
  }

  /** Not one that has taken its place meanwhile: nobody would end it. */
  #forget(reading: Promise<Reading>): void {
    if (this.#reading === reading) this.#reading = null;
  }
}
