import type { ResolvedConfig } from '../config/resolved.ts';
import { configsOf } from '../config/several.ts';
import { bytes, grouped } from '../format.ts';
import type { TrainPlan } from '../plan/index.ts';
import type { MeasuredSpeed } from '../runners/measured-speed.ts';
import type { TrainingPreview } from '../runners/training-preview.ts';

function everyText({ checkpoint_every: every, keep_checkpoints: kept }: ResolvedConfig): string {
  if (every === null) return '';
  return ` and one every ${typeof every === 'number' ? `${grouped(every)} tokens` : every}, the newest ${kept} kept`;
}

/** What will happen, before it happens. */
export function planText(config: ResolvedConfig, { name, paths, plan, speed, wandb }: TrainingPreview): string {
  const { sae } = config;
  const several = Object.entries(plan.saes ?? {});
  const parts = [
    ...(several.length > 0 ? [] : scheduleText(plan)),
    `checkpoints ${plan.checkpointsAtSamples.length}${everyText(config)}`,
    `evaluations ${plan.evaluations}`,
  ];
  const subject = `${config.model_name} · ${config.hook_name}`;
  const dIn = sae.d_in === null ? 'd_in of the model' : grouped(sae.d_in);
  const lines: [string, string][] = [
    ['run', several.length > 0 ? `${subject} · ${several.length} SAEs` : `${subject} · ${saeText(config, dIn)}`],
    ...several.map(([one, of]): [string, string] => {
      const own = configsOf(config).get(one) as ResolvedConfig;
      const weights = of.memory === null ? [] : [`weights ${bytes(of.memory.weightBytes)}`];
      return ['sae', [one, saeText(own, dIn), `lr ${own.lr}`, ...scheduleText(of), ...weights].join(' · ')];
    }),
    ['name', name],
    ['folder', paths.output.startsWith(paths.folder) ? paths.folder : `${paths.folder} · the SAE in ${paths.output}`],
    [
      'data',
      `${config.cached_activations_path ?? config.dataset_path} · ${grouped(config.training_tokens)} tokens · context ${config.context_size} · ` +
        `buffer ${grouped(plan.bufferRows)} activations`,
    ],
    ['device', deviceText(config)],
    ['W&B', wandbText(config, wandb)],
    ['steps', `${grouped(plan.totalSteps)}   ${parts.join(' · ')}`],
    ['memory', memoryText(plan)],
    ['disk', diskText(plan)],
    ['time', timeText(plan, speed)],
  ];
  return lines.map(([title, text]) => ` ${title.padEnd(8)} ${text}`).join('\n');
}

function saeText({ sae }: ResolvedConfig, dIn: string): string {
  const latents = sae.d_sae === null ? `${sae.expansion_factor} × d_in` : grouped(sae.d_sae);
  const kind = 'k' in sae ? `${sae.architecture} k=${sae.k}` : sae.architecture;
  return `${kind} · ${dIn} → ${latents} latents`;
}

function scheduleText(plan: TrainPlan): string[] {
  return [
    plan.lrWarmUpSteps > 0 ? `warm-up ${grouped(plan.lrWarmUpSteps)}` : '',
    plan.sparsityWarmUpSteps > 0 ? `sparsity warm-up ${grouped(plan.sparsityWarmUpSteps)}` : '',
    plan.lrDecayStartStep === null ? '' : `decay from ${grouped(plan.lrDecayStartStep)}`,
  ].filter((part) => part !== '');
}

/** The device of all, and where a part has another one. */
function deviceText({ device, llm_device, act_store_device, sae, dtype }: ResolvedConfig): string {
  const parts = { 'language model': llm_device, buffer: act_store_device, SAE: sae.device };
  const others = Object.entries(parts).filter(([, of]) => of !== device);
  const named = device === 'auto' ? 'auto (the best this machine has)' : device;
  return [named, ...others.map(([part, of]) => `${part} on ${of}`), dtype].join(' · ');
}

function wandbText({ logger }: ResolvedConfig, mode: string): string {
  if (mode === 'off') return 'off';
  const { wandb_entity, wandb_project, run_name } = logger;
  const how = mode === 'offline' ? 'offline (no key, or told so): `wandb sync` uploads it later' : mode;
  return `${wandb_entity === null ? '' : `${wandb_entity}/`}${wandb_project} · ${run_name} · ${how}`;
}

function timeText({ durationSeconds }: TrainPlan, speed: MeasuredSpeed | null): string {
  if (durationSeconds === null || speed === null) return 'not known: no run of this kind was made on this machine yet';
  const minutes = Math.max(1, Math.round(durationSeconds / 60));
  const length = minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `about ${length} at ${grouped(speed.tokensPerSecond)} tokens/s (seen here on ${speed.on})`;
}

function memoryText({ memory }: TrainPlan): string {
  if (memory === null) return 'not known before the model is loaded: set d_in to see it here';
  const { modelBytes } = memory;
  const copy = memory.checkpointBytes === 0 ? '' : ` · copy for a checkpoint ${bytes(memory.checkpointBytes)}`;
  const model = modelBytes === null ? '' : modelBytes === 0 ? ' · no model' : ` · model ${bytes(modelBytes)}`;
  return (
    `weights ${bytes(memory.weightBytes)} · gradients ${bytes(memory.gradientBytes)} · ` +
    `optimizer ${bytes(memory.optimizerBytes)} · buffer ${bytes(memory.bufferBytes)} · latents ${bytes(memory.latentBytes)}${copy}${model}   ` +
    `total ${bytes(memory.totalBytes)}${modelBytes === null ? ' and the model, whose size is not known yet' : ''}`
  );
}

function diskText({ disk }: TrainPlan): string {
  if (disk.savedBytes === null) return 'not known before the model is loaded: set d_in to see it here';
  const { nResumable, stateBytes } = disk;
  const state = nResumable === 0 || stateBytes === null ? '' : ` · ${nResumable} × ${bytes(stateBytes)} to resume from`;
  return `${disk.nSaved} × ${bytes(disk.savedBytes)}${state}   total ${bytes(disk.totalBytes)}`;
}
