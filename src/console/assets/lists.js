// Findings, quarantine, books, counters and the detail behind a row.

import { duration, make, moment, short, show, whole } from "./dom.js";
import { read } from "./feed.js";
import { named, word } from "./words.js";

const UNITS = { m_1: "m⁻¹", level: "" };

function measured(pollutant, value, limit, unit) {
  const shown = UNITS[unit] ?? unit;
  return make(
    "span", { class: "value" }, `${named(pollutant)} `, make("b", {}, `${value} ${shown}`.trim()),
    limit === undefined || limit === null ? null : ` > ${word("limit")} ${limit} ${shown}`.trimEnd(),
  );
}

// What a finding rests on, in one line, from whatever its rule put into the content.
function reasons(content) {
  const parts = [];
  for (const p of content.verdict?.pollutants ?? []) if (p.over) parts.push(measured(p.pollutant, p.value, p.limit, p.unit));
  for (const entry of content.entries ?? []) parts.push(make("span", { class: "value" }, make("b", {}, named(entry.list)), ` @v${entry.version}`));
  if (content.peak !== undefined) parts.push(measured(content.pollutant, content.peak, content.limit, content.unit), `${content.seconds} ${word("seconds")}`);
  for (const r of Array.isArray(content.readings) ? content.readings.slice(0, 3) : []) {
    if (r.value !== undefined) parts.push(measured(content.pollutant, r.value, r.limit, content.unit));
  }
  if (content.zone) parts.push(`${word("zoneWord")} ${content.zone}`, `${word("stage")} ${content.stage} < ${content.min_stage}`);
  if (content.codes?.length) parts.push(`${word("codes")} ${content.codes.join(" ")}`);
  return parts.flatMap((part, place) => (place === 0 ? [part] : [" · ", part]));
}

function subject(of) {
  if (of.kind === "vehicle") return make("span", { class: `plate ${of.plate_color}` }, of.plate);
  return make("span", { class: "device" }, of.device_id);
}

function standing(finding) {
  if (finding.state === "revoked") return make("span", { class: "badge revoked" }, word("revoked"));
  if (finding.review.state === "needed") {
    const why = (finding.review.why ?? []).map(named).join("、");
    return make("span", { class: "badge review", title: why }, word("review"));
  }
  return make("span", { class: "badge clear" }, word("clear"));
}

export function findings(list, items, language) {
  show(list, [language, items], () => {
    if (items.length === 0) return [make("li", { class: "empty" }, word("noFindings"))];
    return items.map((item) => {
      const button = make(
        "button", { type: "button", class: `row ${item.state}` },
        make("time", {}, moment(item.from)), subject(item.subject),
        make("span", { class: "what" }, make("strong", {}, named(item.rule)), make("span", { class: "why" }, ...reasons(item.content))),
        standing(item),
      );
      button.addEventListener("click", () => openFinding(item.id));
      return make("li", {}, button);
    });
  });
}

export function quarantine(list, items, language) {
  show(list, [language, items], () => {
    if (items.length === 0) return [make("li", { class: "empty" }, word("noQuarantine"))];
    return items.map((item) => {
      const button = make(
        "button", { type: "button", class: "row" },
        make("time", {}, moment(item.received_at)), make("span", { class: "source" }, item.source),
        make("span", { class: "what" }, make("strong", {}, named(item.reason)), make("span", { class: "why" }, item.detail)),
        item.replayed_at ? make("span", { class: "badge clear" }, word("replayed")) : null,
      );
      button.addEventListener("click", () => openLetter(item.id));
      return make("li", {}, button);
    });
  });
}

export function tiles(section, state, language) {
  const messages = state.sources.map((source) => source.messages);
  const readings = state.sources.map((source) => source.readings);
  const sum = (books, field) => books.reduce((total, book) => total + book[field], 0);
  const rate = (value) => `${short(value)} ${word("perSecond")}`;
  const notInFull = state.lag.events_not_in_full > 0 ? ` · ${word("notInFull")} ${short(state.lag.events_not_in_full)}` : "";
  const numbers = [
    ["received", whole(sum(messages, "received")), rate(state.rates.messages_received_per_s), ""],
    ["stored", whole(sum(readings, "stored")), rate(state.rates.readings_stored_per_s), ""],
    ["today", `${whole(state.findings_today)}${state.findings_today >= 100000 ? "+" : ""}`, `${word("sinceStartShort")} ${short(state.findings)}`, "warm"],
    ["intercepts", whole(state.intercepts), word("sinceStartShort"), state.intercepts > 0 ? "hot" : ""],
    ["quarantined", whole(sum(readings, "quarantined")), rate(state.rates.readings_quarantined_per_s), ""],
    ["lag", duration(state.lag.commit_ms), `${word("outbox")} ${short(state.lag.outbox_events)}${notInFull} · ${word("tasks")} ${short(state.lag.evaluation_tasks)}`, state.lag.commit_ms > 5000 ? "hot" : ""],
  ];
  show(section, [language, numbers], () =>
    numbers.map(([key, number, below, style]) =>
      make("div", { class: `tile ${style}` }, make("h2", {}, word(key)), make("p", { class: "number" }, number), make("p", { class: "below" }, below)),
    ),
  );
}

