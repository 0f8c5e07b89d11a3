/**
 * TCP connections from accept until they are WebSockets. uWebSockets.js hands out an object for each accepted
 * socket (`filter`) and another for each request on it, and says nowhere which belong together. What is
 * known:
 *
 * - Of the only socket an address has here, every request from that address is.
 * - The data handler that was set at accept is called in the same event, right after the handler of the
 *   request. So a request that is answered later is claimed by its socket. Answers go that way, at the end of
 *   the event loop's turn.
 * - That holds for requests without a body only: of others the body is judged after the handler of the
 *   request, and the data handler may be called later or never. Nothing here takes a body, so such requests
 *   are not to come here: their sockets are closed.
 * - Between a request's handler and its data handler no socket but its own can close.
 * - An upgrade that waits so long costs 120 µs of system calls: outside the handler its response cannot be
 *   gathered (corking it there can close the new WebSocket: uWebSockets.js then reads the state of a response
 *   that is none any more). So that is done under pressure only. Otherwise an address with several sockets
 *   here upgrades one of them, and nobody knows which: they are counted as before, and closed by
 *   uWebSockets.js alone, at most 12 s after accept.
 *
 * A call on a socket that closed or became a WebSocket is a use of freed memory. Hence: `res` of an accepted
 * socket is forgotten before it can be stale, and both handlers are set again after each answer, which clears
 * them. Requests set none of their own: what was set at accept is all that tells which socket is gone.
 */
import { type Origin, originOf } from '../../bus/addresses.ts';
import type { Holder, Newcomer, Newcomers } from '../../bus/newcomers.ts';

/** What one address has here. */
class Place {
  readonly sockets = new Set<AcceptedSocket>();
  /** Of sockets that are not told apart any more, the oldest first. */
  readonly lost: Newcomer[] = [];

  get size(): number {
    return this.sockets.size + this.lost.length;
  }
}

/** What is used of uWebSockets.js' response, which stands for its socket as well. */
interface HttpSocket extends Corker {
  onAborted(run: () => void): unknown;
  onData(run: () => void): unknown;
  close(): unknown;
  getRemoteAddress(): ArrayBuffer;
}

interface Corker {
  cork(run: () => void): unknown;
}

interface Request {
  readonly res: HttpSocket;
  /** Answers, or upgrades. */
  readonly serve: (newcomer: Newcomer | null) => void;
  readonly upgrades: boolean;
  socket: AcceptedSocket | null;
  aborted: boolean;
}

export class AcceptedSockets {
  readonly #newcomers: Newcomers;
  readonly #fault: (error: unknown) => void;
  readonly #places = new Map<string, Place>();
  /** The request whose handler has run and whose socket has not said yet that it is its own. */
  #unclaimed: Request | null = null;
  #requests: Request[] = [];
  /** Sockets that closed before they became WebSockets. */
  #closes = 0;
  /** An open WebSocket, whoever's; kept right by whoever opens and closes them. */
  webSocket: Corker | null = null;
  /**
   * uWebSockets.js works as told above. Otherwise nothing of this is to be relied on: sockets are not closed
   * by us.
   */
  #known = true;

  constructor(newcomers: Newcomers, fault: (error: unknown) => void) {
    this.#newcomers = newcomers;
    this.#fault = fault;
  }

