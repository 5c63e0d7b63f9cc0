import { type PromptAnswer, promptAnswerSchema } from '../features/prompt.ts';
import type { Logger } from '../log.ts';
import { resolveBundled } from '../worker/bundled.ts';
import { requireEnvironment } from '../worker/environment.ts';
import { Worker } from '../worker/worker.ts';
import type { EvalSubject } from './eval-subjects.ts';

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
    this.#reading ??= this.#start();
    const { worker, params } = await this.#reading;
    return promptAnswerSchema.parse((await worker.call('read_prompt', { ...params, text, latent }, [])).value);
  }

  async close(): Promise<void> {
    const reading = await this.#reading?.catch(() => null);
    await reading?.worker.kill();
  }

  async #start(): Promise<Reading> {
    try {
      const { python } = await requireEnvironment();
      const { folder, released, config } = this.#subject;
      const located = await resolveBundled(config, { python, progress: (message) => this.#log.info(message) });
      const worker = await Worker.start({ python });
      void worker.ended.then(() => this.#forget());
      const sae = {
        path: folder,
        overrides: released?.overrides ?? {},
        norm_scaling_factor: released?.normScalingFactor ?? null,
        hook_name: config.hook_name,
        hook_head_index: config.hook_head_index,
      };
      return { worker, params: { config: located, device: this.#device, sae } };
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  #forget(): void {
    this.#reading = null;
  }
}
