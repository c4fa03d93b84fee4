// A caller that knows nothing but KATO's API: Node's fetch, with its kept connections, no retries.
//     node node_fetch.mjs URL NODE COUNT PAUSE TIMEOUT
// tests/callers/running.py describes what it does and prints.
import { setTimeout as sleep } from "node:timers/promises";

const [url, node] = process.argv.slice(2);
const [count, pause, timeout] = process.argv.slice(4).map(Number);
const now = () => (performance.timeOrigin + performance.now()) / 1000;

async function request(what, method, path, body) {
  const began = now();
  let status = 0, error = "", answer = null;
  try {
    const response = await fetch(url + path, {
      method,
      headers: body && { "content-type": "application/json" },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(timeout * 1000),
    });
    const text = await response.text();
    status = response.status;
    answer = status === 200 ? JSON.parse(text) : null;
  } catch (exception) {
    status = 0;
    error = exception.cause?.code ?? exception.name;
  }
  console.log(JSON.stringify({ what, began, ended: now(), status, error, body: answer }));
  return answer;
}

let opened = null;
while (opened === null) {
  const body = { node_id: node, config: { process_predictions: false } };
  opened = await request({ open: node }, "POST", "/sessions", body);
  await sleep(pause * 1000);
}
const session = opened.session_id;
for (let number = 0; number < count; number++) {
  const symbol = `${node}-${number}`;
  const path = `/sessions/${session}/observe`;
  await request({ observe: symbol }, "POST", path, { strings: [symbol] });
  await sleep(pause * 1000);
}
await request({ read: session }, "GET", `/sessions/${session}/stm`);
