/** What others may use of the gateway; composed by `cli/`. */
export {
  type GatewayConfig,
  GatewayConfigError,
  type GatewayConfigInput,
  parseGatewayConfig,
} from './config.ts';
export { PortUnavailable } from './port-probe.ts';
export { GatewayWorker } from './worker.ts';
