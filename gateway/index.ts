/** What others may use of the gateway; composed by `cli/`. */
export {
  type GatewayConfig,
  GatewayConfigError,
  type GatewayConfigInput,
  parseGatewayConfig,
} from './config.ts';
export { PortUnavailable } from './listen/port-probe.ts';
export { superviseWorker } from './supervisor/supervise-worker.ts';
export { Supervisor } from './supervisor/supervisor.ts';
export { GatewayWorker } from './worker.ts';
