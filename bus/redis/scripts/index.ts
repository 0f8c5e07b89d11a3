import { acquireLease } from './acquire-lease.ts';
import { appendDeliveries } from './append-deliveries.ts';
import { appendReceipts } from './append-receipts.ts';
import { buryReceipts } from './bury-receipts.ts';
import { claimPresence } from './claim-presence.ts';
import { dropReceipts } from './drop-receipts.ts';
import { extendLease } from './extend-lease.ts';
import { forgetConsumers } from './forget-consumers.ts';
import { heard } from './heard.ts';
import { leaveReceipts } from './leave-receipts.ts';
import { oldestReceipts } from './oldest-receipts.ts';
import { readOutbox } from './read-outbox.ts';
import { receiptsProgress } from './receipts-progress.ts';
import { releasePresence } from './release-presence.ts';

export const SCRIPTS = {
  acquireLease,
  appendDeliveries,
  appendReceipts,
  buryReceipts,
  claimPresence,
  dropReceipts,
  extendLease,
  forgetConsumers,
  heard,
  leaveReceipts,
  oldestReceipts,
  readOutbox,
  receiptsProgress,
  releasePresence,
};
