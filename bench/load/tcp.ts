/**
 * TCP with Node's own handles, without the streams above them. A connection costs a third of the memory and
 * CPU of a `net.Socket`, and there are hundreds of thousands. The documentation deprecates `process.binding`,
 * but every Node.js has it; only this file uses it.
 */

interface TcpHandle {
  owner: TcpOwner | null;
  bind(address: string, port: number): number;
  connect(request: object, address: string, port: number): number;
  setNoDelay(on: boolean): number;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: object, bytes: Uint8Array): number;
  reset(callback?: () => void): number;
  close(callback?: () => void): void;
  onread: (this: TcpHandle) => void;
}

interface TcpBinding {
  TCP: new (type: number) => TcpHandle;
  TCPConnectWrap: new () => { oncomplete: (status: number, handle: TcpHandle) => void };
  constants: { SOCKET: number };
}

interface StreamBinding {
  WriteWrap: new () => { oncomplete: (status: number) => void; bytes?: Uint8Array };
  streamBaseState: Int32Array;
  kReadBytesOrError: number;
  kLastWriteWasAsync: number;
}

const { binding } = process as unknown as { binding(name: string): unknown };
const { TCP, TCPConnectWrap, constants } = binding.call(process, 'tcp_wrap') as TcpBinding;
const { WriteWrap, streamBaseState, kReadBytesOrError, kLastWriteWasAsync } = binding.call(
  process,
  'stream_wrap',
) as StreamBinding;

/** The owner of a connection. `bytes` is only valid during the call. */
export interface TcpOwner {
  socket: TcpSocket | null;
  connected(): void;
  received(bytes: Uint8Array): void;
  /** The other side closed, or the connection failed; never called after `close` or `reset`. */
  ended(): void;
}

export type TcpSocket = TcpHandle;

const buffer = new Uint8Array(256 * 1024);
/** Node.js needs an object for each write that has to wait; most do not. */
let spare = new WriteWrap();

export function dialTcp(owner: TcpOwner, host: string, port: number, localAddress: string): void {
  const handle = new TCP(constants.SOCKET);
  handle.owner = owner;
  owner.socket = handle;
  const request = new TCPConnectWrap();
  request.oncomplete = connected;
  if (handle.bind(localAddress, 0) !== 0 || handle.connect(request, host, port) !== 0) {
    // Out of ports or descriptors: reported later, like any other failure.
    setImmediate(() => fail(handle));
  }
}

function connected(status: number, handle: TcpHandle): void {
  if (handle.owner === null) return;
  if (status !== 0) {
    fail(handle);
    return;
  }
  handle.setNoDelay(true);
  handle.useUserBuffer(buffer);
  handle.onread = onread;
  handle.readStart();
  handle.owner.connected();
}

function onread(this: TcpHandle): void {
  const count = streamBaseState[kReadBytesOrError] as number;
  if (this.owner === null || count === 0) return;
  if (count > 0) this.owner.received(buffer.subarray(0, count));
  else fail(this);
}

function fail(handle: TcpHandle): void {
  const { owner } = handle;
  if (owner === null) return;
  handle.owner = null;
  owner.socket = null;
  handle.close();
  owner.ended();
}

/** `bytes` must not be changed afterwards. */
export function writeTcp(owner: TcpOwner, bytes: Uint8Array): void {
  const handle = owner.socket;
  if (handle === null) return;
  const status = handle.writeBuffer(spare, bytes);
  if (status !== 0) {
    setImmediate(() => fail(handle));
    return;
  }
  if (streamBaseState[kLastWriteWasAsync] === 1) {
    spare.bytes = bytes;
    spare.oncomplete = () => {};
    spare = new WriteWrap();
  }
}

/** Reads nothing more until `resumeTcp`; the kernel's buffers fill. */
export function pauseTcp(owner: TcpOwner): void {
  owner.socket?.readStop();
}

export function resumeTcp(owner: TcpOwner): void {
  owner.socket?.readStart();
}

/** Closes; `reset` leaves no state in the kernel, as if the line had been cut. */
export function closeTcp(owner: TcpOwner, how: 'close' | 'reset' = 'close'): void {
  const handle = owner.socket;
  if (handle === null) return;
  handle.owner = null;
  owner.socket = null;
  if (how === 'close' || handle.reset(() => {}) !== 0) handle.close();
}
