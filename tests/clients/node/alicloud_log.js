'use strict';
// The official Node.js SDK: does what the job on standard input says, prints what came of it.

const { readFileSync } = require('node:fs');
const Client = require('@alicloud/log');

const job = JSON.parse(readFileSync(0, 'utf8'));

/** The value of a call, or the code of its error. */
async function outcome(call) {
  try {
    return { value: await call };
  } catch (error) {
    return { error: { code: error.code, message: error.message, requestid: error.requestid } };
  }
}

async function main() {
  const client = new Client({
    accessKeyId: job.key_id,
    accessKeySecret: job.secret,
    securityToken: job.token,
    endpoint: `http://localhost:${job.port}`,
  });
  const result = {};
  if (job.put) {
    const timestamp = Math.floor(Date.now() / 1000);
    const logs = job.put.events.map((content) => ({ timestamp, content, timestampNsPart: 5 }));
    result.put = await outcome(client.postLogStoreLogs(job.project, job.logstore, { ...job.put, logs }));
  }
  if (job.read) {
    const now = Date.now();
    result.listLogStore = await outcome(client.listLogStore(job.project));
    result.getLogStore = await outcome(client.getLogStore(job.project, job.logstore));
    result.getProject = await outcome(client.getProject(job.project));
    const [from, to] = [new Date(now - 600_000), new Date(now + 600_000)];
    result.getLogs = await outcome(client.getLogs(job.project, job.logstore, from, to, { query: job.read, line: 100 }));
  }
  console.log(JSON.stringify(result));
}

main();
