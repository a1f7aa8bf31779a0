// What the viewer's tabs share: asking the API, the address, controls of a model, curves.

export const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
const posting = (more) => ({ "Content-Type": "application/json", ...(token ? { "X-Token": token } : {}), ...more });

export let models = [], first = "";  // the name of the one to begin with
export const model = (name) => models.find((m) => m.name === name);
export const ofPictures = () => models.filter((m) => m.kind === "image");
// The one of pictures that is named, or that is begun with.
export const pictureModel = (name) => [name, first].map(model).find((m) => m && m.kind === "image") || ofPictures()[0];
export async function loadModels() {
  const response = await fetch("api/models", { headers: posting({}) });
  const told = await response.json();
  if (!response.ok) throw new Error(told.error);
  models = told.models;
  first = told.first;
}

// The answer as one object.
export async function answer(name, request, signal) {
  const response = await fetch(`api/${name}`, { method: "POST", headers: posting({ Accept: "application/json" }), body: JSON.stringify(request), signal });
  const told = await response.json();
  if (!response.ok) throw new Error(told.error);
  return told;
}

// The answer as a file of another type, which the browser keeps.
export async function download(name, request, type, file) {
  const response = await fetch(`api/${name}`, { method: "POST", headers: posting({ Accept: type }), body: JSON.stringify(request) });
  if (!response.ok) throw new Error((await response.json()).error);
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(await response.blob()), download: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Tells heard(event, data) of the server's events until they end.
async function events(name, request, signal, heard) {
  const response = await fetch(`api/${name}`, { method: "POST", headers: posting({}), body: JSON.stringify(request), signal });
  if (!response.ok) throw new Error((await response.json()).error);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "";;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(text.slice(0, end));
      heard(event, JSON.parse(data));
    }
  }
}

// The address holds the open tab and what it was asked, so that a link repeats it.
const addresses = {};  // the last of each tab
export function remember(tab, state) {
  const kept = Object.entries({ tab, ...state }).filter(([, value]) => value !== undefined && value !== "");
  addresses[tab] = `#${new URLSearchParams(kept)}`;
  recall(tab);
}
// Back to a tab as it was left, if it was asked for anything.
export function recall(tab) {
  if (addresses[tab]) history.replaceState(null, "", location.search + addresses[tab]);
  return Boolean(addresses[tab]);
}
export const linked = (tab) => { addresses[tab] = location.hash; };
export const remembered = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

export function fill(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
}

export const part = (panel, name) => panel.querySelector(`[data-part="${name}"]`);

// One work at a time of a panel: its line of state, its progress, its button that stops it.
export class Work {
  constructor(panel) {
    this.panel = panel;
    this.running = null;
    part(panel, "stop").addEventListener("click", () => this.stop());
  }
  say(text, wrong) {
    const state = part(this.panel, "state");
    state.textContent = text;
    state.classList.toggle("wrong", Boolean(wrong));
  }
  stop() {
    if (this.running) this.running.abort();
  }
  // Calls heard.frame(data), those of other events by their names, and heard.done(data), which returns what to say.
  async ask(name, request, heard) {
    this.stop();
    const mine = this.running = new AbortController();
    part(this.panel, "stop").disabled = false;
    part(this.panel, "progress").value = 0;
    this.say("asking …");
    try {
      await events(name, request, mine.signal, (event, data) => {
        if (this.running !== mine) return;
        if (event === "waiting") this.say(`${data.before} before you`);
        if (event === "error") throw new Error(data.error);
        if (event !== "frame" && event !== "done" && heard[event]) heard[event](data);
        if (event === "frame") {
          part(this.panel, "progress").value = data.step / data.total;
          this.say(`${data.stage || "step"} ${data.step} of ${data.total}`);
          heard.frame(data);
        }
        if (event === "done") {
          part(this.panel, "progress").value = 1;
          const command = part(this.panel, "command");
          if (command && data.command) command.textContent = data.command;
          if (command) command.parentElement.hidden = !data.command;
          this.say(heard.done(data));
        }
      });
    } catch (error) {
      if (this.running === mine) this.say(mine.signal.aborted ? "stopped" : error.message, !mine.signal.aborted);
      if (this.running === mine && heard.failed && !mine.signal.aborted) heard.failed(error);
    }
    if (this.running === mine) part(this.panel, "stop").disabled = true;
  }
}

