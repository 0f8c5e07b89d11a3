/**
 * TCP connections from accept until they are WebSockets. uWebSockets.js hands out an object for each accepted
 * socket (`filter`) and another for each request on it, and does not say which belong together. Known facts:
 *
 * - If an address has only one socket here, every request from that address belongs to it.
 * - The data handler that was set at accept is called in the same event, right after the handler of the
 *   request. So its socket claims a request that is answered later. Answers are sent this way, at the end of
 *   the event loop's turn.
 * - That holds only for requests without a body: otherwise the data handler may run later or never. No route
 *   here takes a body, so such requests must not come here: their sockets are closed.
 * - With `Content-Length: 0`, the data handler runs in the same event if the request came whole, and never if
 *   it came in pieces. In pieces, the request is answered if its address has only one socket here; otherwise
 *   its socket is closed. It is still open then: any socket that closes takes an unclaimed request along.
 * - Between a request's handler and its data handler no socket but its own can close.
 * - An upgrade that waits this long costs 120 µs of system calls: outside the handler its response cannot be
 *   gathered (corking it there can close the new WebSocket: uWebSockets.js then reads the state of a response
 *   that no longer exists). So upgrades wait only under pressure. Otherwise an address with several sockets
 *   here upgrades an unknown one of them. They still count, and only uWebSockets.js closes them, at most 12 s
 *   after accept.
 *
 * A call on a socket that closed or became a WebSocket is a use of freed memory. Hence: `res` of an accepted
 * socket is forgotten before it can be stale, and both handlers are set again after each answer, which clears
 * them. Requests set no handlers: those set at accept are the only way to learn which socket closed.
 */
import { type Origin, originOf } from '../../bus/addresses.ts';
import type {
  Holder,
  UnauthenticatedSocket,
  UnauthenticatedSockets,
} from '../../bus/unauthenticated-sockets.ts';
import type { Body } from './http-answers.ts';

/** Known at once. Strangers come and go, so that those who stay make up the set. */
const WEB_SOCKETS_MAX = 16;

type NoBody = Exclude<Body, 'some'>;

/** The sockets of one address. */
class Place {
  readonly sockets = new Set<AcceptedSocket>();
  /** Sockets that can no longer be told apart, the oldest first. */
  readonly lost: UnauthenticatedSocket[] = [];

  get size(): number {
    return this.sockets.size + this.lost.length;
  }
}

/** The used part of uWebSockets.js' response, which also represents its socket. */
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
  readonly serve: (unauthenticated: UnauthenticatedSocket | null) => void;
  readonly upgrades: boolean;
  /** It says that its body is empty, so its socket may never claim it. */
  readonly empty: boolean;
  socket: AcceptedSocket | null;
  aborted: boolean;
}

export class AcceptedSockets {
  readonly #unauthenticatedSockets: UnauthenticatedSockets;
  readonly #fault: (error: unknown) => void;
  readonly #places = new Map<string, Place>();
  /** The request whose handler has run and which its socket has not claimed yet. */
  #unclaimed: Request | null = null;
  #requests: Request[] = [];
  /** Sockets that closed before they became WebSockets. */
  #closes = 0;
  /** Some open WebSockets: one that closes leaves others to cork. */
  readonly #webSockets = new Set<Corker>();
  /**
   * uWebSockets.js works as described above. Otherwise none of this is reliable, and this class closes no
   * sockets.
   */
  #known = true;

  constructor(unauthenticatedSockets: UnauthenticatedSockets, fault: (error: unknown) => void) {
    this.#unauthenticatedSockets = unauthenticatedSockets;
    this.#fault = fault;
  }

  /** A WebSocket opened. */
  opened(webSocket: Corker): void {
    if (this.#webSockets.size < WEB_SOCKETS_MAX) this.#webSockets.add(webSocket);
  }

  /** A WebSocket closed. */
  closed(webSocket: Corker): void {
    this.#webSockets.delete(webSocket);
  }

  /** From `filter`: 1 for an accepted socket, -1 for one that closed without becoming a WebSocket. */
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
    socket.unauthenticated = this.#unauthenticatedSockets.add(socket, origin);
  }

  /**
   * Call it from the handler of a request, after reading everything needed from it: `serve` answers later in
   * this turn, unless the socket is gone by then.
   */
  answer(res: HttpSocket, body: NoBody, serve: () => void): void {
    this.#ask(res, body, serve, false);
  }

  /**
   * The same for an upgrade, which happens now if possible; `serve` receives its entry among the
   * unauthenticated sockets.
   */
  upgrade(
    res: HttpSocket,
    body: NoBody,
    { address }: Origin,
    serve: (unauthenticated: UnauthenticatedSocket | null) => void,
  ): void {
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
      serve(first.unauthenticated);
      return;
    }
    const oldest = place.lost[0] ?? first?.unauthenticated;
    if (
      place.size > 1 &&
      oldest &&
      this.#known &&
      this.#unauthenticatedSockets.pressed(oldest) &&
      this.#corker(res)
    ) {
      this.#ask(res, body, serve, true);
      return;
    }
    // One whose request is not answered yet did not ask for this upgrade.
    for (const socket of place.sockets) if (!socket.request) this.#lose(socket);
    serve(this.#takeLost(address, place));
  }

