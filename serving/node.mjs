// Where Node stands before Python, it renders pages itself: they get the same headers as all other
// answers, and who sends a request's head too slowly is let go.

import http from "node:http";

const HEADERS = Object.entries(JSON.parse(process.env.PETSCOPE_HEADERS));
const HEADERS_TIME = 10_000; // milliseconds
const { createServer } = http;

http.createServer = (answer) => {
  const server = createServer((request, response) => {
    // What Python answers brings its own, which replace these.
    for (const [name, value] of HEADERS) response.setHeader(name, value);
    answer(request, response);
  });
  server.headersTimeout = HEADERS_TIME;
  return server;
};
