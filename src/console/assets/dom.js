// Building elements and writing numbers and times. Text only ever becomes text nodes.

import { locale } from "./words.js";

export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const whole = (number) => Math.round(number).toLocaleString(locale());

export function short(number) {
  if (number < 10) return number.toLocaleString(locale(), { maximumFractionDigits: 1 });
  return number < 100000 ? whole(number) : number.toLocaleString(locale(), { notation: "compact", maximumFractionDigits: 1 });
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return `${whole(milliseconds)} ms`;
  if (milliseconds < 120000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${whole(milliseconds / 60000)} min`;
}

// The legal time of the district, wherever the screen stands.
export function clock(text) {
  return new Date(text).toLocaleTimeString(locale(), { hour12: false, timeZone: "Asia/Shanghai" });
}

export function moment(text) {
  const at = new Date(text);
  const day = (date) => date.toLocaleDateString("en-CA", { timeZone: "Asia/Shanghai" });
  return day(at) === day(new Date()) ? clock(text) : `${day(at)} ${clock(text)}`;
}

// Replaces the children only when what they show has changed, so that focus and selection survive the second.
export function show(parent, key, children) {
  const wanted = JSON.stringify(key);
  if (parent.shown === wanted) return;
  parent.shown = wanted;
  parent.replaceChildren(...children());
}
