'use strict';
// The npm package jose: makes the tokens that the job on standard input lists, prints them as a list.

const { readFileSync } = require('node:fs');

const job = JSON.parse(readFileSync(0, 'utf8'));

async function main() {
  const { SignJWT, importJWK } = await import('jose');
  const tokens = [];
  for (const { alg, kid, jwk, claims } of job.tokens) {
    const key = await importJWK(jwk, alg);
    tokens.push(await new SignJWT(claims).setProtectedHeader({ alg, kid, typ: 'JWT' }).sign(key));
  }
  console.log(JSON.stringify(tokens));
}

main();
