import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE, encodeGatewayMessage } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { connectDevice, directoryDevice, prove, RawDevice } from './raw-device.ts';
import { type Rig, ROOT, withRig } from './rig.ts';

const config = { leaseTtlMs: 300 };

/** Ends the worker's lease behind its back, as an expiry would; resolves when it has the next. */
async function loseLease(rig: Rig): Promise<string> {
  const before = await rig.incarnation();
  await rig.bus.inner.leases.release(before);
  return waitFor(async () => {
    const after = await rig.incarnation();
    return after !== before && after;
  });
}

test('a worker that lost its lease claims its sessions again, with new numbers, and says so', () =>
  withRig({ config }, async (rig) => {
    const identity = await rig.enrol();
    const { device, session } = await connectDevice(rig.url, identity);
    const before = await rig.incarnation();
    const incarnation = await loseLease(rig);
    const again = await rig.receipt('connected', (receipt) => receipt.incarnation === incarnation);
    assert.ok(again.session > session);
    assert.equal(
      [again.device, again.software, again.caps, again.membership],
      [identity.id, 'raw-device 1', ['sync'], [1, 1]],
    );
    await rig.receipt('outbox-lost', (receipt) => receipt.incarnation === before);
    assert.equal(await rig.bus.presence.locate([identity.id]), [{ incarnation, session: again.session }]);
    assert.is(device.closing, null);
    const frame = encodeGatewayMessage({ t: 'settled', id: 'c1', state: 'succeeded' });
    await rig.bus.outboxes.append(incarnation, [{ devices: [identity.id], frame }]);
    await device.take('settled');
    await device.close();
    assert.is((await rig.receipt('disconnected')).session, again.session);
    await waitFor(async () => (await rig.bus.presence.locate([identity.id]))[0] === null);
  }));

test('in a new epoch a worker reports its sessions again: a restored ledger does not know them', () =>
  withRig({ config }, async (rig) => {
    const identity = await rig.enrol();
    const { device, session } = await connectDevice(rig.url, identity);
    const before = await rig.incarnation();
    const { owner } = rig.bus.inner;
    const installation = owner.current;
    assert.ok(installation);
    await owner.claim({ ...installation, epoch: installation.epoch + 1 });
    const again = await rig.receipt('connected', (receipt) => receipt.incarnation !== before);
    assert.ok(again.session > session);
    await rig.receipt('outbox-lost', (receipt) => receipt.incarnation === before);
    const { incarnation } = again;
    assert.equal(await rig.bus.presence.locate([identity.id]), [{ incarnation, session: again.session }]);
    assert.equal(
      (await rig.bus.leases.list()).map((lease) => lease.incarnation),
      [incarnation],
    );
    assert.is(device.closing, null);
  }));

test('H-9: of the sessions claimed again, those that a newer session took close with replaced', () =>
  withRig({ config }, async (rig) => {
    const kept = await connectDevice(rig.url, await rig.enrol());
    const identity = await rig.enrol();
    const lost = await connectDevice(rig.url, identity);
    // A worker elsewhere takes the device; its close for this worker goes to an outbox nobody reads any more.
    const elsewhere = await rig.bus.leases.acquire(
      { ...((await rig.bus.leases.list())[0]?.identity as never as object), worker: 'gw2/0' } as never,
      { connections: 0, limit: 10, revision: 0, admissionRate: 0, bufferedBytes: 0, memoryBytes: 0, cpu: 0 },
      60_000,
    );
    await rig.bus.presence.claim(elsewhere, [{ device: identity.id }]);
    await loseLease(rig);
    assert.is((await lost.device.closed()).code, CLOSE.replaced);
    assert.is(kept.device.closing, null);
    assert.is((await rig.bus.presence.locate([identity.id]))[0]?.incarnation, elsewhere);
  }));

test('devices blocked, deleted or moved while the lease was lost are not claimed again', () =>
  withRig({ config }, async (rig) => {
    const [blocked, deleted, moved] = [await rig.enrol(), await rig.enrol(), await rig.enrol()];
    const connected = [];
    for (const identity of [blocked, deleted, moved]) connected.push(await connectDevice(rig.url, identity));
    await rig.bus.directory.putDevices([
      directoryDevice(blocked, [ROOT], { state: 'blocked' }),
      directoryDevice(moved, ['elsewhere']),
    ]);
    await rig.bus.directory.removeDevices([deleted.id]);
    await loseLease(rig);
    const codes = await Promise.all(connected.map(async ({ device }) => (await device.closed()).code));
    assert.equal(codes, [CLOSE.blocked, CLOSE.unknownDevice, CLOSE.outOfScope]);
    await connected[2]?.device.take('redirect');
  }));

test('a lease lost twice in a row, with bus failures in between, still leaves every session claimed', () =>
  withRig({ config }, async (rig) => {
    const identities = await Promise.all(Array.from({ length: 20 }, () => rig.enrol()));
    await Promise.all(identities.map((identity) => connectDevice(rig.url, identity)));
    const { claim } = rig.bus.inner.presence;
    let failures = 3;
    rig.bus.inner.presence.claim = async (...args) => {
      const outcome = await claim.apply(rig.bus.inner.presence, args);
      // The claim is made and its answer lost.
      if (failures-- > 0) throw new Error('the answer was lost');
      return outcome;
    };
    await loseLease(rig);
    const incarnation = await loseLease(rig);
    rig.bus.inner.presence.claim = claim;
    await waitFor(async () => {
      const holders = await rig.bus.presence.locate(identities.map(({ id }) => id));
      return holders.every((holder) => holder?.incarnation === incarnation);
    });
    await waitFor(() => {
      const sessions = rig.receipts.filter(
        (receipt) => receipt.kind === 'connected' && receipt.incarnation === incarnation,
      );
      return sessions.length === 20;
    });
    assert.is(rig.worker.sessions, 20);
  }));

test('a device whose admission was under way when the lease was lost is claimed under the new one', () =>
  withRig({ config }, async (rig) => {
    const identity = await rig.enrol();
    const { claim } = rig.bus.inner.presence;
    rig.bus.inner.presence.claim = async (...args) => {
      rig.bus.inner.presence.claim = claim;
      const outcome = await claim.apply(rig.bus.inner.presence, args);
      await loseLease(rig);
      return outcome;
    };
    const device = new RawDevice(rig.url);
    await prove(device, identity);
    const { session } = await device.take('welcome');
    const [holder] = await rig.bus.presence.locate([identity.id]);
    assert.equal(holder, { incarnation: await rig.incarnation(), session });
  }));

test('a worker that could not extend its lease for its whole time admits nobody until it has another', () =>
  withRig({ config }, async (rig) => {
    const identity = await rig.enrol();
    const { extend } = rig.bus.inner.leases;
    rig.bus.inner.leases.extend = () => Promise.reject(new Error('no answer'));
    await waitFor(async () => {
      const device = new RawDevice(rig.url);
      await waitFor(() => device.closing ?? device.received.length);
      device.socket.terminate();
      return device.refused?.status === 503;
    });
    rig.bus.inner.leases.extend = extend;
    await waitFor(() => rig.worker.readiness().ready);
    await connectDevice(rig.url, identity);
  }));

test.run();
