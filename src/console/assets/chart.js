// Two lines over the last three minutes, as SVG.

import { clock, draw, make, short } from "./dom.js";
import { word } from "./words.js";

const SPAN_MS = 180000;
const EDGE = { left: 52, right: 12, top: 12, bottom: 22 };
const LINES = [
  ["messages_received_per_s", "received", "messagesPerSecond"],
  ["readings_stored_per_s", "stored", "readingsPerSecond"],
];

// 1, 2 or 5 times a power of ten, at least `value`.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

export class Chart {
  constructor(section) {
    this.canvas = section.querySelector(".canvas");
    this.legend = section.querySelector("#chart-legend");
    this.samples = [];
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  begin(samples) {
    this.samples = samples;
    this.paint();
  }

  add(sample) {
    if (this.samples.at(-1)?.at === sample.at) return;
    this.samples.push(sample);
    const oldest = Date.parse(sample.at) - SPAN_MS;
    while (Date.parse(this.samples[0].at) < oldest) this.samples.shift();
    this.paint();
  }

  paint() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === 0) return;
    const end = Date.parse(this.samples.at(-1)?.at ?? new Date());
    const top = round(Math.max(10, ...this.samples.flatMap((sample) => LINES.map(([field]) => sample[field]))) * 1.05);
    const x = (at) => EDGE.left + (1 - (end - Date.parse(at)) / SPAN_MS) * (width - EDGE.left - EDGE.right);
    const y = (value) => height - EDGE.bottom - (value / top) * (height - EDGE.top - EDGE.bottom);
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": word("throughput") });
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      const level = y(top * part);
      picture.append(draw("line", { x1: EDGE.left, x2: width - EDGE.right, y1: level, y2: level, class: "grid" }));
      if (part * 4 % 2 === 0) picture.append(draw("text", { x: EDGE.left - 8, y: level + 4, class: "axis end" }, short(top * part)));
    }
    for (const back of [180, 120, 60, 0]) {
      const at = new Date(end - back * 1000).toISOString();
      const place = back === 180 ? "" : back === 0 ? " end" : " middle";
      picture.append(draw("text", { x: x(at), y: height - 5, class: `axis${place}` }, clock(at)));
    }
    for (const [field, style] of LINES) {
      const points = this.samples.map((sample) => `${x(sample.at).toFixed(1)},${y(sample[field]).toFixed(1)}`);
      if (points.length < 2) continue;
      const [first, last] = [x(this.samples[0].at), x(this.samples.at(-1).at)];
      picture.append(draw("path", { d: `M${first},${y(0)}L${points.join("L")}L${last},${y(0)}Z`, class: `area ${style}` }));
      picture.append(draw("path", { d: `M${points.join("L")}`, class: `line ${style}` }));
    }
    this.canvas.replaceChildren(picture);
    this.legend.replaceChildren(
      ...LINES.map(([, style, key]) => make("span", {}, make("i", { class: `swatch ${style}` }), word(key))),
    );
  }
}
