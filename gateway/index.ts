/** What others may use of the gateway; composed by `cli/`. */
export {
  DEFAULT_METRICS_PORT,
  DEFAULT_PUSH_PORT,
  GATEWAY_DEFAULTS,
  type GatewayConfig,
  GatewayConfigError,
  type GatewayConfigInput,
  parseGatewayConfig,
} from './config.ts';
export { PortUnavailable } from './push-server.ts';
export { GatewayWorker, type GatewayWorkerParts, type StopOptions } from './worker.ts';
