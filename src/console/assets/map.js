// The district as SVG: outlines of zones, stations, terminals and machines. Plain equirectangular, true in the middle.

import { draw, make, moment, whole } from "./dom.js";
import { named, word } from "./words.js";

const MARGIN = 26;

// Every ring of a Polygon or MultiPolygon.
function rings(geometry) {
  if (geometry?.type === "Polygon") return geometry.coordinates;
  return geometry?.type === "MultiPolygon" ? geometry.coordinates.flat() : [];
}

// Outlines are drawn beneath what lies inside them.
const isOutline = (zone) => zone.properties.rule === "outline" || zone.properties.kind === "district";

function middle(points) {
  const places = points.slice(1);
  return [0, 1].map((axis) => places.reduce((sum, point) => sum + point[axis], 0) / places.length);
}

export class DistrictMap {
  constructor(section) {
    this.canvas = section.querySelector(".canvas");
    this.count = section.querySelector("#map-count");
    this.zones = [];
    this.state = { stations: [], movers: [] };
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  outline(collection) {
    this.zones = collection.features.toSorted((a, b) => isOutline(b) - isOutline(a));
    this.paint();
  }

  update(state) {
    this.state = state;
    this.paint();
  }

  // Fits zones and stations; terminals only where there is nothing else, or one far away would shrink the district.
  fit(width, height) {
    const stations = this.state.stations.filter((station) => station.longitude !== null && station.latitude !== null);
    let points = this.zones.flatMap((zone) => rings(zone.geometry).flat());
    points = points.concat(stations.map((station) => [station.longitude, station.latitude]));
    if (points.length < 2) points = points.concat(this.state.movers.map((mover) => [mover.longitude, mover.latitude]));
    if (points.length === 0) return null;
    const range = (axis) => [Math.min(...points.map((p) => p[axis])), Math.max(...points.map((p) => p[axis]))];
    const [[west, east], [south, north]] = [range(0), range(1)];
    const shrink = Math.cos((((south + north) / 2) * Math.PI) / 180);
    const scale = Math.min(
      (width - 2 * MARGIN) / Math.max((east - west) * shrink, 0.01),
      (height - 2 * MARGIN) / Math.max(north - south, 0.01),
    );
    return (longitude, latitude) => [
      width / 2 + (longitude - (west + east) / 2) * shrink * scale,
      height / 2 - (latitude - (south + north) / 2) * scale,
    ];
  }

  paint() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === 0) return;
    const { stations, movers } = this.state;
    this.count.textContent = word("onMap", { stations: whole(stations.length), movers: whole(movers.length) });
    const place = this.fit(width, height);
    if (place === null) {
      this.canvas.replaceChildren(make("p", { class: "empty" }, word("noZones")));
      return;
    }
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": word("map") });
    for (const zone of this.zones) picture.append(...this.zone(zone, place));
    for (const mover of movers) picture.append(this.mover(mover, place));
    for (const station of stations) {
      if (station.longitude !== null && station.latitude !== null) picture.append(this.station(station, place));
    }
    this.canvas.replaceChildren(picture);
  }

  zone(zone, place) {
    const { name, kind, rule, hours } = zone.properties;
    const all = rings(zone.geometry);
    if (all.length === 0) return [];
    const path = all.map((ring) => `M${ring.map(([x, y]) => place(x, y).map((v) => v.toFixed(1)).join(",")).join("L")}Z`);
    const title = draw("title", {}, [name, kind, rule, hours].filter(Boolean).join(" · "));
    const style = isOutline(zone) ? "district" : kind;
    const shape = draw("path", { d: path.join(""), class: `zone ${style}`, "fill-rule": "evenodd" }, title);
    if (isOutline(zone)) return [shape];
    const [x, y] = place(...middle(all[0]));
    return [shape, draw("text", { x, y, class: "zone-name" }, name)];
  }

  station(station, place) {
    const [x, y] = place(station.longitude, station.latitude);
    const name = station.name ?? station.station_id;
    const last = station.last_passed_at ? `${word("lastPassage")} ${moment(station.last_passed_at)}` : null;
    const kind = station.known ? named(station.kind) : word("unnamed");
    const title = draw("title", {}, [name, station.station_id, kind, last].filter(Boolean).join(" · "));
    const reach = 7 + 14 * Math.sqrt(Math.min(station.recent / 250, 1));
    return draw(
      "g", { class: `station ${station.recent > 0 ? "active" : "quiet"}` }, title,
      station.recent > 0 ? draw("circle", { cx: x, cy: y, r: reach, class: "reach" }) : null,
      draw("path", { d: `M${x},${y - 7}l7,7l-7,7l-7,-7Z`, class: "mark" }),
      draw("text", { x: x + 11, y: y + 4 }, name),
    );
  }

  mover(mover, place) {
    const [x, y] = place(mover.longitude, mover.latitude);
    const speed = mover.speed_kmh === null ? null : `${mover.speed_kmh.toFixed(0)} km/h`;
    const nox = mover.nox_downstream_ppm === null ? null : `NOx ${mover.nox_downstream_ppm.toFixed(0)} ppm`;
    const title = draw("title", {}, [word(mover.kind), mover.device_id, speed, nox, moment(mover.at)].filter(Boolean).join(" · "));
    const mark = mover.kind === "nonroad"
      ? draw("rect", { x: x - 4.5, y: y - 4.5, width: 9, height: 9 })
      : draw("circle", { cx: x, cy: y, r: 4.5 });
    return draw("g", { class: `mover ${mover.kind}` }, title, mark);
  }
}
