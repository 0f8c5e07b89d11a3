import { test } from 'uvu';
import { formRules } from './rules.ts';

formRules({ bus: 'redis', store: 'postgres' });
test.run();
