export { Agent, type AgentEnd, type AgentParts } from './agent.ts';
export {
  type AgentConfig,
  AgentConfigError,
  checkAgentConfig,
  loadAgentConfig,
  type SyncConfig,
  type TaskConfig,
} from './config.ts';
