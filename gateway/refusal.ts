/** Why a client is refused before the upgrade, and after how many seconds it may try again. */
export interface Refusal {
  reason: string;
  retryAfterSeconds: number;
  /** Value of the header `Pushpoint-Gateways`: alternate gateways (C-5). */
  gateways?: string;
}
