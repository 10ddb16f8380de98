// node client.js URL [CERT KEY]: the environment profile "node" has Node.js trust the CA.
const fs = require('fs')
const https = require('https')

const [url, cert, key] = process.argv.slice(2)
const pair = cert ? { cert: fs.readFileSync(cert), key: fs.readFileSync(key) } : {}
https.get(url, pair, response => {
  response.setEncoding('utf8')
  response.on('data', text => process.stdout.write(text))
  response.on('end', () => { process.exitCode = response.statusCode === 200 ? 0 : 1 })
}).on('error', error => {
  console.error(error.code, error.message)
  process.exitCode = 1
})
