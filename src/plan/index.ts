export { type Measurements, planTraining, type TrainPlan } from './plan.ts';
export { runName } from './run-name.ts';