  /** From `filter`: 1 for a socket that was accepted, -1 for one that closed and was no WebSocket. */
  changed(res: HttpSocket, count: number): void {
    if (count < 0) {
      this.#closes++;
      return;
    }
    if (!this.#known) return;
    const origin = originOf(new Uint8Array(res.getRemoteAddress()));
    const { address } = origin;
    const place = this.#places.get(address) ?? new Place();
    this.#places.set(address, place);
    const socket = new AcceptedSocket(res, address, place);
    place.sockets.add(socket);
    this.#watch(socket, res);
    socket.newcomer = this.#newcomers.add(socket, origin);
  }

  /**
   * From the handler of a request, with all read from the request that is needed: `serve` answers it later in
   * this turn, unless its socket is gone by then.
   */
  answer(res: HttpSocket, serve: () => void): void {
    this.#ask(res, serve, false);
  }

  /** The same for an upgrade, which happens now where it can; `serve` is given its newcomer. */
  upgrade(res: HttpSocket, { address }: Origin, serve: (newcomer: Newcomer | null) => void): void {
    const place = this.#places.get(address);
    if (!place || place.size === 0) {
      serve(null);
      return;
    }
    const [first] = place.sockets;
    if (place.size === 1 && first) {
      first.res = null;
      place.sockets.delete(first);
      this.#places.delete(address);
      serve(first.newcomer);
      return;
    }
    const oldest = place.lost[0] ?? first?.newcomer;
    if (place.size > 1 && oldest && this.#known && this.#newcomers.pressed(oldest) && this.#corker(res)) {
      this.#ask(res, serve, true);
      return;
    }
    for (const socket of place.sockets) this.#lose(socket);
    serve(this.#takeLost(address, place));
  }

  #ask(res: HttpSocket, serve: (newcomer: Newcomer | null) => void, upgrades: boolean): void {
    if (this.#unclaimed) this.#distrust();
    const request: Request = { res, serve, upgrades, socket: null, aborted: false };
    if (this.#known) this.#unclaimed = request;
    else {
      res.onAborted(() => {
        request.aborted = true;
      });
    }
    if (this.#requests.push(request) === 1) setImmediate(() => this.#serveAll());
  }

  #serveAll(): void {
    const requests = this.#requests;
    this.#requests = [];
    for (const request of requests) {
      if (request === this.#unclaimed) this.#distrust();
      if (request.socket) request.socket.request = null;
      if (request.aborted) continue;
      try {
        if (request.upgrades) this.#serveUpgrade(request);
        else this.#serveAnswer(request);
      } catch (error) {
        this.#fault(error);
      }
    }
  }

  #serveAnswer({ serve, socket }: Request): void {
    const closes = this.#closes;
    const res = socket?.res;
    if (socket) socket.res = null;
    serve(null);
    if (!socket || !res) return;
    if (this.#closes !== closes) {
      this.#gone(socket);
      return;
    }
    socket.res = res;
    this.#watch(socket, res);
    if (socket.newcomer) this.#newcomers.checkTime(socket.newcomer);
  }

  /** Inside the cork of any other socket, which is what uWebSockets.js asks for: see above. */
  #serveUpgrade({ res, serve, socket }: Request): void {
    const newcomer = socket?.newcomer ?? null;
    if (socket) {
      socket.res = null;
      socket.place.sockets.delete(socket);
      this.#forgetEmpty(socket.address, socket.place);
    }
    const corker = this.#corker(res);
    if (corker) corker.cork(() => serve(newcomer));
    else serve(newcomer);
  }

  #corker(res: HttpSocket): Corker | null {
    if (this.webSocket) return this.webSocket;
    let sure = 0;
    for (const { sockets } of this.#places.values()) {
      // One of two is not the one that asks, whichever that is.
      for (const socket of sockets) if (socket.res && socket.res !== res && ++sure === 2) return socket.res;
    }
    return null;
  }

  #watch(socket: AcceptedSocket, res: HttpSocket): void {
    res.onAborted(() => this.#gone(socket));
    res.onData(() => {
      if (!this.#unclaimed) return;
      this.#unclaimed.socket = socket;
      socket.request = this.#unclaimed;
      this.#unclaimed = null;
      if (socket.lost) this.#find(socket, res);
    });
  }

  #gone(socket: AcceptedSocket): void {
    const { address, place } = socket;
    socket.res = null;
    const request = socket.request ?? this.#unclaimed;
    if (request) request.aborted = true;
    if (request === this.#unclaimed) this.#unclaimed = null;
    if (place.sockets.delete(socket)) {
      if (socket.newcomer) this.#newcomers.leave(socket.newcomer);
    } else if (socket.lost) {
      const newcomer = this.#takeLost(address, place);
      if (newcomer) this.#newcomers.leave(newcomer);
    }
    socket.lost = false;
    this.#forgetEmpty(address, place);
  }

  /** It is told apart from the others of its address no more. */
  #lose(socket: AcceptedSocket): void {
    const { place, newcomer } = socket;
    place.sockets.delete(socket);
    socket.res = null;
    socket.newcomer = null;
    socket.lost = true;
    if (!newcomer) return;
    this.#newcomers.unclosable(newcomer);
    place.lost.push(newcomer);
  }

  /** A lost socket made a request, so it is known again. */
  #find(socket: AcceptedSocket, res: HttpSocket): void {
    const { place } = socket;
    socket.lost = false;
    socket.res = res;
    socket.newcomer = place.lost.shift() ?? null;
    place.sockets.add(socket);
    if (socket.newcomer) this.#newcomers.closable(socket.newcomer, socket);
  }

  #takeLost(address: string, place: Place): Newcomer | null {
    const newcomer = place.lost.shift() ?? null;
    this.#forgetEmpty(address, place);
    return newcomer;
  }

  #forgetEmpty(address: string, place: Place): void {
    if (place.size === 0 && this.#places.get(address) === place) this.#places.delete(address);
  }

  /**
   * A request was not claimed: which socket became what is not known from here on. All are forgotten, and
   * that request is not answered: it may be gone.
   */
  #distrust(): void {
    if (this.#unclaimed) this.#unclaimed.aborted = true;
    this.#unclaimed = null;
    if (!this.#known) return;
    this.#known = false;
    for (const { sockets, lost } of this.#places.values()) {
      for (const socket of sockets) {
        socket.res = null;
        if (socket.newcomer) this.#newcomers.leave(socket.newcomer);
      }
      for (const newcomer of lost) this.#newcomers.leave(newcomer);
      sockets.clear();
      lost.length = 0;
    }
    this.#places.clear();
    this.#fault(
      new Error('uWebSockets.js does not say which socket a request came by: strangers are limited less'),
    );
  }
}

class AcceptedSocket implements Holder {
  res: HttpSocket | null;
  newcomer: Newcomer | null = null;
  lost = false;
  /** Asked and not answered yet. */
  request: Request | null = null;
  readonly address: string;
  readonly place: Place;

  constructor(res: HttpSocket, address: string, place: Place) {
    this.res = res;
    this.address = address;
    this.place = place;
  }

  cut(): void {
    const { res } = this;
    this.res = null;
    res?.close();
  }
}
