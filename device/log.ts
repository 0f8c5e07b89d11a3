/** What the SDK logs to; pino loggers fit. Nothing per message is logged above `debug`. */
export interface DeviceLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const nothing = () => {};
export const silent: DeviceLog = { debug: nothing, info: nothing, warn: nothing, error: nothing };
