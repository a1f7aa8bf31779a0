// A report's moving parts: curves (dygraphs) and the slider through samples. Data: the JSON within the page.
"use strict";
(() => {
  const runs = JSON.parse(document.getElementById("data").textContent);
  const plots = document.getElementById("plots");
  const colours = ["#2f6fde", "#d1570b", "#2a9d57", "#8a4fd0", "#c0392b", "#0f8b8d", "#b8860b", "#6b7280"];

  // Samples of steps, and after them those at the end.
  for (const slider of document.querySelectorAll("input.pick")) {
    const end = slider.closest(".run").querySelector(".last img");
    if (end) slider.max = runs[slider.dataset.run].pictures.push(["at the end", end.src]) - 1;
    slider.addEventListener("input", () => {
      const [step, picture] = runs[slider.dataset.run].pictures[slider.value];
      document.getElementById("picture" + slider.dataset.run).src = picture;
      document.getElementById("step" + slider.dataset.run).textContent = step;
    });
  }

  // One run: a plot for each kind of figure ("energy/data" and "energy/samples" together). Several: one for each figure.
  const groups = new Map();
  runs.forEach((run, index) => {
    for (const series of figures.told(run.series)) {
      const group = runs.length > 1 ? series.name : figures.plotOf(series.name);
      if (!groups.has(group)) groups.set(group, []);
      const label = runs.length > 1 ? run.name + (runs.filter((r) => r.name === run.name).length > 1 ? " " + (index + 1) : "") : figures.words(series.name);
      groups.get(group).push({ label, points: series.points, each: series.each });
    }
  });
  // "loss" and its parts are one plot, the sum first.
  if (runs.length === 1) {
    const loss = runs[0].series.filter((s) => s.name.startsWith("loss/"));
    if (loss.length && groups.has("loss")) groups.get("loss").sort((a, b) => a.label.length - b.label.length);
  }
  const ordered = [...groups].sort(figures.inOrder);
  if (!ordered.length) {
    plots.textContent = "No figures were recorded.";
    document.querySelector(".controls").hidden = true;
  }

  const table = (lines) => {
    const out = document.createElement("table");
    out.innerHTML = "<thead><tr><th>figure</th><th>first</th><th>least</th><th>greatest</th><th>last</th></tr></thead>";
    for (const line of lines) {
      const values = line.points.map((p) => p[1]).filter(Number.isFinite);
      const row = out.insertRow();
      for (const cell of [line.label, values[0], Math.min(...values), Math.max(...values), values[values.length - 1]])
        row.insertCell().textContent = typeof cell === "number" ? cell.toPrecision(4) : cell;
    }
    return out;
  };

  // A card's Markdown: headings, paragraphs, and all else as it is written.
  for (const card of document.querySelectorAll("pre.card")) {
    const parts = card.textContent.trim().split(/\n{2,}/).map((text) => {
      const heading = /^(#+) (.*)$/.exec(text), raw = /^(\||    |- |```)/.test(text);
      const part = document.createElement(heading ? "h4" : raw ? "pre" : "p");
      part.textContent = heading ? heading[2] : raw ? text : text.replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, "");
      return part;
    });
    card.replaceWith(...parts);
  }

  const charts = [];
  // Curves of a group beside one another; those of training have marks, and follow the controls.
  const plot = (host, group, lines, x = "step") => {
    const box = document.createElement("div");
    box.className = "plot";
    const title = box.appendChild(document.createElement("h3"));
    title.textContent = figures.words(group);
    const each = Math.max(...lines.map((l) => l.each));
    if (each > 1) title.textContent += ` (means of ${each})`;
    host.append(box);
    if (typeof Dygraph === "undefined") return void box.append(table(lines));  // igebm was built without
    const canvas = box.appendChild(document.createElement("div"));
    canvas.className = "canvas";
    const names = box.appendChild(document.createElement("div"));
    names.className = "names";
    const steps = [...new Set(lines.flatMap((l) => l.points.map((p) => p[0])))].sort((a, b) => a - b);
    const values = lines.map((l) => new Map(l.points));
    const rows = steps.map((step) => [step, ...values.map((v) => (v.has(step) ? v.get(step) : null))]);
    const chart = new Dygraph(canvas, rows, {
      labels: [x, ...lines.map((l) => l.label)], colors: lines.map((_, i) => colours[i % colours.length]),
      connectSeparatedPoints: true, legend: "always", labelsDiv: names, strokeWidth: 1.5, rollPeriod: 1, digitsAfterDecimal: 4,
      gridLineColor: "rgba(128,128,128,.25)", axisLineColor: "rgba(128,128,128,.6)", drawPoints: steps.length < 40,
      maxNumberWidth: 8, axes: { y: { axisLabelWidth: 64, ticker: figures.ticker } },
      underlayCallback: (context, area, graph) => {  // where phases begin and the watchdog went back
        const mark = (step, colour) => {
          const x = graph.toDomXCoord(step);
          if (x <= area.x || x >= area.x + area.w) return;
          context.fillStyle = colour;
          context.fillRect(x, area.y, 1, area.h);
        };
        for (const run of x === "step" ? runs : []) {
          for (const [step] of run.phases) mark(step, "rgba(128,128,128,.7)");
          for (const [step] of run.events || []) mark(step, "rgba(192,57,43,.8)");
        }
      },
    });
    chart.positive = lines.every((l) => l.points.every((p) => p[1] === null || p[1] > 0));
    charts.push(chart);
  };
  for (const [group, lines] of ordered) plot(plots, group, lines);

  const traced = new Map();
  runs.forEach((run) => run.trace.forEach((s) => traced.set(s.name, [...(traced.get(s.name) || []), { label: runs.length > 1 ? run.name : figures.words(s.name), points: s.points, each: s.each }])));
  const trace = document.getElementById("trace");
  trace.hidden = !traced.size;
  for (const [name, lines] of traced) plot(trace.querySelector(".plots"), name, lines, "step of the sampler");

  const smooth = document.getElementById("smooth");
  smooth.addEventListener("input", () => {
    document.getElementById("smooth-of").textContent = smooth.value;
    for (const chart of charts) chart.adjustRoll(Number(smooth.value));
  });
  document.getElementById("log").addEventListener("change", (event) => {
    for (const chart of charts) if (chart.positive) chart.updateOptions({ logscale: event.target.checked });
  });
})();
