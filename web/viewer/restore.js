// Restore: a picture, a mask painted on it, completions; the picture's energy and where it comes from.
import { $, Asked, Work, answer, anySeed, blank, fill, loaded, model, ofPictures, part, pictureModel, recall, remember, shrunk } from "./common.js";

const panel = $("tab-restore"), field = (name) => panel.querySelector(`[name="${name}"]`);
const work = new Work(panel), asked = new Asked(part(panel, "asked"), measure);
const board = part(panel, "board"), heat = part(panel, "heat");
let picture = null;   // a canvas of the model's size
let gone = [];        // by pixel: is it to be completed?
let cursor = null;    // [x, y] for the keyboard
let measuring = false, changed = false, entered = false;

const chosen = () => model(field("model").value);
const size = () => { const [, h, w] = chosen().shape; return [w, h]; };

// The mask as a picture: white is to be completed.
function maskCanvas() {
  const [w, h] = size(), { canvas, context } = blank(w, h), pixels = context.createImageData(w, h);
  gone.forEach((is, i) => pixels.data.set(is ? [255, 255, 255, 255] : [0, 0, 0, 255], 4 * i));
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function paint() {
  if (!picture) return;
  const [w, h] = size(), scale = board.width / w, context = board.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, board.width, board.height);
  context.fillStyle = "rgba(225, 60, 110, .6)";
  gone.forEach((is, i) => { if (is) context.fillRect((i % w) * scale, Math.floor(i / w) * scale, scale, scale); });
  if (cursor) {
    context.strokeStyle = "#2f6fde";
    context.lineWidth = 2;
    context.strokeRect(cursor[0] * scale, cursor[1] * scale, scale, scale);
  }
  part(panel, "missing").textContent = `${Math.round(100 * gone.filter(Boolean).length / (w * h))} % to be completed`;
}

function stroke(x, y) {
  const [w, h] = size(), radius = Number(field("brush").value) / 2, way = field("way").value, context = picture.getContext("2d");
  for (let j = Math.max(0, Math.floor(y - radius)); j <= Math.min(h - 1, Math.ceil(y + radius)); ++j) {
    for (let i = Math.max(0, Math.floor(x - radius)); i <= Math.min(w - 1, Math.ceil(x + radius)); ++i) {
      if (Math.hypot(i + .5 - x, j + .5 - y) > Math.max(radius, .72)) continue;
      if (way === "erase" || way === "keep") gone[j * w + i] = way === "erase";
      else {
        context.fillStyle = way;
        context.fillRect(i, j, 1, 1);
      }
    }
  }
  paint();
  if (way === "white" || way === "black") measure();
}

function half() {
  const [w, h] = size();
  gone = Array.from({ length: w * h }, (_, i) => i >= w * Math.floor(h / 2));
}

async function setPicture(url) {
  const [w, h] = size();
  picture = shrunk(await loaded(url), w, h);
  if (gone.length !== w * h) half();
  board.height = Math.round(board.width * h / w);
  heat.height = board.height;
  paint();
  measure();
}

// The energy, again until nothing has changed since it was asked.
async function measure() {
  changed = true;
  if (measuring || !picture) return;
  measuring = true;
  try {
    while (changed) {
      changed = false;
      const told = await answer("energy", { model: chosen().name, picture: picture.toDataURL(), ...asked.get(), ...noise() });
      part(panel, "energy").textContent = `${chosen().noise ? `At noise level ${told.noise}: ` : ""}E = ${told.energy.toPrecision(5)}, |dE/dx| = ${told.gradient_norm.toPrecision(3)}, of one pixel up to ${told.greatest.toPrecision(3)}`;
      const context = heat.getContext("2d"), image = await loaded(told.image);
      context.imageSmoothingEnabled = false;
      context.drawImage(image, 0, 0, heat.width, heat.height);
    }
  } catch (error) {
    part(panel, "energy").textContent = error.message;
  }
  measuring = false;
}

// The slider's place: from the least noise level to the data's own size, evenly in the logarithm.
function noise() {
  const levels = chosen().noise;
  if (!levels) return {};
  return { noise: Number((levels.least * Math.pow(Math.max(levels.data, levels.least) / levels.least, field("noise").value / 100)).toPrecision(3)) };
}
function showNoise() {
  part(panel, "noise-of").textContent = noise().noise;
}

// One of the test data, asked for as what it is of.
async function testPicture() {
  const of = chosen();
  try {
    const told = await answer("picture", { model: of.name, test: Number(field("test").value) });
    if (of !== chosen()) return;
    field("test").max = told.count - 1;
    asked.chosen = false;
    asked.forget();
    asked.set(told);
    await setPicture(told.image);
    work.say(told.label === undefined ? "" : `test picture ${field("test").value}: ${told.label}`);
  } catch (error) {
    work.say(`${error.message}: a sample of the model is taken instead`);
    await samplePicture();
  }
}

// Of no class in particular unless one was chosen, where the model can do without; else of any.
async function samplePicture() {
  const of = chosen();
  try {
    asked.forget();
    if (!asked.chosen && !of.none && of.classes.length) asked.set({ label: of.classes[Math.floor(Math.random() * of.classes.length)] });
    const told = await answer("sample", { model: of.name, count: 1, seed: anySeed(), ...(of.classes.length && of.none && { label: "none" }), ...asked.get() });
    if (of !== chosen()) return;
    const sheet = await loaded(told.image), [w, h] = size(), { canvas, context } = blank(w, h);
    context.imageSmoothingEnabled = false;
    context.drawImage(sheet, 2, 2, 2 * w, 2 * h, 0, 0, w, h);  // a grid of one, twice as large, within a margin
    await setPicture(canvas.toDataURL());
  } catch (error) {
    work.say(error.message, true);
  }
}

