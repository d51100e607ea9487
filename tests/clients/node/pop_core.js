'use strict';
// The official Node.js client of the RPC services, which signs the old way: does what the job on
// standard input says, prints what came of it.

const { readFileSync } = require('node:fs');
const { RPCClient } = require('@alicloud/pop-core');

const job = JSON.parse(readFileSync(0, 'utf8'));
const client = new RPCClient({
  endpoint: `http://127.0.0.1:${job.port}`,
  accessKeyId: job.key_id,
  accessKeySecret: job.secret,
  apiVersion: '2015-04-01',
});

client.request('AssumeRole', job.parameters, { method: job.method }).then(
  (value) => console.log(JSON.stringify({ value })),
  (error) => console.log(JSON.stringify({ error: { code: error.code, message: error.data?.Message } })),
);
