// Sends the jobs of a file, one JSON object a line, by nodemailer.
'use strict';
const fs = require('fs');
const nodemailer = require('nodemailer');

async function main() {
  for (const line of fs.readFileSync(process.argv[2], 'utf8').split('\n')) {
    if (line === '') continue;
    const job = JSON.parse(line);
    const transport = nodemailer.createTransport({
      host: job.host, port: job.port, name: 'node.test', secure: job.tls === 'implicit',
      requireTLS: job.tls === 'starttls', ignoreTLS: job.tls === 'plain', tls: { rejectUnauthorized: false },
      auth: job.mech ? { user: job.user, pass: job.password } : undefined, authMethod: job.mech || undefined,
    });
    const info = await transport.sendMail({
      envelope: { from: job.from, to: job.to, use8BitMime: true }, raw: fs.readFileSync(job.file),
    });
    if (info.rejected.length > 0) throw new Error(job.id + ': refused: ' + info.rejected);
    transport.close();
  }
}

main().catch((err) => { console.error(err); process.exit(1); });
