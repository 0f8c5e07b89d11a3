/**
 * An agent as a process of its own, whose tasks have all the time they want after SIGTERM. Its configuration
 * is the first argument, as JSON.
 */
import { pino } from 'pino';
import { Agent, checkAgentConfig } from '../../device/agent/index.ts';

const agent = new Agent(checkAgentConfig(JSON.parse(process.argv[2] ?? '')), pino(), {
  killAfterMs: 3_600_000,
});
process.once('SIGTERM', () => void agent.stop(0));
await agent.start();
