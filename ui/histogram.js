// The cuts of the histogram as sliders, and the picture that follows them.
//
// Gradio runs this once (`js_on_load` of gr.HTML) with `element`, which holds the chart that
// histogram.py draws, `props`, whose value the server gets, and `trigger`, which calls it. The
// sliders themselves hold the cuts: there is no second copy to keep in step.

const PAGE = 10; // bars
const PERCENT = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 };
const POINTED = [229, 0, 11]; // the red of the cuts
const FADED = 0.75; // how far the other classes go towards white

const canvas = document.createElement("canvas");
canvas.className = "live-classes";
canvas.setAttribute("aria-hidden", "true"); // the picture under it has the alternative text

let key; // of the chart that the rest belongs to
let scale = {}; // which values the bars stand for: histogram.py's Scale
let counts = []; // pixels of each bar
let logarithmic = false; // how high the bars are
let texts = {}; // sentences with placeholders
let preview = null; // the bar of each pixel, once decoded: { width, height, values }
let drag = null; // the slider that is held, and how far from its line
let pointed = null; // the bar under the pointer
let moved = false; // whether the server does not know the cuts yet
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

/** The bar under the pointer, with its fraction. */
function placeAt(event) {
  const { left, width } = element.querySelector(".histogram").getBoundingClientRect();
  return ((event.clientX - left) / width) * scale.bars;
}

/** Where a cut lies, in bars: at the end of what it leaves below. */
const place = (cut) => (cut + Number(scale.whole) - scale.first) / scale.step;

/** The cut that lies there. */
const cutAt = (bars) => scale.first + bars * scale.step - Number(scale.whole);

/** The middle of a bar's values. */
const middle = (bar) => cutAt(bar + 0.5) + Number(scale.whole) / 2;

const written = (value) => value.toFixed(scale.decimals);

/** Scale the bars by their numbers of pixels, or by the logarithms of these. */
function showHeights() {
  const shape = element.querySelector("#histogram-shape");
  const button = element.querySelector(".logarithmic");
  if (!shape || !button || button.getAttribute("aria-pressed") === String(logarithmic)) return;
  button.setAttribute("aria-pressed", logarithmic);
  const other = shape.dataset.other;
  shape.dataset.other = shape.getAttribute("d");
  shape.setAttribute("d", other);
}

/** Take over a chart when the server has drawn another. */
async function readChart() {
  const chart = element.querySelector(".histogram");
  if (chart?.dataset.key === key) {
    if (chart) showOnCurve(); // which may come after the chart
    return;
  }
  key = chart?.dataset.key;
  drag = pointed = preview = null;
  moved = false;
  settled = true;
  canvas.remove();
  if (!chart) return;
  showHeights();
  scale = JSON.parse(chart.dataset.scale);
  counts = JSON.parse(chart.dataset.counts);
  texts = JSON.parse(chart.dataset.texts);
  showReset();
  showOnCurve();

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
  if (pointed !== null || !settled) paint(); // the visitor was faster
}

/**
 * Paint the classes over the server's picture. A bar that is pointed at stands out in red, and its
 * class from the others.
 */