// The class, or the numbers, that a model is asked for, as controls within `host`. `changed` is called when one was.
export class Asked {
  constructor(host, changed = () => {}) {
    this.host = host;
    host.addEventListener("change", () => { this.chosen = true; changed(); });
  }
  show(of, unasked = "all in turn") {
    this.chosen = false;  // by hand
    const rows = of.numbers.map((n) => {
      const label = document.createElement("label"), shown = document.createElement("output"), input = document.createElement("input");
      Object.assign(input, { type: "range", min: n.low, max: n.high, step: (n.high - n.low) / 100 || 1, value: (n.low + n.high) / 2 });
      input.dataset.name = n.name;
      const show = () => { shown.textContent = Number(input.value).toPrecision(3); };
      input.addEventListener("input", show);
      show();
      label.append(n.name + " ", shown, input);
      return label;
    });
    if (of.classes.length) {
      const label = document.createElement("label"), select = document.createElement("select");
      select.name = "label";
      fill(select, [...(unasked ? [["", unasked]] : []), ...of.classes.map((c) => [c, c]), ...(of.none && unasked !== "none in particular" ? [["none", "none in particular"]] : [])]);
      label.append("Class ", select);
      rows.push(label);
    }
    this.host.replaceChildren(...rows);
  }
  get() {
    const out = {}, select = this.host.querySelector("select");
    const numbers = [...this.host.querySelectorAll("input")].map((i) => `${i.dataset.name}=${i.value}`);
    if (select && select.value) out.label = select.value;
    if (numbers.length) out.condition = numbers.join(",");
    return out;
  }
  // What no one has chosen by hand is no longer asked for, where the model can do without.
  forget() {
    const select = this.host.querySelector("select");
    if (select && !this.chosen && select.options[0].value === "") select.value = "";
  }
  set(state) {
    const select = this.host.querySelector("select");
    if (select && state.label) select.value = [...select.options].some((o) => o.value === state.label) ? state.label : "";
    for (const pair of (state.condition || "").split(",")) {
      const [name, value] = pair.split("="), input = [...this.host.querySelectorAll("input")].find((i) => i.dataset.name === name);
      if (input) { input.value = value; input.dispatchEvent(new Event("input")); }
    }
  }
}

// A curve within `host`, which grows; what holds it, with its heading, is shown when there is something to show.
export class Curve {
  constructor(host, name, x = "step") {
    Object.assign(this, { host, labels: [x, name], rows: [], chart: null });
    this.hide();
  }
  hide() { this.host.parentElement.hidden = true; }
  clear() { this.rows.length = 0; }
  add(x, y) {
    if (Number.isFinite(y)) this.rows.push([x, y]);
  }
  draw() {
    if (typeof Dygraph === "undefined" || !this.rows.length) return;
    this.host.parentElement.hidden = false;
    if (this.chart) return void this.chart.updateOptions({ file: this.rows });
    this.chart = new Dygraph(this.host, this.rows, { labels: this.labels, colors: ["#2f6fde"], strokeWidth: 1.5, legend: "never", axes: { y: { axisLabelWidth: 60, ticker: figures.ticker } },
      gridLineColor: "rgba(128,128,128,.25)", axisLineColor: "rgba(128,128,128,.6)", maxNumberWidth: 8 });
  }
}

export const counted = (count, what) => `${count} ${what}${Number(count) === 1 ? "" : "s"}`;
export const anySeed = () => Math.floor(Math.random() * 2147483647);

// What a data URL shows, loaded.
export function loaded(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("not a picture that this browser can open"));
    image.src = url;
  });
}

// A canvas of so many pixels, to be read.
export function blank(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return { canvas, context: canvas.getContext("2d", { willReadFrequently: true }) };
}

// A picture at a model's size: the middle of it, of the model's proportions.
export function shrunk(image, width, height) {
  const { canvas, context } = blank(width, height), side = Math.min(image.width / width, image.height / height);
  const w = width * side, h = height * side;
  context.drawImage(image, (image.width - w) / 2, (image.height - h) / 2, w, h, 0, 0, width, height);
  return canvas;
}

// Enter sends a form from within a text of several lines, too; shift and Enter begin a new one.
export function sentByEnter(text) {
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    text.form.requestSubmit();
  });
}
