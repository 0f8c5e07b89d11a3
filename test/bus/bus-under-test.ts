import type { Bus } from '../../bus/bus.ts';

export interface BusUnderTest {
  /** A started bus with nothing in it. */
  fresh(): Promise<Bus>;
  /** One that was not started. */
  unstarted(): Bus;
  /** Ends whatever the buses ran on. */
  close(): Promise<void>;
}

/** Registers the rule `title`; `body` gets a fresh bus, which is stopped afterwards. */
export type Rule = (title: string, body: (bus: Bus) => Promise<void>) => void;
