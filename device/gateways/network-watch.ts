/**
 * Calls `changed` whenever the device's network has become another, until the function it returns is called.
 */
export type NetworkWatch = (changed: () => void) => () => void;
