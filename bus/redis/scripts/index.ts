import { acquireLease } from './acquire-lease.ts';
import { appendDeliveries } from './append-deliveries.ts';
import { appendReceipts } from './append-receipts.ts';
import { askToJoin } from './ask-to-join.ts';
import { beginDirectory } from './begin-directory.ts';
import { buryReceipts } from './bury-receipts.ts';
import { claimPresence } from './claim-presence.ts';
import { correctEpoch } from './correct-epoch.ts';
import { dropReceipts } from './drop-receipts.ts';
import { extendLease } from './extend-lease.ts';
import { finishDirectory } from './finish-directory.ts';
import { forgetConsumers } from './forget-consumers.ts';
import { heard } from './heard.ts';
import { holdInstallation } from './hold-installation.ts';
import { leaveReceipts } from './leave-receipts.ts';
import { lookDirectory } from './look-directory.ts';
import { oldestReceipts } from './oldest-receipts.ts';
import { raiseEpoch } from './raise-epoch.ts';
import { readOutbox } from './read-outbox.ts';
import { receiptsProgress } from './receipts-progress.ts';
import { releasePresence } from './release-presence.ts';
import { setGateways } from './set-gateways.ts';
import { sweepDirectory } from './sweep-directory.ts';
import { writeDirectory } from './write-directory.ts';

export const SCRIPTS = {
  acquireLease,
  appendDeliveries,
  appendReceipts,
  askToJoin,
  beginDirectory,
  buryReceipts,
  claimPresence,
  correctEpoch,
  dropReceipts,
  extendLease,
  finishDirectory,
  forgetConsumers,
  heard,
  holdInstallation,
  leaveReceipts,
  lookDirectory,
  oldestReceipts,
  raiseEpoch,
  readOutbox,
  receiptsProgress,
  releasePresence,
  setGateways,
  sweepDirectory,
  writeDirectory,
};
