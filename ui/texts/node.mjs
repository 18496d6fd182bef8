// Lets Node render the page in the language of each request: Gradio's server for that asks Python
// for the layout without saying for whom, and calls every page English.

import { AsyncLocalStorage } from "node:async_hooks";
import http from "node:http";

const visits = new AsyncLocalStorage();
const { createServer } = http;
const { fetch } = globalThis;

http.createServer = (answer) =>
  createServer((request, response) => {
    const wanted = new URLSearchParams(request.url.split("?")[1]).get("lang");
    const headers = { "accept-language": wanted ?? request.headers["accept-language"] ?? "en" };
    const visit = { headers, language: "en" };
    const { write } = response;
    response.write = (part, ...others) => {
      response.write = write; // the page's first part has its head
      const page = Buffer.from(part).toString("latin1"); // each byte as it is
      const begins = page.startsWith("<!doctype html>");
      const said = begins && page.replace('lang="en"', `lang="${visit.language}"`);
      return write.call(response, begins ? Buffer.from(said, "latin1") : part, ...others);
    };
    visits.run(visit, () => answer(request, response));
  });

globalThis.fetch = async (resource, options) => {
  const visit = visits.getStore();
  if (!visit) return fetch(resource, options);
  const request = new Request(resource, options);
  for (const [name, value] of Object.entries(visit.headers)) request.headers.set(name, value);
  const response = await fetch(request);
  visit.language = response.headers.get("content-language") ?? visit.language;
  return response;
};
