import { waitFor } from '../wait.ts';

export interface StreamedEvent {
  id: string;
  type: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into events of every shape
  data: any;
}

/** Reads server-sent events as a browser would: an id counts with or without data. */
export class EventReader {
  readonly events: StreamedEvent[] = [];
  readonly response: Response;
  lastEventId = '';
  /** Comments that only keep the connection open. */
  pings = 0;
  /** Goes away after so many events, in the middle of whatever arrives. */
  closeAfter = Number.POSITIVE_INFINITY;
  ended = false;
  readonly #abort: AbortController;

  private constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
    void this.#read();
  }

  static async open(url: string, token: string, lastEventId?: string): Promise<EventReader> {
    const abort = new AbortController();
    const headers = {
      authorization: `Bearer ${token}`,
      ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
    };
    return new EventReader(await fetch(url, { headers, signal: abort.signal }), abort);
  }

  close(): void {
    this.#abort.abort();
  }

  async until(condition: (events: StreamedEvent[]) => boolean, what: string): Promise<StreamedEvent[]> {
    await waitFor(() => condition(this.events), { what });
    return this.events;
  }

  async #read(): Promise<void> {
    let text = '';
    const decoder = new TextDecoder();
    try {
      for await (const chunk of this.response.body ?? []) {
        text += decoder.decode(chunk, { stream: true });
        const blocks = text.split('\n\n');
        text = blocks.pop() ?? '';
        for (const block of blocks) this.#take(block);
      }
    } catch {
      // Closed by the test.
    }
    this.ended = true;
  }

  #take(block: string): void {
    if (this.#abort.signal.aborted) return;
    if (block === ': ping') this.pings++;
    const fields = new Map(
      block.split('\n').flatMap((line): [string, string][] => {
        const at = line.indexOf(': ');
        return at > 0 ? [[line.slice(0, at), line.slice(at + 2)]] : [];
      }),
    );
    this.lastEventId = fields.get('id') ?? this.lastEventId;
    const data = fields.get('data');
    if (data === undefined) return;
    if (this.events.length + 1 >= this.closeAfter) this.close();
    this.events.push({ id: this.lastEventId, type: fields.get('event') ?? '', data: JSON.parse(data) });
  }
}
