import type { ErrorCode } from './errors.ts';

/** What an error code means and what helps, as `explain` and docs/errors.md say it. Markdown, of which only code and links are used. */
export interface ErrorText {
  readonly meaning: string;
  /** Empty where there is nothing to do. */
  readonly remedy: string;
}

/** The text of each code; the code itself and its exit code are in {@link ERROR_CODES}. */
export const ERROR_TEXTS: Readonly<Record<ErrorCode, ErrorText>> = {
  BUG: {
    meaning: 'Something happened that the program does not know.',
    remedy: 'Report it with the lines above.',
  },
  CONFIG_INVALID: {
    meaning: 'Options are unknown, have the wrong type, or contradict each other; all problems are listed.',
    remedy: 'Mend the lines named; `sae-lens-ts explain KEY` tells what an option takes.',
  },
  USAGE: {
    meaning: 'A command, flag or call does not exist or makes no sense; a run of this name has finished.',
    remedy: '`sae-lens-ts --help`; another `--name`.',
  },
  RESUME_REFUSED: {
    meaning:
      'The run cannot be continued: it is finished, its configuration or its data are no longer those it was started with, or a program fed it.',
    remedy: 'The message says which; `train --config runs/NAME/config.yaml` begins a new run.',
  },
  REGISTRY_INVALID: {
    meaning: 'The file of `--registry` is not a list of releases; the message says where.',
    remedy: '[pretrained.md](pretrained.md) shows one.',
  },
  PYTHON_NOT_FOUND: {
    meaning: 'No Python was found where the message says it was looked for.',
    remedy: 'Install Python 3.10 or newer, or name one with `SAE_LENS_TS_BASE_PYTHON`.',
  },
  PYTHON_TOO_OLD: {
    meaning: 'The Python found is older than 3.10.',
    remedy: 'Install Python 3.10 or newer, or name one with `SAE_LENS_TS_BASE_PYTHON`.',
  },
  ENVIRONMENT_MISSING: {
    meaning: 'The managed Python environment was not made yet.',
    remedy: '`sae-lens-ts setup`.',
  },
  ENVIRONMENT_BROKEN: {
    meaning: 'The interpreter named by `SAE_LENS_TS_PYTHON` does not start or lacks packages.',
    remedy: 'Unset it, or install the packages of requirements.txt there.',
  },
  SETUP_FAILED: {
    meaning: "Making the environment or fetching a bundled file failed; the log's path is in the message.",
    remedy: 'Read the log; `sae-lens-ts setup --force` begins anew.',
  },
  DEVICE_UNAVAILABLE: {
    meaning: 'A device of the configuration is not on this machine.',
    remedy: 'Choose one that the message lists; `sae-lens-ts doctor` tells why.',
  },
  MODEL_NOT_FOUND: {
    meaning: 'No local folder has this name and the hub did not give it.',
    remedy: 'Check the name; private and gated models need `HF_TOKEN`.',
  },
  MODEL_LOAD_FAILED: {
    meaning: 'The model is there and does not load.',
    remedy: 'Check its files, `model_class_name` and `model_from_pretrained_kwargs`.',
  },
  HOOK_NOT_FOUND: {
    meaning: 'The model has no such hook point; the three nearest are named.',
    remedy: '`sae-lens-ts hooks MODEL` lists them.',
  },
  HOOK_SHAPE: {
    meaning: 'The hook gives no vector for each token, or `hook_head_index` does not fit.',
    remedy: 'Choose another hook or head.',
  },
  D_IN_MISMATCH: {
    meaning: '`d_in` is not the width of the activations.',
    remedy: 'Set it to the width named, or leave it out.',
  },
  DATASET_NOT_FOUND: {
    meaning: 'No local file or folder has this name and the hub did not give it.',
    remedy: 'Check the path or name.',
  },
  DATASET_INVALID: {
    meaning: 'The dataset has no column that can be used, or rows that are too short.',
    remedy: 'Name the column with `dataset_column`, or change `context_size`.',
  },
  DATASET_EXHAUSTED: {
    meaning: 'The dataset gives no sequence, or not one batch.',
    remedy: 'Use more text or a smaller `context_size`.',
  },
  TOKENIZER_MISMATCH: {
    meaning: 'The dataset was tokenized for another model.',
    remedy: 'Use the model it was made for, or text.',
  },
  SAE_INVALID: {
    meaning:
      'A folder is no whole SAE, not what its manifest says was saved, or of an architecture this version does not have.',
    remedy: 'Give the folder that holds cfg.json and sae_weights.safetensors, as it was saved.',
  },
  RELEASE_NOT_FOUND: {
    meaning: 'No published SAE, or release of them, has this name; the nearest are named.',
    remedy: '`sae-lens-ts pretrained` lists the releases, `sae-lens-ts pretrained RELEASE` its SAEs.',
  },
  HUB: {
    meaning: 'The Hugging Face hub gave an answer that none of the rows below explains.',
    remedy: 'As the hint says.',
  },
  HUB_TOKEN: {
    meaning: 'The hub wants a token and got none, or refused the one it got; the message says where it came from.',
    remedy: '`hf auth login`, or set `HF_TOKEN`.',
  },
  HUB_FORBIDDEN: {
    meaning: 'The repository is gated, or the token may not write there.',
    remedy: 'Ask for access at the page named, or make a token that may write.',
  },
  HUB_NOT_FOUND: {
    meaning: 'No such repository, revision, folder or file; the nearest folder is named.',
    remedy: '`sae-lens-ts download REPO` lists what is there.',
  },
  HUB_CONFLICT: {
    meaning:
      'Somebody else changed the repository at the same time, or it holds something else under this name, or it is public where private was asked for.',
    remedy: 'Run the command again, or as the hint says.',
  },
  HUB_BUSY: {
    meaning: 'The hub limits how often one may ask (429), longer than it is waited for.',
    remedy: 'Try again in some minutes.',
  },
  HUB_UNREACHABLE: {
    meaning: 'The hub did not answer, was cut off, or is in trouble (5xx) after five tries.',
    remedy: '`sae-lens-ts doctor --online`; try again later.',
  },
  HUB_OFFLINE: {
    meaning: '`HF_HUB_OFFLINE` is set, and the cache lacks what is wanted or something is to be sent.',
    remedy: 'Unset it, or fetch once with a network.',
  },
  HUB_DAMAGED: {
    meaning: 'A file arrived with another size or hash than the hub announced. Nothing of it was kept.',
    remedy: 'Run the command again.',
  },
  PICKLE_REFUSED: {
    meaning: 'The weights are a pickle, which can run any code when it is read.',
    remedy: 'Use the safetensors file, or convert it where you trust it.',
  },
  NOT_FINITE: {
    meaning: 'A loss, a gradient or too many activations became NaN or infinite. The step was not made.',
    remedy: 'Lower `lr`, lengthen `lr_warm_up_steps`, or set `normalize_activations`.',
  },
  LOSS_EXPLODED: {
    meaning:
      'A loss was more than 100 times its running median, and `stop_on_loss_explosion` is set. The step was not made.',
    remedy:
      'Lower `lr`, lengthen `lr_warm_up_steps`, or look at the data of that step; without the option it is a warning.',
  },
  OUT_OF_MEMORY: {
    meaning: 'An allocation failed.',
    remedy: 'Lower the option the hint names.',
  },
  TRAINING_FAILED: {
    meaning: 'Training cannot go on, for example because `torch.compile` failed.',
    remedy: 'As the hint says.',
  },
  WORKER_START: {
    meaning: 'The Python worker did not start or refused to.',
    remedy: '`sae-lens-ts doctor`.',
  },
  WORKER_LOST: {
    meaning: 'The Python worker ended while it was needed; signal, stage and its last lines are shown.',
    remedy:
      'SIGKILL mostly means that memory ran out; where the kernel says so it is started again once, else `--max_restarts` times. Then `resume`.',
  },
  WORKER_STALLED: {
    meaning: 'The Python worker showed no progress for too long, or is stopped.',
    remedy: "Its stacks are in the run's log.jsonl.",
  },
  PROTOCOL: {
    meaning: 'A message between the processes was broken, out of order or not from us.',
    remedy: 'Report it; both halves must be of one version.',
  },
  STORAGE: {
    meaning:
      'A file could not be written, a folder is in use, or it holds what is not part of an SAE and would be replaced.',
    remedy:
      'Free space, or choose another `output_path` or `checkpoint_path`; `rescue_dir` is a second place for the end of a run.',
  },
  INTERRUPTED: {
    meaning: 'You ended it.',
    remedy: '',
  },
  TERMINATED: {
    meaning: 'SIGTERM or SIGHUP ended it.',
    remedy: '',
  },
};
