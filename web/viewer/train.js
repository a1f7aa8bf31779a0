// Train: how the runs that the server was given come along: curves, newest samples; and buttons that end one, or go on with it.
import { $, answer, fill, models, part, remember } from "./common.js";

const panel = $("tab-train"), field = (name) => panel.querySelector(`[name="${name}"]`);
const colours = ["#2f6fde", "#d1570b", "#2a9d57", "#8a4fd0"];
const charts = new Map();  // by group of figures
let timer = null, entered = false;

const say = (text, wrong) => {
  part(panel, "state").textContent = text;
  part(panel, "state").classList.toggle("wrong", Boolean(wrong));
};
const runs = () => models.filter((m) => m.own);

function grouped(series) {
  const groups = new Map();
  for (const s of figures.told(series)) {
    const group = figures.plotOf(s.name);
    groups.set(group, [...(groups.get(group) || []), s]);
  }
  return groups;
}

function plot(series) {
  if (typeof Dygraph === "undefined") return;
  const groups = [...grouped(series)].sort(figures.inOrder), before = charts.size;
  for (const [group, lines] of groups) {
    const steps = [...new Set(lines.flatMap((l) => l.points.map((p) => p[0])))].sort((a, b) => a - b);
    const values = lines.map((l) => new Map(l.points)), labels = ["step", ...lines.map((l) => figures.words(l.name))];
    const rows = steps.map((step) => [step, ...values.map((v) => v.get(step) ?? null)]);
    if (!rows.length) continue;
    if (charts.has(group)) {
      charts.get(group).updateOptions({ file: rows, labels });
      continue;
    }
    const box = document.createElement("div"), title = document.createElement("h2"), host = document.createElement("div");
    title.textContent = lines.map((l) => figures.words(l.name)).join(", ");
    host.className = "canvas";
    box.append(title, host);
    part(panel, "plots").append(box);
    charts.set(group, new Dygraph(host, rows, { labels, colors: colours, strokeWidth: 1.3, connectSeparatedPoints: true, legend: "follow",
      axes: { y: { axisLabelWidth: 60, ticker: figures.ticker } }, gridLineColor: "rgba(128,128,128,.25)", axisLineColor: "rgba(128,128,128,.6)", maxNumberWidth: 8 }));
  }
  if (charts.size > before) for (const chart of charts.values()) chart.resize();  // those beside them took of their width
}

async function look() {
  clearTimeout(timer);
  const run = field("run").value;
  remember("train", { run });
  try {
    const told = await answer("train", { run });
    if (run !== field("run").value) return;
    const step = Math.max(0, ...told.series.flatMap((s) => s.points.slice(-1).map((p) => p[0])));
    say(`${told.in_training ? "in training" : told.finished ? "finished" : "not in training"}, step ${step}${told.events.length ? `; ${told.events.map((e) => `${e.what} at step ${e.step}`).join("; ")}` : ""}`);
    part(panel, "stop").disabled = !told.in_training;
    part(panel, "resume").disabled = told.in_training || told.finished;
    part(panel, "from-terminal").hidden = told.in_training || told.finished;
    part(panel, "command").textContent = told.command;
    part(panel, "picture").hidden = !told.image;
    if (told.image) part(panel, "picture").src = told.image;
    part(panel, "caption").textContent = told.picture_step === undefined ? "" : `samples of step ${told.picture_step}`;
    plot(told.series);
  } catch (error) {
    say(error.message, true);
  }
  if (!panel.hidden) timer = setTimeout(look, 3000);
}

async function tell(what, done) {
  part(panel, what).disabled = true;
  try {
    await answer(what, { run: field("run").value });
    say(done);
  } catch (error) {
    say(error.message, true);
  }
}
part(panel, "stop").addEventListener("click", () => tell("stop", "asked to end; it saves a checkpoint first"));
part(panel, "resume").addEventListener("click", () => tell("resume", "under way again"));
field("run").addEventListener("change", () => {
  part(panel, "plots").replaceChildren();
  charts.clear();
  look();
});

export const train = {
  enter(state) {
    if (!entered) fill(field("run"), runs().map((m) => [m.name, m.name]));
    entered = true;
    $("about").textContent = "Runs that igebm serve was given.";
    if (state && runs().some((m) => m.name === state.run)) field("run").value = state.run;
    part(panel, "form").hidden = !runs().length;
    if (runs().length) look();
    else part(panel, "caption").textContent = "None was given. Start it with one: igebm serve runs/mine";
  },
  leave: () => clearTimeout(timer),
};
