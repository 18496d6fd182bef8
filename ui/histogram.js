// The cuts of the histogram as sliders, and the picture that follows them.
//
// Gradio runs this once (`js_on_load` of gr.HTML) with `element`, which holds the chart that
// histogram.py draws, `props`, whose value the server gets, and `trigger`, which calls it. The
// sliders themselves hold the cuts: there is no second copy to keep in step.

const LEVELS = 256;
const PAGE = 10;
const PERCENT = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 };
const POINTED = [229, 0, 11]; // the red of the cuts
const FADED = 0.75; // how far the other classes go towards white

const canvas = document.createElement("canvas");
canvas.className = "live-classes";
canvas.setAttribute("aria-hidden", "true"); // the picture under it has the alternative text

let key; // of the chart that the rest belongs to
let counts = []; // pixels at each grey value
let texts = {}; // what is said, with places for values
let preview = null; // the grey values themselves, once decoded: { width, height, values }
let drag = null; // the slider that is held, and how far from its line
let moved = false; // whether the server has yet to hear of the cuts
let settled = true; // whether the server's picture shows them

const sliders = () => [...element.querySelectorAll(".cut")];
const aria = (slider, name) => Number(slider.getAttribute(`aria-value${name}`));
const readCuts = () => sliders().map((slider) => aria(slider, "now"));
const classOf = (value, cuts) => cuts.filter((cut) => value > cut).length;
const sum = (numbers) => numbers.reduce((total, next) => total + next, 0);

/** A text of the chart's with values in its places, as the server's `say` makes it. */
const fill = (name, values) => texts[name].replace(/\{(\w+)\}/g, (_, place) => values[place]);

/** A number as the page's language writes it. */
const number = (value, options) =>
  new Intl.NumberFormat(document.documentElement.lang, options).format(value);

function say(sentence) {
  element.querySelector(".readout").textContent = sentence;
}

/** The grey value under the pointer, with its fraction. */
function valueAt(event) {
  const { left, width } = element.querySelector(".histogram").getBoundingClientRect();
  return ((event.clientX - left) / width) * LEVELS;
}

/** Take over a chart when the server has drawn another. */
async function readChart() {
  const chart = element.querySelector(".histogram");
  if (chart?.dataset.key === key) return;
  key = chart?.dataset.key;
  drag = preview = null;
  moved = false;
  settled = true;
  canvas.remove();
  if (!chart) return;
  counts = JSON.parse(chart.dataset.counts);
  texts = JSON.parse(chart.dataset.texts);

  const own = key;
  const image = new Image();
  image.src = chart.dataset.preview;
  await image.decode();
  if (own !== key) return; // another photo came meanwhile
  const { width, height } = image;
  const scratch = Object.assign(document.createElement("canvas"), { width, height });
  const context = scratch.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i++) values[i] = data[4 * i];
  preview = { width, height, values };
}

/**
 * Paint the classes over the server's picture. A grey value that is pointed at stands out in red,
 * and its class from the others.
 */
function paint(pointed = null) {
  const picture = document.querySelector("#classes-picture");
  const image = picture?.querySelector("img");
  if (!preview || !image) return;

  const cuts = readCuts();
  const colors = [...element.querySelectorAll(".band")].map((band) =>
    band.getAttribute("fill").match(/[0-9a-f]{2}/g).map((digits) => parseInt(digits, 16)),
  );
  const paints = Uint32Array.from({ length: LEVELS }, (_, value) => {
    const own = classOf(value, cuts);
    const fade = pointed === null || own === classOf(pointed, cuts) ? 0 : FADED;
    const [red, green, blue] = value === pointed ? POINTED : colors[own];
    const faded = (part) => Math.round(part + (255 - part) * fade);
    return (255 << 24) | (faded(blue) << 16) | (faded(green) << 8) | faded(red);
  });
  const { width, height, values } = preview;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const painted = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < values.length; i++) painted[i] = paints[values[i]];
  context.putImageData(pixels, 0, 0);

  // Gradio reduces a picture to its frame and never enlarges it.
  const outer = picture.getBoundingClientRect();
  const frame = image.getBoundingClientRect();
  const { naturalWidth, naturalHeight } = image;
  const scale = Math.min(1, frame.width / naturalWidth, frame.height / naturalHeight);
  const shown = { width: naturalWidth * scale, height: naturalHeight * scale };
  const left = frame.left - outer.left + (frame.width - shown.width) / 2;
  const top = frame.top - outer.top + (frame.height - shown.height) / 2;
  Object.assign(canvas.style, {
    left: `${left}px`,
    top: `${top}px`,
    width: `${shown.width}px`,
    height: `${shown.height}px`,
  });
  picture.append(canvas);
}

