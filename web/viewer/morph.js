// Morph: a strip from a class or a picture to another.
import { $, Curve, Work, anySeed, answer, fill, loaded, model, ofPictures, part, pictureModel, recall, remember, shrunk } from "./common.js";

const panel = $("tab-morph"), field = (name) => panel.querySelector(`[name="${name}"]`);
const work = new Work(panel), energy = new Curve(part(panel, "curve"), "energy", "frame");
const files = { from: null, to: null };  // data URLs of pictures
let as = "";  // what the kept picture that it goes on with was asked to be
let entered = false;

const chosen = () => model(field("model").value);

// An end of the strip is a class, numbers, a picture of the test data, or a file.
function showEnd(end) {
  const of = chosen();
  fill(field(end), [...of.classes.map((c) => [c, c]), ["test", "a test picture"], ["file", "a file …"], ...(of.numbers.length ? [["numbers", "numbers"]] : [])]);
  showKind(end);
}
function showKind(end) {
  const kind = field(end).value;
  field(`${end}-test`).parentElement.hidden = kind !== "test";
  field(`${end}-file`).parentElement.hidden = kind !== "file";
  field(`${end}-numbers`).parentElement.hidden = kind !== "numbers";
  showPreview(end);
}
async function showPreview(end) {
  const image = part(panel, `${end}-picture`), kind = field(end).value;
  image.hidden = kind !== "test" && !(kind === "file" && files[end]);
  if (image.hidden) return;
  try {
    image.src = kind === "file" ? files[end] : (await answer("picture", { model: chosen().name, test: Number(field(`${end}-test`).value) })).image;
  } catch (error) {
    image.hidden = true;
    work.say(error.message, true);
  }
}
function endOf(end) {
  const kind = field(end).value;
  return kind === "test" ? `test:${field(`${end}-test`).value}` : kind === "file" ? files[end] || "" : kind === "numbers" ? field(`${end}-numbers`).value : kind;
}
function setEnd(end, value) {
  if (chosen().classes.includes(value)) field(end).value = value;
  else if (value.startsWith("test:")) { field(end).value = "test"; field(`${end}-test`).value = value.slice(5); }
  else if (value.startsWith("data:image/")) { field(end).value = "file"; files[end] = value; }
  else if (chosen().numbers.length) { field(end).value = "numbers"; field(`${end}-numbers`).value = value; }
  showKind(end);
}

function showModel() {
  const of = chosen();
  $("about").textContent = of.about;
  files.from = files.to = null;
  as = "";
  for (const end of ["from", "to"]) {
    showEnd(end);
    field(`${end}-numbers`).value = of.numbers.map((n) => `${n.name}=${end === "from" ? n.low : n.high}`).join(",");
  }
  field(of.numbers.length ? "to" : "from").value = of.numbers.length ? "numbers" : of.classes[0] || "test";
  if (of.numbers.length) field("from").value = "numbers";
  else field("to").value = of.classes[1] || "test";
  showKind("from");
  showKind("to");
}

function request() {
  return { model: chosen().name, from: endOf("from"), to: endOf("to"), frames: Number(field("frames").value), kept: keptOf(field("kept").value),
    ...(drawn() && { count: Number(field("count").value) }), seed: Number(field("seed").value), ...(as && files.from && field("from").value === "file" && { as }) };
}
const drawn = () => !["file", "test"].includes(field("from").value);
// The slider's place: a share of variance from 0.0001 to 0.5, evenly in its logarithm.
const keptOf = (place) => Number((1e-4 * Math.pow(5000, place / 100)).toPrecision(1));
const showSliders = () => {
  part(panel, "kept-of").textContent = keptOf(field("kept").value);
  part(panel, "frames-of").textContent = field("frames").value;
};

function draw() {
  const what = request();
  remember("morph", what);
  energy.clear();
  work.ask("morph", what, {
    frame() {},
    done(data) {
      part(panel, "picture").src = data.image;
      part(panel, "picture").hidden = false;
      part(panel, "save").href = data.image;
      part(panel, "save").hidden = false;
      if (!data.energies) energy.hide();
      else {
        for (let k = 0; k < data.frames; ++k) {
          let sum = 0;
          for (let row = 0; row < data.rows; ++row) sum += data.energies[row * data.frames + k];
          energy.add(k, sum / data.rows);
        }
        energy.draw();
      }
      return `${data.rows} × ${data.frames} pictures by noise of ${data.noise.toPrecision(3)}, ${data.gradients} gradients each, ${data.seconds.toFixed(1)} s`;
    },
  });
}

function take(state) {
  field("model").value = pictureModel(state.model).name;
  showModel();
  for (const end of ["from", "to"]) if (state[end]) setEnd(end, state[end]);
  as = state.as || "";
  for (const name of ["frames", "count", "seed"]) if (state[name]) field(name).value = state[name];
  if (state.kept) field("kept").value = Math.round(100 * Math.log(state.kept / 1e-4) / Math.log(5000));
  showSliders();
  if (state.from && state.to) draw();
}

for (const end of ["from", "to"]) {
  field(end).addEventListener("change", () => showKind(end));
  field(`${end}-test`).addEventListener("change", () => showPreview(end));
  field(`${end}-file`).addEventListener("change", async () => {
    const file = field(`${end}-file`).files[0];
    if (!file) return;
    const url = URL.createObjectURL(file), [, h, w] = chosen().shape;
    try {
      files[end] = shrunk(await loaded(url), w, h).toDataURL();
      if (end === "from") as = "";
      showPreview(end);
    } catch (error) {
      work.say(error.message, true);
    }
    URL.revokeObjectURL(url);
  });
}
part(panel, "form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
part(panel, "another").addEventListener("click", () => { field("seed").value = anySeed(); draw(); });
field("model").addEventListener("change", showModel);
for (const name of ["kept", "frames"]) field(name).addEventListener("input", showSliders);

export const morph = {
  enter(state) {
    if (!entered) fill(field("model"), ofPictures().map((m) => [m.name, m.name]));
    if (state || !entered) take(state || {});
    $("about").textContent = chosen().about;
    if (!state && !recall("morph")) remember("morph", request());
    entered = true;
  },
  leave: () => work.stop(),
};
