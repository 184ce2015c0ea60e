// BullMQ's producer: reads requests, submits, answers; the protocol is that of peers/producer.py.
import { closeSync, openSync, readSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';

const CHUNK = 1000;
const START_SECONDS = 5;
const address = new URL(process.env.BENCH_REDIS);
const queue = new Queue('bench', { connection: { host: address.hostname, port: Number(address.port) } });
const now = () => Number(process.hrtime.bigint()) / 1e9;

async function enqueue(first, jobs) {
  const started = now();
  for (let slot = first; slot < first + jobs; slot++) await queue.add('note', { slot });
  return now() - started;
}

async function enqueueMany(first, jobs) {
  const started = now();
  for (let from = first; from < first + jobs; from += CHUNK) {
    const length = Math.min(CHUNK, first + jobs - from);
    await queue.addBulk(Array.from({ length }, (_, i) => ({ name: 'note', data: { slot: from + i } })));
  }
  return now() - started;
}

async function trickle(first, jobs) {
  const marks = openSync(process.env.BENCH_MARKS, 'r');
  const buffer = Buffer.alloc(8);
  const calls = [];
  for (let slot = first; slot < first + jobs; slot++) {
    await sleep(10 + Math.random() * 20);
    const called = now();
    calls.push(called);
    await queue.add('note', { slot });
    do {
      await sleep(5);
      readSync(marks, buffer, 0, 8, slot * 8);
    } while (!buffer.readDoubleLE() && now() < called + START_SECONDS);
  }
  closeSync(marks);
  return calls;
}

const ways = { enqueue, enqueue_many: enqueueMany, trickle };
for await (const line of createInterface({ input: process.stdin })) {
  const { do: way, first, jobs } = JSON.parse(line);
  let answer;
  try {
    answer = { result: await ways[way](first, jobs), penstock: false };
  } catch (error) {
    answer = { error: String(error.stack) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await queue.close();