/** Let chart, table and picture follow the sliders. */
function follow() {
  const cuts = readCuts();
  const all = sliders();
  const darkest = counts.findIndex(Boolean);
  const bounds = [darkest - 1, ...cuts, counts.findLastIndex(Boolean)];
  const percent = (value) => (100 * (value + 1)) / LEVELS;
  all.forEach((slider, i) => {
    slider.setAttribute("aria-valuemin", bounds[i] + 1);
    slider.setAttribute("aria-valuemax", bounds[i + 2] - 1);
    slider.style.left = `${percent(cuts[i])}%`;
  });

  const edges = [0, ...cuts.map(percent), 100];
  element.querySelectorAll(".band").forEach((band, i) => {
    band.setAttribute("x", `${edges[i]}%`);
    band.setAttribute("width", `${edges[i + 1] - edges[i]}%`);
  });

  document.querySelectorAll("#cuts tbody tr").forEach((row, i) => {
    const [, values, pixels, share] = row.cells;
    const inside = sum(counts.slice(bounds[i] + 1, bounds[i + 1] + 1));
    const lower = i ? `> ${bounds[i]}` : darkest;
    values.textContent = fill("range", { lower, upper: bounds[i + 1] });
    pixels.textContent = number(inside);
    share.textContent = number(inside / sum(counts), PERCENT);
  });

  element.querySelector(".reset").disabled = all.every(
    (slider) => aria(slider, "now") === Number(slider.dataset.best),
  );
  moved = true;
  settled = false;
  paint();
}

function move(slider, value) {
  const cut = Math.min(Math.max(value, aria(slider, "min")), aria(slider, "max"));
  if (cut === aria(slider, "now")) return;
  slider.setAttribute("aria-valuenow", cut);
  follow();
  say(fill("moved", { cut: slider.getAttribute("aria-label"), value: cut }));
}

function release() {
  if (!moved) return;
  moved = settled = false;
  props.value = { key, cuts: readCuts() };
  trigger("release");
}

function point(event) {
  const value = Math.min(Math.max(Math.floor(valueAt(event)), 0), LEVELS - 1);
  const own = classOf(value, readCuts()) + 1;
  say(fill("pointed", { value, pixels: number(counts[value]), number: own }));
  const bar = element.querySelector(".pointed");
  bar.setAttribute("x", `${(100 * value) / LEVELS}%`);
  bar.setAttribute("visibility", "visible");
  paint(value);
}

function pointNowhere() {
  element.querySelector(".pointed")?.setAttribute("visibility", "hidden");
  if (settled) canvas.remove();
  else paint();
}

element.addEventListener("pointerdown", (event) => {
  if (event.target.matches(".cut") && event.button === 0) {
    // The handles of neighbours overlap: the nearest is meant.
    const offset = (slider) => aria(slider, "now") + 1 - valueAt(event);
    const [slider] = sliders().sort((a, b) => Math.abs(offset(a)) - Math.abs(offset(b)));
    drag = { slider, offset: offset(slider) - 1 };
    slider.setPointerCapture(event.pointerId);
    pointNowhere();
  } else if (event.target.closest(".histogram")) point(event);
});

element.addEventListener("pointermove", (event) => {
  if (drag) move(drag.slider, Math.round(valueAt(event) + drag.offset));
  else if (event.target.closest(".histogram")) point(event);
  else pointNowhere();
});

element.addEventListener("pointerleave", () => {
  if (!drag) pointNowhere();
});

element.addEventListener("lostpointercapture", () => {
  drag = null;
  release();
});

element.addEventListener("keydown", (event) => {
  const slider = event.target;
  if (!slider.matches(".cut")) return;
  const now = aria(slider, "now");
  const aims = {
    ArrowLeft: now - 1,
    ArrowDown: now - 1,
    ArrowRight: now + 1,
    ArrowUp: now + 1,
    PageDown: now - PAGE,
    PageUp: now + PAGE,
    Home: aria(slider, "min"),
    End: aria(slider, "max"),
  };
  if (!(event.key in aims)) return;
  event.preventDefault(); // the page must not scroll
  move(slider, aims[event.key]);
});

// Not before: a key that is held down moves the cut many times.
element.addEventListener("keyup", release);
element.addEventListener("focusout", release);

element.addEventListener("click", (event) => {
  if (!event.target.matches(".reset")) return;
  for (const slider of sliders()) slider.setAttribute("aria-valuenow", slider.dataset.best);
  follow();
  say("");
  release();
});

// The server's picture has come. This event does not bubble, so it is caught on its way down.
document.addEventListener(
  "load",
  (event) => {
    if (drag || moved || !event.target.closest?.("#classes-picture")) return;
    settled = true;
    canvas.remove();
  },
  true,
);

const drawn = { subtree: true, childList: true, attributeFilter: ["data-key"] };
new MutationObserver(readChart).observe(element, drawn);
readChart();
