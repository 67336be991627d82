// Puts the state of the service on the page, once a second.

import { Chart } from "./chart.js";
import { clock } from "./dom.js";
import { follow, read } from "./feed.js";
import * as lists from "./lists.js";
import { DistrictMap } from "./map.js";
import { locale, other, translate, word } from "./words.js";

// Zones change with an import, a few times a year; a page left open for weeks still learns of it.
const ZONES_EVERY_MS = 60000;

const find = (selector) => document.querySelector(selector);
const chart = new Chart(find("#chart"));
const map = new DistrictMap(find("#map"));
const banner = find("#banner");
let state = null;
let since = null;
let connected = false;

function paint() {
  const language = locale();
  find("#language").textContent = word("other");
  if (!connected) say(state === null ? word("connecting") : word("lost", { at: clock(state.at) }), state !== null);
  else if (!state.database_answers) say(word("databaseAway"), true);
  else say(null);
  document.body.classList.toggle("lost", !connected && state !== null);
  if (state === null) return;
  find("#clock").textContent = clock(state.at);
  lists.parts(find("#parts"), state.readiness, language);
  lists.tiles(find("#tiles"), state, language);
  lists.findings(find("#findings .rows"), state.latest_findings, language);
  lists.quarantine(find("#quarantine .rows"), state.latest_dead_letters, language);
  lists.books(find("#books .scroll"), state.sources, language);
  map.update(state);
}

function say(text, urgent = false) {
  banner.hidden = text === null;
  banner.classList.toggle("urgent", urgent);
  if (text !== null && banner.textContent !== text) banner.textContent = text;
}

async function outline() {
  try {
    map.outline(await read("/api/v1/zones"));
  } catch {
    // The banner tells when the service is away; the outline that is there stays.
  }
}

translate();
paint();
follow({
  snapshot(next) {
    if (since !== next.since) outline();
    ({ since } = next);
    [state, connected] = [next, true];
    chart.begin(next.history);
    paint();
  },
  pulse(next) {
    [state, connected] = [next, true];
    chart.add(next.rates);
    paint();
  },
  lost() {
    connected = false;
    paint();
  },
});
setInterval(outline, ZONES_EVERY_MS);
find("#language").addEventListener("click", () => {
  other();
  translate();
  chart.paint();
  paint();
});
