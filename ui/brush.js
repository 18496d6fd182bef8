// The canvas on which a mask is corrected: strokes by mouse, finger, pen or keyboard.
//
// Gradio runs this once for each tab that has one (`js_on_load` of gr.HTML) with `element`, which
// holds what brush.py draws, `props`, whose value the server gets, and `trigger`, which calls it.
// The strokes are kept here and sent all together, so undo, redo and reset need nothing else.

const STEP = 0.02; // of the picture, by which an arrow key moves the cursor; a fifth with Shift
const NEAR = 0.004; // of the picture: closer points of a stroke are one
const SHADE = "rgba(12, 18, 32, 0.72)"; // over what is not the pet's
const OUTLINE = "#ffffff";
const COLORS = { true: "rgba(0, 158, 115, 0.75)", false: "rgba(213, 94, 0, 0.75)" }; // keep, remove

let area = null; // what the server says of the canvas it drew: brush.py's data of .brush-area
let layer = null; // all that it said last of the mask
let ready = false; // whether the photo is decoded
let texts = {};
let mask = null; // { image, width, height, alpha }
let shade = null; // a canvas: all but the pet darkened, and its outline
let strokes = []; // { keep, points: [[x, y], ...], radius } in shares of the photo
let undone = []; // the last one taken back comes last
let heeded = 0; // how many of the strokes the mask shows
let serial = 0; // of the last question
let answered = 0; // of the last question that was answered
let drawing = null; // the stroke that a pointer draws now
let cursor = null; // [x, y] of the keyboard's
let keep = true;

const find = (selector) => element.querySelector(selector);
const canvas = () => find("canvas");
const radius = () => Number(find("input[type=range]").value) / 1000;
const rounded = (share) => Math.round(Math.min(Math.max(share, 0), 1) * 10000) / 10000;

function say(sentence) {
  find(".brush-said").textContent = sentence;
}

/** A text with values in its places, as the server's `say` makes it. */
const fill = (name, values) => texts[name].replace(/\{(\w+)[^}]*\}/g, (_, place) => values[place]);

const percent = (share) =>
  new Intl.NumberFormat(document.documentElement.lang, { style: "percent" }).format(share);

/** Ask the server for the mask of these strokes. */
function ask() {
  serial += 1;
  props.value = { open: true, key: area.key, serial, strokes };
  update();
  trigger("release");
}

/** Let the buttons say what they can do, and draw. */
function update() {
  if (!area) return;
  const can = { undo: strokes.length, redo: undone.length, reset: strokes.length };
  for (const [name, possible] of Object.entries(can)) {
    const button = find(`.${name}`);
    if (!possible && document.activeElement === button) canvas().focus({ preventScroll: true });
    button.disabled = !possible;
  }
  find(".keep").setAttribute("aria-pressed", keep);
  find(".remove").setAttribute("aria-pressed", !keep);
  requestAnimationFrame(paint);
}

