// One worker of BullMQ that runs one job at a time, which is its fastest for jobs that do nothing.
// What it notes is written to the marks twenty times a second: a write for each job would be charged to BullMQ.
import { closeSync, openSync, writeSync } from 'node:fs';
import { Worker } from 'bullmq';

const address = new URL(process.env.BENCH_REDIS);
const marks = openSync(process.env.BENCH_MARKS, 'r+');
let started = [];

function flush() {
  const noted = started;
  started = [];
  const buffer = Buffer.alloc(8);
  for (const [slot, seconds] of noted) {
    buffer.writeDoubleLE(seconds);
    writeSync(marks, buffer, 0, 8, slot * 8);
  }
}

const worker = new Worker(
  'bench',
  async (job) => {
    // The same clock as Python's time.monotonic().
    started.push([job.data.slot, Number(process.hrtime.bigint()) / 1e9]);
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
