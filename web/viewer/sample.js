// Sample: pictures form as chains move.
import { $, Asked, Curve, Work, anySeed, answer, blank, counted, download, fill, first, loaded, model, models, recall, remember } from "./common.js";

const panel = $("tab-sample");
const asked = new Asked($("asked"), draw);
const energy = new Curve($("energy"), "energy"), norm = new Curve($("norm"), "norm");
const work = new Work(panel);
let entered = false;
let kept = [], held = -1;  // {image, model, label, condition}, and which of them is chosen
let labels = [];           // what each picture that is shown was asked to be
let shown = null;          // {name, what}: what was asked for it

// The slider's place stands for gradients: 5 to 1,000, evenly in their logarithm; where the recipe's number lies it is what the recipe says, 0 here.
const placeOfBudget = (gradients) => Math.min(100, Math.max(1, Math.round(1 + 99 * Math.log(gradients / 5) / Math.log(200))));
const budgetOf = (place) => (Number(place) === placeOfBudget(chosen().gradients) ? 0 : Math.round(5 * Math.pow(200, (place - 1) / 99)));
// This one for temperatures: 0.1 to 10.
const temperatureOf = (place) => Number(Math.pow(10, place).toPrecision(2));
// A slider's value, or what the address asked for while the slider stands where that has put it: links need not name its places.
const linked = {};
const valueOf = (id, of) => (linked[id] && linked[id].place === $(id).value ? linked[id].value : of($(id).value));
function link(id, place, value) {
  $(id).value = place;
  linked[id] = { place: $(id).value, value: Number(value) };
}
const budget = () => valueOf("budget", budgetOf), temperature = () => valueOf("temperature", temperatureOf);
const chosen = () => model($("model").value);

function showModel() {
  const of = chosen();
  $("about").textContent = of.about;
  $("count").max = of.kind === "image" ? 400 : 10000;
  $("count").value = of.kind === "image" ? 25 : 2000;
  asked.show(of);
  $("guidance-row").hidden = !of.none;
  $("sampler-row").hidden = of.noise_levels;  // whose steps are Langevin's
  $("guidance").value = 1;
  linked.budget = linked.temperature = null;
  $("budget").value = placeOfBudget(of.gradients);
  $("sampler").value = "";
  $("temperature").value = 0;
  showSliders();
}

function showSliders() {
  $("budget-of").textContent = budget() ? String(budget()) : `${chosen().gradients}, as its recipe says`;
  $("guidance-of").textContent = $("guidance").value;
  $("temperature-of").textContent = temperature();
}

function request() {
  const of = chosen(), out = { model: of.name, count: Number($("count").value), seed: Number($("seed").value), ...asked.get() };
  if (budget()) out.budget = budget();
  if (of.none && Number($("guidance").value) !== 1) out.guidance = Number($("guidance").value);
  if ($("sampler").value) out.sampler = $("sampler").value;
  if (temperature() !== 1) out.temperature = temperature();
  return out;
}

function take(state) {  // from the address
  $("model").value = model(state.model) ? state.model : first;
  showModel();
  if (!model(state.model)) return;
  asked.set(state);
  if (state.count) $("count").value = state.count;
  if (state.seed !== undefined) $("seed").value = state.seed;
  if (state.guidance) $("guidance").value = state.guidance;
  if (state.sampler) $("sampler").value = state.sampler;
  if (state.temperature > 0) link("temperature", Math.log10(state.temperature), state.temperature);
  if (state.budget > 0) link("budget", placeOfBudget(state.budget), state.budget);
  showSliders();
}

function show(image, name) {
  $("picture").src = image;
  $("picture").dataset.model = name;
  $("picture").hidden = false;
}

function draw() {
  const what = request(), of = chosen();
  const classes = what.label || !of.classes.length ? [what.label] : of.classes;  // all in turn
  remember("sample", what);
  ask("sample", what, (i) => ({ label: classes[i % classes.length], condition: what.condition }));
}

// A kept picture, back to a noise level and down again: many from much noise, or one from little.
function goOn(count, noise) {
  const { image, ...rest } = kept[held], what = { ...rest, picture: image, count, seed: anySeed() };
  if (noise) what.noise = noise;
  if (!what.label) delete what.label;
  if (!what.condition) delete what.condition;
  vary(what);
}
function vary(what) {
  $("count").value = what.count;
  $("seed").value = what.seed;
  remember("sample", what);
  ask("vary", what, () => ({ label: what.label, condition: what.condition }));
}

function ask(name, what, labelOf) {
  labels = [];
  energy.clear();
  norm.clear();
  $("save").hidden = $("save-npz").hidden = $("keep-row").hidden = true;
  work.ask(name, what, {
    frame(data) {
      show(data.image, what.model);
      energy.add(data.step, data.energy);
      norm.add(data.step, data.gradient_norm);
      energy.draw();
      norm.draw();
    },
    done(data) {
      show(data.image, what.model);
      labels = model(what.model).kind === "image" ? data.energies.map((_, i) => labelOf(i)) : [];
      $("keep-row").hidden = !labels.length;
      $("keep-number").max = labels.length;
      $("save").href = data.image;
      $("save").hidden = $("save-npz").hidden = false;
      shown = { name, what };
      return `${counted(what.count, "sample")}, ${data.gradients} gradients each, ${data.seconds.toFixed(1)} s`;
    },
  });
}