export function books(box, sources, language) {
  show(box, [language, sources], () => {
    if (sources.length === 0) return [make("p", { class: "empty" }, word("noSources"))];
    const balance = (left, right) => {
      const even = left === right;
      return make("td", { class: even ? "even" : "odd" }, word(even ? "balanced" : "unbalanced"));
    };
    const cell = (number) => make("td", {}, whole(number));
    const head = (...keys) => make("thead", {}, make("tr", {}, ...keys.map((key) => make("th", { scope: "col" }, word(key)))));
    const name = (source) => make("th", { scope: "row" }, source.source);
    const messages = sources.map((source) => {
      const { received, settled, in_flight, returned } = source.messages;
      return make("tr", {}, name(source), ...[received, settled, in_flight, returned].map(cell), balance(received, settled + in_flight + returned));
    });
    const readings = sources.map((source) => {
      const { decoded, stored, duplicate, conflict, quarantined } = source.readings;
      const left = decoded - stored - duplicate - conflict - quarantined;
      const state = left > 0 ? make("td", { class: "way" }, `${word("underWay")} ${whole(left)}`) : balance(left, 0);
      return make("tr", {}, name(source), ...[decoded, stored, duplicate, conflict, quarantined].map(cell), state);
    });
    return [
      make("table", {}, make("caption", {}, word("messages")), head("source", "received", "settled", "inFlight", "returned", "balance"), make("tbody", {}, ...messages)),
      make("table", {}, make("caption", {}, word("readings")), head("source", "decoded", "stored", "duplicate", "conflict", "quarantined", "balance"), make("tbody", {}, ...readings)),
    ];
  });
}

export function parts(list, readiness, language) {
  show(list, [language, readiness], () =>
    readiness.parts.map((part) =>
      make("li", { class: part.condition, title: part.detail || word(part.condition) }, make("i", {}), `${word(part.part)} ${word(part.condition)}`),
    ),
  );
}

const dialog = document.querySelector("#detail");

async function open(title, address, body) {
  dialog.querySelector("h2").textContent = title;
  const place = dialog.querySelector(".body");
  place.replaceChildren(make("p", {}, word("connecting")));
  dialog.showModal();
  try {
    place.replaceChildren(...body(await read(address)));
  } catch (error) {
    place.replaceChildren(make("p", { class: "failed" }, word("failed"), error.message));
  }
}

function raw(bytes) {
  const digest = bytes.intact === null ? "" : word(bytes.intact ? "intact" : "changed");
  return [
    make("pre", {}, bytes.data),
    make("p", { class: bytes.intact === false ? "failed" : "digest" }, `SHA-256 ${bytes.sha256} · ${whole(bytes.length)} B · ${digest}`),
  ];
}

const openFinding = (id) =>
  open(id, `/api/v1/violations/${id}`, (finding) => [
    make("p", { class: "headline" }, subject(finding.subject), " ", make("strong", {}, named(finding.rule)), " ", standing(finding)),
    make("p", {}, `${moment(finding.from)} – ${moment(finding.to)}`),
    ...(finding.review.why ?? []).map((why) => make("p", { class: "failed" }, named(why))),
    make("h3", {}, word("explained")),
    make("pre", {}, JSON.stringify(finding.content, null, 2)),
    make("h3", {}, word("evidence")),
    ...finding.evidence.flatMap((piece) => [make("p", {}, piece.reading), ...raw(piece.raw)]),
  ]);

const openLetter = (id) =>
  open(`#${id}`, `/api/v1/dead-letters/${id}`, (letter) => [
    make("p", { class: "headline" }, make("strong", {}, named(letter.reason)), ` ${letter.detail}`),
    make("p", {}, `${moment(letter.received_at)} · ${letter.source} · ${word("topic")} ${letter.topic}`),
    ...raw(letter.raw),
  ]);