  #ask(
    res: HttpSocket,
    body: NoBody,
    serve: (unauthenticated: UnauthenticatedSocket | null) => void,
    upgrades: boolean,
  ): void {
    if (this.#unclaimed) this.#missed(this.#unclaimed);
    const request: Request = { res, serve, upgrades, empty: body === 'empty', socket: null, aborted: false };
    if (this.#known) {
      if (!request.empty || !this.#claimAlone(request)) this.#unclaimed = request;
    } else {
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
      if (request === this.#unclaimed) this.#missed(request);
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

  /** For the only socket of its address, if it has only one. */
  #claimAlone(request: Request): boolean {
    const place = this.#places.get(originOf(new Uint8Array(request.res.getRemoteAddress())).address);
    const [only] = place?.sockets ?? [];
    if (!only || place?.size !== 1) return false;
    request.socket = only;
    only.request = request;
    return true;
  }

  /** No socket claimed it, and none will. */
  #missed(request: Request): void {
    if (!request.empty) {
      this.#distrust();
      return;
    }
    this.#unclaimed = null;
    request.aborted = true;
    request.res.close();
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
    if (socket.unauthenticated) this.#unauthenticatedSockets.checkTime(socket.unauthenticated);
  }

  /** Inside the cork of any other socket, which is what uWebSockets.js asks for: see above. */
  #serveUpgrade({ res, serve, socket }: Request): void {
    const unauthenticated = socket?.unauthenticated ?? null;
    if (socket) {
      socket.res = null;
      socket.place.sockets.delete(socket);
      this.#forgetEmpty(socket.address, socket.place);
    }
    const corker = this.#corker(res);
    if (corker) corker.cork(() => serve(unauthenticated));
    else serve(unauthenticated);
  }

  #corker(res: HttpSocket): Corker | null {
    for (const webSocket of this.#webSockets) return webSocket;
    let sure = 0;
    for (const { sockets } of this.#places.values()) {
      // Of several sockets, the one that made the request is unknown.
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
      if (socket.unauthenticated) this.#unauthenticatedSockets.leave(socket.unauthenticated);
    } else if (socket.lost) {
      const unauthenticated = this.#takeLost(address, place);
      if (unauthenticated) this.#unauthenticatedSockets.leave(unauthenticated);
    }
    socket.lost = false;
    this.#forgetEmpty(address, place);
  }

  /** It can no longer be told apart from the others of its address. */
  #lose(socket: AcceptedSocket): void {
    const { place, unauthenticated } = socket;
    place.sockets.delete(socket);
    socket.res = null;
    socket.unauthenticated = null;
    socket.lost = true;
    if (!unauthenticated) return;
    this.#unauthenticatedSockets.unclosable(unauthenticated);
    place.lost.push(unauthenticated);
  }

  /** A lost socket made a request, so it is identified again. */
  #find(socket: AcceptedSocket, res: HttpSocket): void {
    const { place } = socket;
    socket.lost = false;
    socket.res = res;
    socket.unauthenticated = place.lost.shift() ?? null;
    place.sockets.add(socket);
    if (socket.unauthenticated) this.#unauthenticatedSockets.closable(socket.unauthenticated, socket);
  }

  #takeLost(address: string, place: Place): UnauthenticatedSocket | null {
    const unauthenticated = place.lost.shift() ?? null;
    this.#forgetEmpty(address, place);
    return unauthenticated;
  }

  #forgetEmpty(address: string, place: Place): void {
    if (place.size === 0 && this.#places.get(address) === place) this.#places.delete(address);
  }

  /**
   * A request was not claimed, so the state of its sockets is unknown from here on. All are forgotten, and
   * the request gets no answer, because its socket may be gone.
   */
  #distrust(): void {
    if (this.#unclaimed) this.#unclaimed.aborted = true;
    this.#unclaimed = null;
    if (!this.#known) return;
    this.#known = false;
    for (const { sockets, lost } of this.#places.values()) {
      for (const socket of sockets) {
        socket.res = null;
        if (socket.unauthenticated) this.#unauthenticatedSockets.leave(socket.unauthenticated);
      }
      for (const unauthenticated of lost) this.#unauthenticatedSockets.leave(unauthenticated);
      sockets.clear();
      lost.length = 0;
    }
    this.#places.clear();
    this.#fault(
      new Error('uWebSockets.js does not say which socket made a request: bounds on sockets are weaker'),
    );
  }
}

class AcceptedSocket implements Holder {
  res: HttpSocket | null;
  unauthenticated: UnauthenticatedSocket | null = null;
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
