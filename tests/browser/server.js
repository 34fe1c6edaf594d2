// The real server, started and stopped as the tests need it.

import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { once } from 'node:events';

/** A port that is free now, so that a server can be started again at the same one. */
export async function freePort() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts `gareum serve` and waits until it is ready. `models` are `name=directory`. */
export async function startServer(binary, models, { port, parameters = [] } = {}) {
  const chosen = port ?? (await freePort());
  const given = models.flatMap((model) => ['--model', model]);
  const child = spawn(binary, ['serve', ...given, '--port', String(chosen), ...parameters], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (piece) => {
    said = (said + piece).slice(-4000);
  });
  const ended = once(child, 'exit');
  const url = `http://127.0.0.1:${chosen}/`;
  for (let tries = 0; ; tries += 1) {
    if (child.exitCode !== null || tries > 600) throw new Error(`the server did not start:\n${said}`);
    const ready = await fetch(`${url}ready`).then((answer) => answer.ok, () => false);
    if (ready) break;
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
  }
  return {
    url,
    port: chosen,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await ended;
    },
  };
}
