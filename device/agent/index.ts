export { Agent } from './agent.ts';
export { type AgentConfig, AgentConfigError, checkAgentConfig } from './config.ts';
