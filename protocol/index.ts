export * from './close-codes.ts';
export * from './codec.ts';
export * from './execution-states.ts';
export * from './limits.ts';
export * from './messages.ts';
export * from './signing.ts';
export * from './tunnels.ts';