async function fromFile(file) {
  if (!file) return;
  const url = URL.createObjectURL(file);
  asked.forget();
  await setPicture(url).catch((error) => work.say(error.message, true));
  URL.revokeObjectURL(url);
}

function showModel() {
  $("about").textContent = chosen().about;
  asked.show(chosen(), chosen().none ? "none in particular" : "");
  part(panel, "noise-row").hidden = part(panel, "levels-row").hidden = !chosen().noise;
  picture = null;
  gone = [];
  showNoise();
}

function request() {
  const out = { model: chosen().name, picture: picture.toDataURL(), mask: maskCanvas().toDataURL(), seed: Number(field("seed").value), ...asked.get() };
  if (chosen().noise) out.levels = Number(field("levels").value);
  return out;
}

function complete() {
  if (!picture) return;
  const what = request();
  remember("restore", what);
  const show = (data) => {
    part(panel, "picture").src = data.image;
    part(panel, "picture").hidden = false;
  };
  part(panel, "files").hidden = true;
  work.ask("restore", what, {
    frame: show,
    done(data) {
      show(data);
      part(panel, "files").hidden = false;
      for (const [name, url] of [["save", data.image], ["save-picture", what.picture], ["save-mask", what.mask]]) part(panel, name).href = url;
      return `${data.energies.length} completions, ${data.gradients} gradients each, ${data.seconds.toFixed(1)} s; energies${model(what.model).noise ? ` at the least noise level, ${model(what.model).noise.least}:` : ""} ${data.energies.map((e) => e.toFixed(0)).join(", ")}`;
    },
  });
}

async function take(state) {
  field("model").value = pictureModel(state.model).name;
  showModel();
  asked.set(state);
  if (state.seed) field("seed").value = state.seed;
  if (state.levels) field("levels").value = state.levels;
  part(panel, "levels-of").textContent = field("levels").value;
  if (!state.picture) return testPicture();
  try {
    if (![state.picture, state.mask || state.picture].every((url) => url.startsWith("data:image/"))) throw new Error("this link's picture is none");
    if (!state.mask) return await setPicture(state.picture);
    const [w, h] = size(), { context } = blank(w, h);
    context.drawImage(await loaded(state.mask), 0, 0);
    gone = Array.from(context.getImageData(0, 0, w, h).data).filter((_, i) => i % 4 === 0).map((v) => v > 127);
    await setPicture(state.picture);
    complete();
  } catch (error) {
    work.say(error.message, true);
  }
}

// Painting: by pointer, and by keyboard with arrows and space.
const place = (event) => {
  const box = board.getBoundingClientRect(), [w, h] = size();
  return [(event.clientX - box.left) / box.width * w, (event.clientY - box.top) / box.height * h];
};
board.addEventListener("pointerdown", (event) => {
  board.setPointerCapture(event.pointerId);
  cursor = null;
  if (picture) stroke(...place(event));
});
board.addEventListener("pointermove", (event) => {
  if (!picture || !event.buttons) return;
  const moves = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const each of moves.length ? moves : [event]) stroke(...place(each));
});
board.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!picture || (!way && event.key !== " ")) return;
  event.preventDefault();
  const [w, h] = size(), at = cursor || [w >> 1, h >> 1];
  if (way) cursor = [Math.min(w - 1, Math.max(0, at[0] + way[0])), Math.min(h - 1, Math.max(0, at[1] + way[1]))];
  else cursor = at;
  if (!way || event.shiftKey) stroke(cursor[0] + .5, cursor[1] + .5);
  paint();
});
board.addEventListener("blur", () => { cursor = null; paint(); });
for (const kind of ["dragover", "drop"]) {
  panel.addEventListener(kind, (event) => {
    event.preventDefault();
    if (kind === "drop") fromFile(event.dataTransfer.files[0]);
  });
}

part(panel, "form").addEventListener("submit", (event) => { event.preventDefault(); complete(); });
field("model").addEventListener("change", () => { showModel(); testPicture(); });
field("test").addEventListener("change", testPicture);
part(panel, "sample").addEventListener("click", samplePicture);
field("file").addEventListener("change", () => fromFile(field("file").files[0]));
part(panel, "half").addEventListener("click", () => { half(); paint(); });
part(panel, "clear").addEventListener("click", () => { gone.fill(false); paint(); });
part(panel, "another").addEventListener("click", () => { field("seed").value = anySeed(); complete(); });
field("noise").addEventListener("input", () => { showNoise(); measure(); });
field("levels").addEventListener("input", () => { part(panel, "levels-of").textContent = field("levels").value; });

export const restore = {
  enter(state) {
    if (!entered) fill(field("model"), ofPictures().map((m) => [m.name, m.name]));
    $("about").textContent = entered ? chosen().about : "";
    if (state || !entered) take(state || {});
    entered = true;
    if (!state && !recall("restore")) remember("restore", { model: chosen().name });
  },
  leave: () => work.stop(),
};
