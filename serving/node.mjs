// Lets Python know the requests that Node makes for the pages that it renders.

const { fetch } = globalThis;
const token = process.env.PETSCOPE_TOKEN;

globalThis.fetch = (resource, options) => {
  const request = new Request(resource, options);
  request.headers.set("x-petscope-internal", token);
  return fetch(request);
};
