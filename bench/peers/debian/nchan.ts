import { freePort } from '../../../test/wait.ts';
import type { Peer } from '../peer.ts';
import { ensureProgram, startProgram, versionOf } from './program.ts';

const nchanModule = '/usr/lib/nginx/modules/ngx_nchan_module.so';

export const nchan: Peer = {
  name: 'nginx + nchan',
  how: 'a worker for each core, published over HTTP',
  dialect: 'plain',
  dialectOptions: { path: '/subscribe' },
  async start({ devices, workers, install }) {
    const command = await ensureProgram({
      program: 'nginx',
      packages: ['nginx', 'libnginx-mod-nchan'],
      file: nchanModule,
      install,
    });
    const port = await freePort();
    const service = await startProgram({
      name: 'nginx',
      command,
      port,
      // The kernel does not spread connections evenly; those for connections that never come cost nginx 300
      // bytes each.
      config: (folder) =>
        nginxConfig({ folder, port, workers, connections: Math.ceil((devices / workers) * 1.2) + 64 }),
      arguments: (file, folder) => ['-p', folder, '-c', file, '-e', 'stderr'],
    });
    const channel = `http://127.0.0.1:${port}/publish`;
    return {
      version: await versionOf(command, '-v'),
      ports: [port],
      pids: [service.pid],
      async subscribers() {
        const answer = await fetch(channel, { headers: { accept: 'text/json' } });
        if (answer.status === 404) return 0;
        return ((await answer.json()) as { subscribers: number }).subscribers;
      },
      publisher: async () => ({
        async publish(payload) {
          const answer = await fetch(channel, { method: 'POST', body: payload });
          await answer.arrayBuffer();
          if (!answer.ok) throw new Error(`nchan answered ${answer.status}`);
        },
        close() {},
      }),
      stop: () => service.stop(),
    };
  },
};

function nginxConfig(options: {
  folder: string;
  port: number;
  workers: number;
  connections: number;
}): string {
  const { folder, port, workers, connections } = options;
  return `
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
pid ${folder}/nginx.pid;
load_module ${nchanModule};
worker_processes ${workers};
events { worker_connections ${connections}; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  nchan_shared_memory_size 128M;
  server {
    listen 127.0.0.1:${port} reuseport backlog=4096;
    location = /subscribe { nchan_subscriber websocket; nchan_channel_id fleet; }
    location = /publish { nchan_publisher http; nchan_channel_id fleet; nchan_message_buffer_length 1; }
  }
}
`;
}
