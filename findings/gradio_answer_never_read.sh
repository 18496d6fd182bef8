#!/bin/bash
# gradio 6.31.0 with @gradio/client 2.7.0: a question that the server has accepted gets no answer if
# the client asked it before it read that its stream of answers had ended.
#
# A good guess: once `/queue/join` has returned an event's id, its answer reaches the client, however
# late the parts of another response arrive.
#
# Seen: the server ends the stream (`/queue/data`) with the message "close_stream" when it owes the
# session nothing more. Until the client has read that message it believes the stream open. A
# question that is accepted in between therefore opens no stream, and the end of the old one, when it
# is read, opens none either. The answer waits on the server until the client asks something else:
# then a stream is opened, and both answers come.
#
# A proxy passes everything on, and the end of the stream late, as a slow connection would after
# large answers. In the browser Gradio's pages use the same client.
#
# Needs Node.js 20 or newer with npm. Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
app=
trap '[ -z "$app" ] || kill "$app" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gradio==6.31.0 2>/dev/null
npm install --silent --no-audit --no-fund --prefix "$folder" @gradio/client@2.7.0 >/dev/null

cat > "$folder/app.py" <<'PYTHON'
import gradio as gr

with gr.Blocks() as page:
    word = gr.Textbox()
    for name in ("first", "second", "third"):
        gr.Button().click(lambda word: word.upper(), word, word, api_name=name)
_, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
print(url, flush=True)
page.block_thread()
PYTHON

cat > "$folder/ask.mjs" <<'NODE'
import http from "node:http";
import { Client } from "@gradio/client";

const [app, late] = [new URL(process.argv[2]), process.argv[3] === "late"];
const END = 'data: {"msg":"close_stream"';
let accepted = 0; // questions whose ids the client has been told
let held = []; // ends of streams that are on their way

function passOn(asked, answer, told) {
  answer.writeHead(told.statusCode, told.headers);
  if (!late || !asked.url.includes("/queue/data")) {
    told.pipe(answer);
    if (asked.url.includes("/queue/join"))
      answer.on("finish", () => {
        accepted += 1;
        // The client has the time to read this first.
        if (accepted === 2) setTimeout(() => held.forEach((arrive) => arrive()), 1000);
      });
    return;
  }
  let arrived = Promise.resolve();
  told.on("data", (bytes) => {
    const text = bytes.toString();
    const end = accepted < 2 ? text.indexOf(END) : -1;
    if (end < 0) return arrived.then(() => answer.write(text));
    if (end > 0) answer.write(text.slice(0, end));
    arrived = new Promise((arrive) => held.push(arrive)).then(() => answer.write(text.slice(end)));
  });
  told.on("end", () => arrived.then(() => answer.end()));
}

const proxy = http.createServer((asked, answer) => {
  const { method, headers, url } = asked;
  const wanted = { host: app.hostname, port: app.port, path: url, method, headers };
  asked.pipe(http.request(wanted, (told) => passOn(asked, answer, told)));
});
await new Promise((ready) => proxy.listen(0, "127.0.0.1", ready));

const client = await Client.connect(`http://127.0.0.1:${proxy.address().port}`);
const answers = {};
const ask = (name) => client.predict(`/${name}`, [name]).then(({ data }) => (answers[name] = data[0]));
const wait = (answer, seconds) =>
  Promise.race([answer, new Promise((end) => setTimeout(end, 1000 * seconds))]);
const way = late ? "the end of the stream arrives late" : "nothing is late";

await ask("first");
console.log(`${way}: first: ${answers.first}`);
const second = ask("second");
await wait(second, 15);
console.log(`${way}: second, within 15 s: ${answers.second ?? "no answer"}`);
await wait(ask("third"), 60);
await wait(second, 60);
console.log(`${way}: third: ${answers.third}, second: ${answers.second}`);
process.exit();
NODE

GRADIO_ANALYTICS_ENABLED=False "$folder/venv/bin/python" "$folder/app.py" > "$folder/url" 2>/dev/null &
app=$!
for _ in $(seq 600); do
  grep -q http "$folder/url" && break
  sleep 0.2
done

for way in soon late; do
  timeout 200 node "$folder/ask.mjs" "$(cat "$folder/url")" "$way"
done | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
nothing is late: first: FIRST
nothing is late: second, within 15 s: SECOND
nothing is late: third: THIRD, second: SECOND
the end of the stream arrives late: first: FIRST
the end of the stream arrives late: second, within 15 s: no answer
the end of the stream arrives late: third: THIRD, second: SECOND
SEEN
echo "gradio 6.31.0, @gradio/client 2.7.0: as described"
