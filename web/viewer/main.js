// The viewer's page: its tabs, and which of them the address names.
import { $, linked, loadModels, remembered } from "./common.js";
import { sample } from "./sample.js";
import { compose } from "./compose.js";
import { restore } from "./restore.js";
import { morph } from "./morph.js";
import { planeTab } from "./plane.js";
import { train } from "./train.js";

const tabs = { sample, compose, restore, morph, plane: planeTab, train };
let open = null;

// `state` of the address, or as it was left.
function choose(name, state) {
  for (const button of $("tabs").children) {
    const chosen = button.dataset.tab === name;
    button.setAttribute("aria-selected", chosen);
    button.tabIndex = chosen ? 0 : -1;
    $(`tab-${button.dataset.tab}`).hidden = !chosen;
  }
  if (open && open !== tabs[name]) open.leave();
  open = tabs[name];
  open.enter(state);
}

const fromAddress = () => {
  const state = remembered(), name = Object.hasOwn(tabs, state.tab) ? state.tab : "sample";
  linked(name);
  choose(name, state);
};

$("tabs").addEventListener("click", (event) => {
  if (event.target.dataset.tab) choose(event.target.dataset.tab);
});
$("tabs").addEventListener("keydown", (event) => {
  const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key], all = [...$("tabs").children];
  if (!way) return;
  const next = all[(all.indexOf(event.target) + way + all.length) % all.length];
  next.focus();
  choose(next.dataset.tab);
});

loadModels().then(() => {
  fromAddress();
  addEventListener("hashchange", fromAddress);
}).catch((error) => {
  $("state").textContent = error.message;
  $("state").classList.add("wrong");
});
