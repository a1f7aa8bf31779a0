// The viewer's page: asks /api/sample for events and shows them. The address holds what was asked, so that a link repeats it.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const token = new URLSearchParams(location.search).get("token");
  const headers = (more) => (token ? { ...more, "X-Token": token } : more);
  let models = [], running = null;

  // The slider's place stands for gradients: 5 to 1,000, evenly in their logarithm; 0: as many as the model's recipe says.
  const budgetOf = (place) => (Number(place) === 0 ? 0 : Math.round(5 * Math.pow(200, (place - 1) / 99)));
  const chosen = () => models.find((m) => m.name === $("model").value);

  function fill(select, pairs) {
    select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
  }

  function showModel() {
    const model = chosen();
    $("about").textContent = model.about;
    const usual = model.kind === "image" ? 25 : 2000;
    $("count").max = model.kind === "image" ? 400 : 10000;
    $("count").value = usual;
    $("label-row").hidden = !model.classes.length;
    fill($("label"), [["", "all in turn"], ...model.classes.map((c) => [c, c]), ...(model.none && model.classes.length ? [["none", "none in particular"]] : [])]);
    $("guidance-row").hidden = !model.none;
    $("guidance").value = 1;
    $("budget").value = 0;
    $("numbers").replaceChildren(...model.numbers.map((n) => {
      const label = document.createElement("label"), shown = document.createElement("output"), input = document.createElement("input");
      Object.assign(input, { type: "range", min: n.low, max: n.high, step: (n.high - n.low) / 100 || 1, value: (n.low + n.high) / 2 });
      input.dataset.name = n.name;
      const show = () => { shown.textContent = Number(input.value).toPrecision(3); };
      input.addEventListener("input", show);
      show();
      label.append(n.name + " ", shown, input);
      return label;
    }));
    showSliders();
  }

  function showSliders() {
    const budget = budgetOf($("budget").value);
    $("budget-of").textContent = budget ? String(budget) : `${chosen().gradients}, as its recipe says`;
    $("guidance-of").textContent = $("guidance").value;
  }

  function asked() {
    const model = chosen(), out = { model: model.name, count: Number($("count").value), seed: Number($("seed").value) };
    const budget = budgetOf($("budget").value);
    if (budget) out.budget = budget;
    if (model.classes.length && $("label").value) out.label = $("label").value;
    if (model.none && Number($("guidance").value) !== 1) out.guidance = Number($("guidance").value);
    const numbers = [...$("numbers").querySelectorAll("input")].map((i) => `${i.dataset.name}=${i.value}`);
    if (numbers.length) out.condition = numbers.join(",");
    return out;
  }

  function take(state) {  // from the address
    if (!models.some((m) => m.name === state.model)) return false;
    $("model").value = state.model;
    showModel();
    if (state.label) $("label").value = state.label;
    if (state.count) $("count").value = state.count;
    if (state.seed !== undefined) $("seed").value = state.seed;
    if (state.guidance) $("guidance").value = state.guidance;
    if (state.budget) $("budget").value = Math.round(1 + 99 * Math.log(state.budget / 5) / Math.log(200));
    for (const pair of (state.condition || "").split(",")) {
      const input = [...$("numbers").querySelectorAll("input")].find((i) => i.dataset.name === pair.split("=")[0]);
      if (input) { input.value = pair.split("=")[1]; input.dispatchEvent(new Event("input")); }
    }
    showSliders();
    return true;
  }

  const charts = {};
  const figures = { energy: [], norm: [] };
  function plot() {
    if (typeof Dygraph === "undefined") return;
    for (const [id, rows] of Object.entries(figures)) {
      if (!rows.length) continue;
      if (charts[id]) charts[id].updateOptions({ file: rows });
      else charts[id] = new Dygraph($(id), rows, { labels: ["step", id], colors: ["#2f6fde"], strokeWidth: 1.5, legend: "never", axes: { y: { axisLabelWidth: 60 } },
        gridLineColor: "rgba(128,128,128,.25)", axisLineColor: "rgba(128,128,128,.6)", maxNumberWidth: 8 });
    }
  }

  function say(text, wrong) {
    $("state").textContent = text;
    $("state").classList.toggle("wrong", Boolean(wrong));
  }

  function show(image) {
    $("picture").src = image;
    $("picture").hidden = false;
  }

  function happened(name, data, count) {
    if (name === "waiting") say(`${data.before} before you`);
    if (name === "error") say(data.error, true);
    if (name === "frame") {
      show(data.image);
      $("progress").value = data.step / data.total;
      say(`step ${data.step} of ${data.total}`);
      if (Number.isFinite(data.energy)) figures.energy.push([data.step, data.energy]);
      if (Number.isFinite(data.gradient_norm)) figures.norm.push([data.step, data.gradient_norm]);
      plot();
    }
    if (name === "done") {
      show(data.image);
      $("progress").value = 1;
      $("save").href = data.image;
      $("save").hidden = false;
      $("command").textContent = data.command;
      $("command-row").hidden = false;
      say(`${count} samples, ${data.gradients} gradients each, ${data.seconds.toFixed(1)} s`);
    }
  }

  async function draw() {
    if (running) running.abort();
    const mine = running = new AbortController();
    const request = asked();
    history.replaceState(null, "", location.search + "#" + new URLSearchParams(request));
    for (const rows of Object.values(figures)) rows.length = 0;
    $("save").hidden = true;
    $("stop").disabled = false;
    $("progress").value = 0;
    say("asking …");
    try {
      const response = await fetch("api/sample", { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(request), signal: mine.signal });
      if (!response.ok) throw new Error((await response.json()).error);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = "";;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
          const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(text.slice(0, end));
          if (running === mine) happened(name, JSON.parse(data), request.count);
        }
      }
    } catch (error) {
      if (running === mine) say(mine.signal.aborted ? "stopped" : error.message, !mine.signal.aborted);
    }
    if (running === mine) $("stop").disabled = true;
  }

  $("form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
  $("stop").addEventListener("click", () => running && running.abort());
  $("another").addEventListener("click", () => { $("seed").value = Math.floor(Math.random() * 2147483647); draw(); });
  $("model").addEventListener("change", () => { showModel(); draw(); });
  $("label").addEventListener("change", draw);
  for (const id of ["budget", "guidance"]) {
    $(id).addEventListener("input", showSliders);
    $(id).addEventListener("change", draw);
  }
  $("numbers").addEventListener("change", draw);

  fetch("api/models", { headers: headers({}) }).then(async (response) => {
    const told = await response.json();
    if (!response.ok) throw new Error(told.error);
    models = told.models;
    fill($("model"), models.map((m) => [m.name, m.name]));
    if (!take(Object.fromEntries(new URLSearchParams(location.hash.slice(1))))) {
      const usual = models.find((m) => m.name === "fashion-mnist") || models[0];
      $("model").value = usual.name;
      showModel();
    }
    draw();
  }).catch((error) => say(error.message, true));
})();
