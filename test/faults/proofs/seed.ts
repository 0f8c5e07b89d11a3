/**
 * What varies from one play of a proof to the next. `npm run test:faults -- --mutate` gives the seed; a plain
 * test run has 1.
 */
import { Random } from '../random.ts';

export const random = new Random(`proof ${process.env.FAULTS_SEED ?? '1'}`);
