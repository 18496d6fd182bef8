// No answer is lost between two streams of answers. Gradio opens a stream when it is told that a
// question was accepted, unless it believes that one is open. It believes so until it has read that the
// last one has ended. If the server tells that the session has no stream (see serving/streams.py), Gradio
// therefore gets the receipt of its question only after it has read that end, however late that comes.
//
// The page loads this once, in its head (see theme.py).

(() => {
  if (window.streaming) return; // a page that the server rendered may bring the script twice
  window.streaming = true;

  const ask = window.fetch;
  let ended = Promise.resolve(); // when Gradio has read the last stream to its end

  window.fetch = async (...request) => {
    const address = String(request[0]?.url ?? request[0]);
    if (address.includes("/queue/data?")) {
      const { readable, writable } = new TransformStream();
      const answer = ask(...request);
      ended = answer
        .then(({ body }) => body.pipeTo(writable))
        .catch(() => {}) // Gradio has hung up, or the connection broke
        .then(() => new Promise((done) => setTimeout(done))); // Gradio reads at once what it waits for
      return new Response(readable, await answer);
    }
    if (!address.includes("/queue/join?")) return ask(...request);
    const last = ended;
    const receipt = await ask(...request);
    if (receipt.headers.get("x-petscope-stream") === "none") await last;
    return receipt;
  };
})();
