import type { Success } from './success.ts';
import type { World } from './world.ts';

/** One attack with its victims. */
export interface Scene {
  /** Resolves once the attacker has done it. */
  attack(): Promise<void>;
  /**
   * The way the attack took works for those who may take it, and what they do comes after the attack: so it
   * would be seen by now. Rejects otherwise.
   */
  control(): Promise<void>;
  judge(): Promise<Success>;
}

export interface Attack {
  name: string;
  /** Who attacks: with Redis, a stolen gateway, or a place on the way to the administration server. */
  by: 'redis' | 'gateway' | 'network';
  /** Rules of PROTOCOL.md that stand against it. */
  rules: string;
  /** What the attacker has and does. */
  title: string;
  stage(world: World): Promise<Scene>;
}
