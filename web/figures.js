// What reports and the viewer share about a run's figures: which are one plot, what they are called, and how axes are labelled.
"use strict";
const figures = (() => {
  const firstPlots = ["loss", "energy", "energy/samples - data", "quality", "accuracy", "gradient_norm", "learning_rate"];

  // Less those that say nothing: the one part of a loss is the loss.
  function told(series) {
    const parts = series.filter((s) => s.name.startsWith("loss/")), whole = series.find((s) => s.name === "loss");
    const same = parts.length === 1 && whole && String(parts[0].points) === String(whole.points);
    return same ? series.filter((s) => s !== parts[0]) : series;
  }

  // "energy/data" and "energy/samples" are one plot; a difference and a share have other scales than what they are listed with.
  function plotOf(name) {
    return name === "energy/samples - data" || name.endsWith("_share") ? name : name.split("/")[0];
  }

  const placeOf = (plot) => { const at = firstPlots.findIndex((f) => plot === f || plot.startsWith(`${f}/`)); return at < 0 ? firstPlots.length : at; };
  const inOrder = ([a], [b]) => placeOf(a) - placeOf(b) || (a < b ? -1 : 1);

  const words = (name) => name.replaceAll("_", " ").replace("/", ": ");

  // dygraphs' own ticks, with as many digits as tell them apart.
  function ticker(...asked) {
    const ticks = Dygraph.numericTicks(...asked), at = ticks.filter((t) => t.label).map((t) => t.v);
    const apart = Math.min(...at.slice(1).map((v, i) => Math.abs(v - at[i])));
    if (!Number.isFinite(apart) || !apart) return ticks;
    let digits = 1;
    const text = (v) => String(Number((Math.abs(v) < apart / 100 ? 0 : v).toPrecision(digits)));
    while (digits < 8 && at.some((v) => Math.abs(text(v) - v) > apart / 50)) ++digits;
    for (const tick of ticks) if (tick.label) tick.label = text(tick.v);
    return ticks;
  }

  return { told, plotOf, inOrder, words, ticker };
})();
