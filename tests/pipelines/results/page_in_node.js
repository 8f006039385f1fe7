// Run the script of a page in Node with stand-ins for a browser, do what a person would, and print what is seen.

const { readFileSync } = require("node:fs");
const vm = require("node:vm");

const html = readFileSync(process.argv[2], "utf-8");
const inside = (id) => new RegExp(`<script[^>]*id="${id}"[^>]*>([^]*?)</script>`).exec(html)[1];
const context = new Proxy({}, { get: (_, name) => (name === "measureText" ? () => ({ width: 10 }) : () => {}), set: () => true });

function makeElement() {
  const listeners = {};
  return { textContent: "", style: {}, dataset: {}, children: [], hidden: true, clientWidth: 400, clientHeight: 300,
    offsetWidth: 0, offsetHeight: 0, selectedIndex: 0, classList: { add() {}, remove() {} },
    getContext: () => context, remove() {}, append(...more) { this.children.push(...more); },
    replaceChildren(...more) { this.children = more; }, addEventListener(name, act) { listeners[name] = act; },
    send(name, event) { listeners[name]({ preventDefault() {}, ...event }); },
    getBoundingClientRect: () => ({ left: 0, top: 0, width: 400, height: 300 }) };
}
const elements = { described: { textContent: inside("described") }, data: { textContent: inside("data"), remove() {} } };
const frames = [];
Object.assign(globalThis, {
  document: { getElementById: (id) => (elements[id] ??= makeElement()), createElement: makeElement, documentElement: null },
  getComputedStyle: () => ({ getPropertyValue: () => "" }),
  matchMedia: () => ({ addEventListener() {} }),
  location: { hash: "" },
  history: { replaceState() {} },
  devicePixelRatio: 1,
  addEventListener() {},
  requestAnimationFrame: (act) => frames.push(act),
  ImageData: class { constructor(width, height) { this.data = new Uint8ClampedArray(4 * width * height); } },
  Option: class { constructor(text) { this.text = text; } },
});
const draw = () => { while (frames.length) frames.pop()(); };
const see = (expression) => vm.runInThisContext(expression);

function look(steps) {
  const seen = { tags: elements.tag.children.map((option) => option.text), left: elements.left.textContent };
  const now = () => ({ count: elements.count.textContent, value: elements.value.textContent,
    scenes: elements.scenes.children.map((item) => item.children[0].children.map((part) => part.textContent)),
    pixels: see("shown.reduce((sums, w) => { if (w >= 0) sums[w] = (sums[w] || 0) + 1; return sums; }, [])") });
  seen.first = now();
  for (const [name, value] of steps) {
    if (name === "threshold") { elements.threshold.value = String(value); elements.threshold.oninput(); }
    if (name === "tag") { elements.tag.selectedIndex = value; elements.tag.onchange(); }
    if (name === "scene") elements.scenes.children[value].children[0].onclick();
    draw();
  }
  seen.last = now();
  seen.hovers = see("[...new Set(shown)].filter((w) => w >= 0).sort((a, b) => a - b).map((w) => shown.indexOf(w))").map((k) => {
    elements.map.send("pointermove", { clientX: k % 400, clientY: Math.floor(k / 400) });
    return elements.hover.textContent;
  });
  return seen;
}

vm.runInThisContext(/<script>([^]*)<\/script>/.exec(html)[1]);
const wait = setInterval(() => {
  if (!frames.length && !elements.count?.textContent) return;
  clearInterval(wait);
  draw();
  console.log(JSON.stringify(look(JSON.parse(process.argv[3]))));
}, 1);
