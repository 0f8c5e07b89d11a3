import { test } from 'uvu';
import { formRules } from './rules.ts';

formRules({ bus: 'memory' });
test.run();