function paint() {
  const picture = document.querySelector("#classes-picture");
  const image = picture?.querySelector("img");
  if (!preview || !image) return;

  const cuts = readCuts();
  const colors = [...element.querySelectorAll(".band")].map((band) =>
    band.getAttribute("fill").match(/[0-9a-f]{2}/g).map((digits) => parseInt(digits, 16)),
  );
  const paints = Uint32Array.from({ length: scale.bars }, (_, bar) => {
    const own = classOf(middle(bar), cuts);
    const fade = pointed === null || own === classOf(middle(pointed), cuts) ? 0 : FADED;
    const [red, green, blue] = bar === pointed ? POINTED : colors[own];
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
  const zoom = Math.min(1, frame.width / naturalWidth, frame.height / naturalHeight);
  const shown = { width: naturalWidth * zoom, height: naturalHeight * zoom };
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

/** Enable the button back to the best cuts unless these are shown; disabled, it keeps the focus. */
function showReset() {
  const best = sliders().every((slider) => aria(slider, "now") === Number(slider.dataset.best));
  element.querySelector(".reset").setAttribute("aria-disabled", best);
}

/** Show on the curve where a single cut lies. */
function showOnCurve() {
  const own = element.querySelector(".curve .own");
  if (!own) return;
  const cuts = readCuts();
  const curve = element.querySelector(".curve svg");
  const x = (place(cuts[0]) / scale.bars) * curve.viewBox.baseVal.width;
  const points = [...curve.querySelector("polyline").points];
  const after = points.findIndex((point) => point.x >= x);
  const seen = cuts.length === 1 && after >= 0;
  const visibility = seen ? "visible" : "hidden";
  if (own.getAttribute("visibility") !== visibility) own.setAttribute("visibility", visibility);
  if (!seen) return;
  const [left, right] = [points[Math.max(after - 1, 0)], points[after]];
  const part = right.x > left.x ? (x - left.x) / (right.x - left.x) : 0;
  own.setAttribute("cx", x);
  own.setAttribute("cy", left.y + part * (right.y - left.y));
}

/** Let chart, table and picture follow the sliders. */
function follow() {
  const cuts = readCuts();
  const all = sliders();
  const unit = scale.whole ? 1 : scale.step;
  const bounds = [scale.lowest - unit, ...cuts, scale.highest];
  const percent = (cut) => (100 * place(cut)) / scale.bars;
  all.forEach((slider, i) => {
    slider.setAttribute("aria-valuemin", bounds[i] + unit);
    slider.setAttribute("aria-valuemax", bounds[i + 2] - unit);
    slider.setAttribute("aria-valuetext", written(cuts[i]));
    slider.style.left = `${percent(cuts[i])}%`;
  });

  const edges = [0, ...cuts.map(percent), 100];
  element.querySelectorAll(".band").forEach((band, i) => {
    band.setAttribute("x", `${edges[i]}%`);
    band.setAttribute("width", `${edges[i + 1] - edges[i]}%`);
  });

  document.querySelectorAll("#cuts tbody tr").forEach((row, i) => {
    const [, values, pixels, share] = row.cells;
    const inside = sum(counts.filter((_, bar) => classOf(middle(bar), cuts) === i));
    const lower = i ? `> ${written(bounds[i])}` : written(scale.lowest);
    values.textContent = fill("range", { lower, upper: written(bounds[i + 1]) });
    pixels.textContent = number(inside);
    share.textContent = number(inside / sum(counts), PERCENT);
  });

  showReset();
  showOnCurve();
  moved = true;
  settled = false;
  pointed = null;
  paint();
}

function move(slider, value) {
  const cut = Math.min(Math.max(value, aria(slider, "min")), aria(slider, "max"));
  if (cut === aria(slider, "now")) return;
  slider.setAttribute("aria-valuenow", cut);
  follow();
  say(fill("moved", { cut: slider.getAttribute("aria-label"), value: written(cut) }));
}

function release() {
  if (!moved) return;
  moved = settled = false;
  props.value = { key, cuts: readCuts() };
  trigger("release");
}

function point(event) {
  const bar = Math.min(Math.max(Math.floor(placeAt(event)), 0), scale.bars - 1);
  const own = classOf(middle(bar), readCuts()) + 1;
  const one = scale.whole && scale.step === 1;
  const ends = one ? [middle(bar)] : [cutAt(bar) + Number(scale.whole), cutAt(bar + 1)];
  const value = ends.map(written).join(" – ");
  say(fill("pointed", { value, pixels: number(counts[bar]), number: own }));
  const mark = element.querySelector(".pointed");
  mark.setAttribute("x", `${(100 * bar) / scale.bars}%`);
  mark.setAttribute("visibility", "visible");
  pointed = bar;
  paint();
}

function pointNowhere() {
  pointed = null;
  element.querySelector(".pointed")?.setAttribute("visibility", "hidden");
  if (settled) canvas.remove();
  else paint();
}

element.addEventListener("pointerdown", (event) => {
  if (event.target.matches(".cut") && event.button === 0) {
    // The handles of neighbours overlap: the nearest is meant.
    const offset = (slider) => place(aria(slider, "now")) - placeAt(event);
    const [slider] = sliders().sort((a, b) => Math.abs(offset(a)) - Math.abs(offset(b)));
    drag = { slider, offset: offset(slider) };
    slider.setPointerCapture(event.pointerId);
    pointNowhere();
  } else if (event.target.closest(".histogram")) point(event);
});

element.addEventListener("pointermove", (event) => {
  if (drag) move(drag.slider, cutAt(Math.round(placeAt(event) + drag.offset)));
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
    ArrowLeft: now - scale.step,
    ArrowDown: now - scale.step,
    ArrowRight: now + scale.step,
    ArrowUp: now + scale.step,
    PageDown: now - PAGE * scale.step,
    PageUp: now + PAGE * scale.step,
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
  if (event.target.matches(".logarithmic")) {
    logarithmic = !logarithmic;
    showHeights();
  }
  if (!event.target.matches(".reset[aria-disabled=false]")) return;
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