function scratch(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** What lies over the photo: all but the pet darkened, with a line along its edge. */
function makeShade({ width, height }) {
  const outline = scratch(width, height);
  let context = outline.getContext("2d");
  const wide = Math.max(width, height) / 500;
  for (let angle = 0; angle < 2 * Math.PI; angle += Math.PI / 4) {
    context.drawImage(mask.image, wide * Math.cos(angle), wide * Math.sin(angle), width, height);
  }
  context.globalCompositeOperation = "source-in";
  context.fillStyle = OUTLINE;
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(mask.image, 0, 0, width, height);

  const made = scratch(width, height);
  context = made.getContext("2d");
  context.fillStyle = SHADE;
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(mask.image, 0, 0, width, height);
  context.globalCompositeOperation = "source-over";
  context.drawImage(outline, 0, 0);
  return made;
}

function trail(context, { width, height }, stroke) {
  const [first] = stroke.points;
  context.lineWidth = Math.max(2 * stroke.radius * Math.max(width, height), 3);
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = COLORS[stroke.keep];
  context.beginPath();
  context.moveTo(first[0] * width, first[1] * height);
  for (const [x, y] of stroke.points) context.lineTo(x * width, y * height);
  context.stroke();
}

function paint() {
  const own = canvas();
  if (!own || !ready) return;
  const context = own.getContext("2d");
  context.drawImage(find("img"), 0, 0);
  if (shade) context.drawImage(shade, 0, 0);
  for (const stroke of strokes.slice(heeded)) trail(context, own, stroke);
  if (drawing) trail(context, own, drawing);
  if (!cursor) return;
  const [x, y] = [cursor[0] * own.width, cursor[1] * own.height];
  const long = Math.max(own.width, own.height);
  for (const [color, width] of [["#000", 5], ["#fff", 2]]) {
    context.lineWidth = (width * long) / 1000;
    context.strokeStyle = color;
    context.beginPath();
    context.arc(x, y, Math.max(radius() * long, 0.008 * long), 0, 2 * Math.PI);
    for (const [across, down] of [[1, 0], [0, 1]]) {
      context.moveTo(x - 0.03 * across * long, y - 0.03 * down * long);
      context.lineTo(x + 0.03 * across * long, y + 0.03 * down * long);
    }
    context.stroke();
  }
}

function end(stroke) {
  if (strokes.length >= Number(area.most)) return;
  strokes = [...strokes, stroke];
  undone = [];
  ask();
}

function undo() {
  if (!strokes.length) return;
  undone = [...undone, strokes.at(-1)];
  strokes = strokes.slice(0, -1);
  heeded = Math.min(heeded, strokes.length);
  ask();
}

function redo() {
  if (!undone.length) return;
  strokes = [...strokes, undone.at(-1)];
  undone = undone.slice(0, -1);
  ask();
}

function reset() {
  undone = [...undone, ...strokes.toReversed()];
  strokes = [];
  heeded = 0;
  ask();
}

/** Take over a canvas when the server has drawn another. Gradio changes the elements in place. */
async function readArea() {
  const found = find(".brush-area");
  if (found?.dataset.key === area?.key) return;
  const closed = area !== null && !found;
  area = found && { ...found.dataset };
  ready = false;
  mask = shade = layer = drawing = cursor = null;
  strokes = undone = [];
  heeded = 0;
  if (!area) {
    if (closed && document.activeElement === document.body) find(".brush-open")?.focus();
    return;
  }
  const own = area;
  texts = JSON.parse(area.texts);
  props.value = { open: true, key: area.key, serial };
  const how = find(".brush-how");
  how.id = `${element.closest(".brush").id}-how`;
  canvas().setAttribute("aria-describedby", how.id);
  const image = find("img");
  await image.decode();
  if (area !== own) return; // another photo came meanwhile
  Object.assign(canvas(), { width: image.naturalWidth, height: image.naturalHeight });
  ready = true;
  if (mask) shade = makeShade(canvas());
  update();
}

/** Take over the mask, and strokes that were drawn in another tab. */
async function readLayer() {
  const found = find(".brush-layer")?.dataset;
  if (!found || found.key !== area?.key) return;
  const said = JSON.stringify([found.serial, found.answer, found.strokes, found.mask]);
  if (said === layer) return;
  layer = said;
  const [own, number] = [found.answer === "yes", Number(found.serial)];
  if (own) answered = Math.max(answered, number);
  if (own ? number < serial : answered < serial) return; // a newer one is on its way
  const { share } = found;
  const sent = JSON.parse(found.strokes);
  if (JSON.stringify(sent) !== JSON.stringify(strokes)) [strokes, undone] = [sent, []];
  const image = new Image();
  image.src = found.mask;
  await image.decode();
  if (layer !== said) return;
  const { naturalWidth: width, naturalHeight: height } = image;
  const context = scratch(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  mask = { image, width, height, alpha: context.getImageData(0, 0, width, height).data };
  heeded = strokes.length;
  if (ready) shade = makeShade(canvas());
  if (strokes.length || undone.length) say(share);
  update();
}

function read() {
  readArea();
  readLayer();
}

function placeAt(event) {
  const { left, top, width, height } = canvas().getBoundingClientRect();
  return [rounded((event.clientX - left) / width), rounded((event.clientY - top) / height)];
}

element.addEventListener("pointerdown", (event) => {
  if (event.target !== canvas() || !ready || event.button !== 0) return;
  if (drawing || !event.isPrimary) {
    drawing = null; // a second finger: this is a pinch
    update();
    return;
  }
  canvas().setPointerCapture(event.pointerId);
  canvas().focus({ preventScroll: true });
  cursor = null;
  drawing = { keep, points: [placeAt(event)], radius: radius() };
  update();
});

element.addEventListener("pointermove", (event) => {
  if (!drawing || !event.isPrimary) return;
  const [x, y] = placeAt(event);
  const [lastX, lastY] = drawing.points.at(-1);
  const full = drawing.points.length >= Number(area.points);
  if (full || Math.hypot(x - lastX, y - lastY) < NEAR) return;
  drawing.points.push([x, y]);
  update();
});

element.addEventListener("pointerup", (event) => {
  if (!drawing || !event.isPrimary) return;
  const stroke = drawing;
  drawing = null;
  end(stroke);
});

// The browser takes the pointer for a pinch.
element.addEventListener("pointercancel", () => {
  drawing = null;
  update();
});

element.addEventListener("keydown", (event) => {
  if (event.target !== canvas() || !ready) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) redo();
    else undo();
    return;
  }
  if (event.altKey) return;
  const step = event.shiftKey ? STEP / 5 : STEP;
  const moves = {
    ArrowLeft: [-step, 0],
    ArrowRight: [step, 0],
    ArrowUp: [0, -step],
    ArrowDown: [0, step],
  };
  const place = cursor ?? [0.5, 0.5];
  if (key in moves) {
    cursor = [rounded(place[0] + moves[key][0]), rounded(place[1] + moves[key][1])];
    const [x, y] = cursor;
    const row = Math.min(Math.floor(y * (mask?.height ?? 1)), (mask?.height ?? 1) - 1);
    const column = Math.min(Math.floor(x * (mask?.width ?? 1)), (mask?.width ?? 1) - 1);
    const inside = mask && mask.alpha[4 * (row * mask.width + column) + 3] > 127;
    say(fill(inside ? "inside" : "outside", { x: percent(x), y: percent(y) }));
  } else if (key === "Enter" || key === " ") {
    cursor = place;
    end({ keep, points: [place], radius: radius() });
  } else if (key === "k" || key === "r") {
    keep = key === "k";
    say(find(keep ? ".keep" : ".remove").textContent);
  } else return;
  event.preventDefault(); // the page must not scroll
  update();
});

element.addEventListener("focusout", (event) => {
  if (event.target !== canvas()) return;
  cursor = null;
  update();
});

element.addEventListener("click", (event) => {
  const button = event.target.closest?.("button");
  if (button?.matches(".brush-open")) {
    props.value = { open: true, serial };
    trigger("release");
  }
  if (!button || !area) return;
  if (button.matches(".keep, .remove")) {
    keep = button.matches(".keep");
    update();
  } else if (button.matches(".undo")) undo();
  else if (button.matches(".redo")) redo();
  else if (button.matches(".reset")) reset();
  else if (button.matches(".close")) {
    props.value = { open: false, serial };
    trigger("release");
  }
});

const told = ["data-key", "data-serial", "data-answer", "data-strokes", "data-mask"];
new MutationObserver(read).observe(element, {
  subtree: true,
  childList: true,
  attributeFilter: told,
});
read();
