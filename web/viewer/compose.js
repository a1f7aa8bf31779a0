// Compose: an expression over models and densities in the plane; help while it is written, sliders for its weights.
import { $, Curve, Work, anySeed, counted, fill, model, models, part, recall, remember, sentByEnter } from "./common.js";
import { draggable } from "./drag.js";

const panel = $("tab-compose"), field = (name) => panel.querySelector(`[name="${name}"]`);
const work = new Work(panel), text = field("expression"), energy = new Curve(part(panel, "curve"), "energy"), picture = part(panel, "picture");
const densities = { gaussian: "0, 0, .5", ring: "2, .1", box: "-1, -1, 1, 1" };
const examples = ["ring(2, .1) & box(0, -3, 3, 3)", "mnist(3) & mnist(8)", "fashion-mnist(coat) & fashion-mnist(bag)", "dsprites-shape(heart) & dsprites-size(.6)",
  "two-moons & !gaussian(1, 0, .5)", "box(-2, -2, 2, 2) \\ ring(1, .3)", "gaussian(-1, 0, .4) | 2*gaussian(1, 0, .4)"];
let entered = false;

// The terms of the text: where they stand, their weight, and what they name.
function terms() {
  const found = [];
  for (const m of text.value.matchAll(/(?:((?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*\*\s*)?((?:!\s*)?[A-Za-z][\w.-]*(?:\([^()]*\))?)/g)) found.push({ at: m.index, length: m[0].length, weight: m[1] ? Number(m[1]) : 1, term: m[2] });
  return found;
}

function showWeights() {
  part(panel, "weights").replaceChildren(...terms().map(({ weight, term }, i) => {
    const label = document.createElement("label"), shown = document.createElement("output"), input = document.createElement("input");
    Object.assign(input, { type: "range", min: .1, max: Math.max(3, weight), step: .05, value: weight });
    shown.textContent = String(weight);
    input.addEventListener("input", () => {
      const now = terms()[i], value = Number(input.value);
      text.value = text.value.slice(0, now.at) + (value === 1 ? "" : `${value}*`) + now.term + text.value.slice(now.at + now.length);
      shown.textContent = String(value);
    });
    input.addEventListener("change", draw);
    label.append(`${term} `, shown, input);
    return label;
  }));
}

// What may stand where the text's cursor is: names, or within a name's parentheses its classes.
function suggestions() {
  const before = text.value.slice(0, text.selectionStart), inside = /([A-Za-z][\w.-]*)\(\s*([^()]*)$/.exec(before);
  if (inside) {
    const of = model(inside[1]);
    const all = of ? [...of.classes, ...(of.none && of.classes.length ? ["none"] : [])] : densities[inside[1]] ? [densities[inside[1]]] : [];
    return { from: before.length - inside[2].length, all: all.filter((c) => c.startsWith(inside[2])), end: text.value[text.selectionStart] === ")" ? "" : ")" };
  }
  const word = /[A-Za-z][\w.-]*$/.exec(before), started = word ? word[0] : "";
  if (!started && /[\w).]\s*$/.test(before)) return { from: before.length, all: [" & ", " | ", " \\ "], end: "" };
  const all = [...models.map((m) => m.name + (m.classes.length || m.numbers.length ? "(" : "")), ...Object.keys(densities).map((d) => `${d}(`)];
  return { from: before.length - started.length, all: all.filter((n) => n.startsWith(started) && n !== started), end: "" };
}

function showSuggestions() {
  const { from, all, end } = suggestions();
  part(panel, "suggestions").replaceChildren(...all.slice(0, 14).map((word) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = word.trim();
    button.addEventListener("click", () => {
      text.setRangeText((/\s$/.test(text.value.slice(0, from)) ? word.trimStart() : word) + end, from, text.selectionStart, "end");
      text.focus();
      written();
    });
    return button;
  }));
}

function written() {
  text.setCustomValidity("");
  showWeights();
  showSuggestions();
  part(panel, "bound-row").hidden = !inPlane();
  part(panel, "base-row").hidden = !ofOwnModels();
  part(panel, "share-row").hidden = inPlane();  // where steps' sizes are learned
}

// Of pictures is what names a model of them; all else is in the plane.
const inPlane = () => terms().every(({ term }) => (model(/[A-Za-z][\w.-]*/.exec(term)[0]) || {}).kind !== "image");

// A base goes with nothing else.
const ofOwnModels = () => field("given").value.trim() === "own";

function request() {
  const out = { expression: text.value, seed: Number(field("seed").value) };
  if (field("given").value) out.given = field("given").value.trim();
  if (ofOwnModels() && field("base").value) out.base = field("base").value;
  for (const name of ["count", "moves", ...(inPlane() ? [] : ["step_share"])]) if (field(name).value) out[name] = Number(field(name).value);
  if (inPlane() && field("bound").value) out.bound = Number(field("bound").value);
  return out;
}

function draw() {
  const what = request();
  remember("compose", what);
  energy.clear();
  part(panel, "wrong").textContent = "";
  const show = (data) => {
    if (!data.image) return;
    picture.classList.toggle("plane", inPlane());
    picture.src = data.image;
    picture.hidden = false;
  };
  work.ask("compose", what, {
    frame(data) {
      show(data);
      energy.add(data.step, data.energy);
      energy.draw();
    },
    done(data) {
      show(data);
      part(panel, "save").href = data.image;
      part(panel, "save").hidden = false;
      const accepted = data.accepted === undefined ? "" : `, ${(100 * data.accepted).toFixed(0)} % accepted`;
      return `${counted(data.energies.length, "sample")}, ${data.gradients} gradients of each energy${accepted}, ${data.seconds.toFixed(1)} s`;
    },
    failed(error) {  // the place that it names, below the text and selected in it
      const column = /^column (\d+)/.exec(error.message);
      if (!column) return;
      const at = bytesToPlace(text.value, Number(column[1]) - 1);
      part(panel, "wrong").textContent = `${text.value}\n${" ".repeat(at)}^`;
      if (document.activeElement === text) text.setSelectionRange(at, Math.min(at + 1, text.value.length));
    },
  });
}
// Columns count bytes of UTF-8.
const bytesToPlace = (string, bytes) => new TextDecoder().decode(new TextEncoder().encode(string).slice(0, bytes)).length;

function take(state) {
  text.value = state.expression || examples[0];
  for (const name of ["given", "base", "moves", "step_share"]) field(name).value = state[name] || "";
  field("seed").value = state.seed || 0;
  field("count").value = state.count || "";
  field("bound").value = state.bound || "4";
  written();
  draw();
}

draggable(picture, text, () => Number(field("bound").value), draw);
for (const input of [text, field("given")]) input.addEventListener("input", written);
for (const kind of ["click", "keyup"]) text.addEventListener(kind, showSuggestions);
sentByEnter(text);
part(panel, "form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
part(panel, "another").addEventListener("click", () => { field("seed").value = anySeed(); draw(); });
field("example").addEventListener("change", () => {
  if (!field("example").value) return;
  text.value = field("example").value;
  written();
  draw();
});

export const compose = {
  enter(state) {
    if (!entered) fill(field("example"), [["", "an example …"], ...examples.map((e) => [e, e])]);
    $("about").textContent = "& adds energies, | mixes densities, ! takes one away, \\ is without, 2* weighs. In the plane, gaussians, rings and boxes can be dragged.";
    if (state || !entered) take(state || {});
    if (!state && !recall("compose")) remember("compose", request());
    entered = true;
  },
  leave: () => work.stop(),
};
