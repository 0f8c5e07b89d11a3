/** What a worker of these tests was started with, as its lease says. */
export const INITIAL_SETTINGS = {
  group: 'all',
  runPushServer: true,
  port: 1,
  address: 'ws://127.0.0.1:1',
  connectionLimit: 1,
};
