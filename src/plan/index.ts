export { loadsModel } from './memory.ts';
export { planTraining, type TrainPlan } from './plan.ts';
export { runName } from './run-name.ts';
