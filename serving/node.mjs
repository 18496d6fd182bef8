// Lets Python know the requests that Node makes for the pages that it renders.

const { fetch } = globalThis;
const token = process.env.PETSCOPE_TOKEN;

globalThis.fetch = (resource, options) => {
  const request = new Request(resource, options);
  request.headers.set("x-petscope-internal", token);
  return fetch(request);
};

// Ends with Python, however that ends.
const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(), 1000).unref();
