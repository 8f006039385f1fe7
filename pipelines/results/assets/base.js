"use strict";

// What both pages are built on: what they hold, and how names and numbers are shown.

const page = JSON.parse(document.getElementById("described").textContent);
const element = (id) => document.getElementById(id);

// Unpack the arrays of a page: returns a function that takes the next one.
async function inflate() {
  if (typeof DecompressionStream === "undefined") throw new Error("this page needs a browser of 2023 or later");
  const node = element("data"),
    text = atob(node.textContent),
    bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
  node.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = await new Response(stream).arrayBuffer();
  let start = 0;
  return (Kind, length) => {
    const array = new Kind(data, start, length);
    start += array.byteLength;
    return array;
  };
}

function shorten(text, most) {
  return text.length > most ? "…" + text.slice(1 - most) : text;
}
function percent(share) {
  return `${(100 * share).toFixed(1)}\u00a0%`;
}
function number(count) {
  return count.toLocaleString("en");
}
// "1 image", "2,000 images"; with the words for many where they are not those for one and an s.
function quantity(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

function tone(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Keep the state of the page in its address, a moment after it last changed: browsers refuse too many changes.
let keeping = 0;
function keepInAddress(state) {
  clearTimeout(keeping);
  keeping = setTimeout(() => history.replaceState(null, "", `#${new URLSearchParams(state())}`), 150);
}
function readAddress() {
  return new URLSearchParams(location.hash.slice(1));
}

// Make an element; texts among its children stay text.
function make(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
