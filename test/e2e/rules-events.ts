import * as assert from 'uvu/assert';
import { type ExecutionState, isFinal } from '../../protocol/index.ts';
import { AnswerChecker } from '../admin-api/answer-checker.ts';
import { EventReader, type StreamedEvent } from '../admin-api/event-reader.ts';
import { workFor } from './fleet.ts';
import type { Lab, LabTests } from './lab.ts';

function open(lab: Lab, lastEventId?: string): Promise<EventReader> {
  return EventReader.open(`${lab.deployment.server}/v1/events`, lab.deployment.token, lastEventId);
}

/** What the stream says of one command's executions: the states of each device, in order. */
function storyOf(events: readonly StreamedEvent[], command: string): Map<string, ExecutionState[]> {
  const story = new Map<string, ExecutionState[]>();
  for (const { type, data } of events) {
    if (type !== 'executions') continue;
    for (const [id, device, state] of data.changes as [string, string, ExecutionState][]) {
      if (id === command) story.set(device, [...(story.get(device) ?? []), state]);
    }
  }
  return story;
}

const finished = (command: string) => (events: StreamedEvent[]) =>
  events.some(({ type, data }) => type === 'command.finished' && data.id === command);

export function eventsRules({ testLab }: LabTests): void {
  testLab('the stream of events tells every change of every execution', async (lab) => {
    const devices = await lab.fleet(30, { work: workFor(0, 300) });
    const reader = await open(lab);
    const { id } = await lab.operator.send('sync', devices, { all: true });
    const events = await reader.until(finished(id), 'command.finished');
    reader.close();
    assert.ok(events.some(({ type, data }) => type === 'command.created' && data.id === id));
    const story = storyOf(events, id);
    assert.is(story.size, 30);
    for (const [device, states] of story) {
      assert.is(states[0], 'sent', `${device}: ${states}`);
      assert.is(states.at(-1), 'succeeded', `${device}: ${states}`);
      assert.is(states.filter((state) => isFinal(state)).length, 1, `${device}: ${states}`);
    }
  });

  testLab('every event so far is as the OpenAPI document says', async (lab) => {
    const { server } = lab.deployment;
    const checker = new AnswerChecker(await (await fetch(`${server}/openapi.json`)).json());
    const { id } = await lab.operator.send('sync', await lab.fleet(1));
    const reader = await EventReader.open(`${server}/v1/events?after=0`, lab.deployment.token);
    const events = await reader.until(finished(id), 'command.finished');
    reader.close();
    for (const { type, data } of events) {
      assert.is(data.event, type);
      checker.checkEvent(data);
    }
    const types = new Set(events.map(({ type }) => type));
    for (const type of ['devices', 'device.enrolled', 'executions', 'gateway.up'])
      assert.ok(types.has(type), type);
  });

  testLab(
    'a reader that was cut off resumes by Last-Event-ID without a gap and without repetition',
    async (lab) => {
      const devices = await lab.fleet(40, { work: workFor(100, 1_200) });
      const whole = await open(lab);
      const first = await open(lab);
      const { id } = await lab.operator.send('sync', devices, { all: true });
      const enough = (events: StreamedEvent[]) =>
        [...storyOf(events, id).values()].filter((states) => states.includes('succeeded')).length >= 10;
      await first.until(enough, 'some of the changes');
      first.close();
      const seen = [...first.events];
      await lab.operator.finished(id);
      const second = await open(lab, seen.at(-1)?.id);
      await second.until(finished(id), 'command.finished');
      await whole.until(finished(id), 'command.finished');
      second.close();
      whole.close();
      const upTo = (events: StreamedEvent[]) => {
        const end = events.findIndex(({ type, data }) => type === 'command.finished' && data.id === id);
        return events.slice(0, end + 1);
      };
      const begin = seen[0]?.id;
      const expected = upTo(whole.events).slice(whole.events.findIndex((event) => event.id === begin));
      assert.equal([...seen, ...upTo(second.events)], expected);
      assert.is(storyOf(expected, id).size, 40);
    },
  );

  testLab('connecting and leaving are told', async (lab) => {
    const reader = await open(lab);
    const device = await lab.device();
    await device.stop();
    const told = (kind: 'connected' | 'disconnected') => (events: StreamedEvent[]) =>
      events.some(({ type, data }) => type === 'devices' && data[kind].includes(device.id));
    await reader.until(told('connected'), 'the device to be told as connected');
    await reader.until(told('disconnected'), 'the device to be told as disconnected');
    reader.close();
  });
}
