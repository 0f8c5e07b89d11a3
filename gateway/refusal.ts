/** Why a newcomer is refused before the upgrade, and after how many seconds it may try again. */
export interface Refusal {
  reason: string;
  retryAfterSeconds: number;
  /** Value of the header `Pushpoint-Gateways`: where else to go (C-5). */
  gateways?: string;
}
