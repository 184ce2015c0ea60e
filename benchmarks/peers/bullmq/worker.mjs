// One worker of BullMQ that runs one job at a time, which is its fastest for jobs that do nothing, or as many as it is told.
// What it notes is written to the marks twenty times a second: a write for each job would be charged to BullMQ.
import { closeSync, openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'bullmq';

const address = new URL(process.env.BENCH_REDIS);
const marks = openSync(process.env.BENCH_MARKS, 'r+');
const seconds = Number(process.env.BENCH_SECONDS ?? 0);
let started = [];

function flush() {
  const noted = started;
  started = [];
  const buffer = Buffer.alloc(8);
  for (const [slot, at] of noted) {
    buffer.writeDoubleLE(at);
    writeSync(marks, buffer, 0, 8, slot * 8);
  }
}

const worker = new Worker(
  'bench',
  async (job) => {
    // The same clock as Python's time.monotonic().
    started.push([job.data.slot, Number(process.hrtime.bigint()) / 1e9]);
    if (seconds) await sleep(seconds * 1e3);
  },
  {
    connection: { host: address.hostname, port: Number(address.port), maxRetriesPerRequest: null },
    concurrency: Number(process.env.BENCH_CONCURRENCY ?? 1),
  },
);
setInterval(flush, 50);
process.on('SIGTERM', async () => {
  await worker.close();
  flush();
  closeSync(marks);
  process.exit(0);
});