// The slider's place, evenly in the logarithm: from the least noise level to ten times the data's size.
function noiseOf() {
  const levels = kept[held] && model(kept[held].model).noise;
  return levels ? Number((1.1 * levels.least * Math.pow(Math.min(10 * levels.data, levels.greatest) / (1.1 * levels.least), $("noise").value / 100)).toPrecision(2)) : undefined;
}

function showKept() {
  $("kept-row").hidden = !kept.length;
  $("kept").replaceChildren(...kept.map(({ image, label }, i) => {
    const button = document.createElement("button"), img = document.createElement("img");
    button.type = "button";
    button.setAttribute("aria-pressed", i === held);
    Object.assign(img, { src: image, alt: `kept picture ${i + 1}${label ? `, ${label}` : ""}` });
    button.append(img);
    button.addEventListener("click", () => { held = i; showKept(); });
    return button;
  }));
  $("noise").parentElement.hidden = !kept.length || noiseOf() === undefined;
  $("noise-of").textContent = noiseOf();
  $("near-row").hidden = true;
}

// The training pictures nearest to the kept one: is it a copy?
async function showNear() {
  const of = kept[held];
  $("near-row").hidden = false;
  $("near-of").textContent = "looking …";
  try {
    const told = await answer("neighbours", { model: of.model, picture: of.image, count: 5 });
    if (of !== kept[held]) return;
    $("near-picture").src = told.image;
    $("near-of").textContent = `the nearest of ${told.among} training pictures, at ${told.distances.map((d) => d.toFixed(2)).join(", ")} in pixels${told.labels ? `: ${told.labels.join(", ")}` : ""}`;
  } catch (error) {
    $("near-of").textContent = error.message;
  }
}

// What is shown as arrays: drawn again, since the page has the picture alone.
async function saveArrays() {
  $("save-npz").disabled = true;
  try {
    work.say("drawing it again, as arrays …");
    await download(shown.name, shown.what, "application/x-npz", "samples.npz");
    work.say("samples.npz");
  } catch (error) {
    work.say(error.message, true);
  }
  $("save-npz").disabled = false;
}

// Picture number i of the grid that is shown: pictures twice as large, two pixels apart.
async function keep(i) {
  const [, h, w] = model($("picture").dataset.model).shape, columns = Math.ceil(Math.sqrt(labels.length));
  if (!(i >= 0 && i < labels.length)) return;
  const sheet = await loaded($("picture").src), { canvas, context } = blank(w, h);
  context.imageSmoothingEnabled = false;
  context.drawImage(sheet, 2 + i % columns * (2 * w + 2), 2 + Math.floor(i / columns) * (2 * h + 2), 2 * w, 2 * h, 0, 0, w, h);
  held = kept.push({ image: canvas.toDataURL(), model: $("picture").dataset.model, ...labels[i] }) - 1;
  showKept();
}
function keepAt(event) {
  const [, h, w] = model($("picture").dataset.model).shape, columns = Math.ceil(Math.sqrt(labels.length)), box = $("picture").getBoundingClientRect();
  const scale = $("picture").naturalWidth / box.width;
  const column = Math.floor(((event.clientX - box.left) * scale - 2) / (2 * w + 2)), row = Math.floor(((event.clientY - box.top) * scale - 2) / (2 * h + 2));
  if (column >= 0 && column < columns && row >= 0) keep(row * columns + column);
}

$("picture").addEventListener("click", keepAt);
$("keep").addEventListener("click", () => keep(Number($("keep-number").value) - 1));
$("noise").addEventListener("input", () => { $("noise-of").textContent = noiseOf(); });
$("vary").addEventListener("click", () => goOn(9, noiseOf()));
$("refine").addEventListener("click", () => {
  const levels = model(kept[held].model).noise;
  goOn(1, levels && Number((levels.data / 5).toPrecision(2)));
});
$("near").addEventListener("click", showNear);
$("save-npz").addEventListener("click", saveArrays);
$("drop").addEventListener("click", () => {
  kept.splice(held, 1);
  held = kept.length - 1;
  showKept();
});
// On to another tab with the kept picture, and what it was asked to be.
const goWith = (state) => { location.hash = new URLSearchParams(Object.entries(state).filter(([, value]) => value)); };
$("to-restore").addEventListener("click", () => {
  const { image, model: name, label, condition } = kept[held];
  goWith({ tab: "restore", model: name, picture: image, label, condition });
});
$("to-morph").addEventListener("click", () => {
  const { image, model: name, label, condition } = kept[held];
  goWith({ tab: "morph", model: name, from: image, as: label || condition });
});

$("form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
$("another").addEventListener("click", () => { $("seed").value = anySeed(); draw(); });
$("model").addEventListener("change", () => { showModel(); draw(); });
$("sampler").addEventListener("change", draw);
for (const id of ["budget", "guidance", "temperature"]) {
  $(id).addEventListener("input", showSliders);
  $(id).addEventListener("change", draw);
}

export const sample = {
  enter(state) {
    if (!entered) fill($("model"), models.map((m) => [m.name, m.name]));
    if (state || !entered) {
      take(state || {});
      const { model: name, label, condition, picture, noise, count, seed } = state || {};
      if (picture) vary({ model: name, ...(label && { label }), ...(condition && { condition }), picture, ...(noise && { noise: Number(noise) }), count: Number(count), seed: Number(seed) });
      else draw();
    } else {
      $("about").textContent = chosen().about;
      recall("sample");
    }
    entered = true;
  },
  leave: () => work.stop(),
};
