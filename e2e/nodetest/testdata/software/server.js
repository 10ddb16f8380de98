// Mutual TLS with Node.js. It reads the files when it starts, and when it gets a SIGHUP.
const fs = require('fs')
const https = require('https')

const files = () => ({
  cert: fs.readFileSync(process.env.MTLS_SERVER_CERT),
  key: fs.readFileSync(process.env.MTLS_SERVER_KEY),
  ca: fs.readFileSync(process.env.MTLS_CA_CERT),
})

const server = https.createServer({ ...files(), requestCert: true, rejectUnauthorized: true },
  (request, response) => response.end('hello\n'))
process.on('SIGHUP', () => server.setSecureContext(files()))
process.on('SIGTERM', () => server.close(() => process.exit(0)))
server.listen(8443)
