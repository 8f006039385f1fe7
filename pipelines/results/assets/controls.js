// The panel, the pointer and the keys.

const LISTED = 200;

function count() {
  const p = packed.probabilities[tag], least = Math.fround(threshold);
  let total = 0, holding = 0;
  for (const scene of scenes) {
    scene.count = scene.most = 0;
    for (let k = scene.first, end = scene.first + scene.windows; k < end; k++) {
      if (p[k] >= least) scene.count++;
      if (p[k] > scene.most) scene.most = p[k];
    }
    total += scene.count;
    holding += scene.count > 0;
  }
  element("value").textContent = String(Number(threshold.toFixed(4)));
  element("count").textContent = `${number(total)} of ${quantity(WINDOWS, "window")} (${percent(total / WINDOWS)}), in ` +
    `${number(holding)} of ${quantity(scenes.length, "scene")}`;
  listScenes();
  drawLegend();
}

function listScenes() {
  const ordered = [...scenes].sort((one, other) => other.count - one.count).slice(0, LISTED);
  element("scenes").replaceChildren(...ordered.map((scene) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const name = document.createElement("span"), found = document.createElement("span");
    button.type = "button";
    button.title = scene.path;
    button.onclick = () => fit(scene.box);
    name.className = "name";
    name.textContent = sceneName(scene);
    found.textContent = `${number(scene.count)} of ${number(scene.windows)}`;
    button.append(name, found);
    item.append(button);
    return item;
  }));
  const more = scenes.length - ordered.length;
  element("more").textContent = more ? `and ${quantity(more, "more scene")}` : "";
}

function drawLegend() {
  const legend = element("legend"), context = legend.getContext("2d");
  for (let k = 0; k < SHADES; k++) {
    context.fillStyle = k / (SHADES - 1) >= threshold ? `rgb(${COLOURS[k].join()})` : tone("bar");
    context.fillRect(k, 0, 1, legend.height);
  }
}

function setThreshold(value) {
  threshold = value;
  element("threshold").value = String(value);
  count();
  colour();
  drawScenes();
}

function setTag(index) {
  tag = index;
  element("tag").selectedIndex = index;
  threshold = page.tags[tag].threshold;
  element("threshold").value = String(threshold);
  element("reset").textContent = `back to ${Number(threshold.toFixed(4))}`;
  count();
  draw();
}

function describe(window) {
  const scene = scenes[sceneOf[window]], [column, row, wide, high] = packed.places.subarray(4 * window, 4 * window + 4);
  const order = page.tags.map((_, k) => k).filter((k) => k !== tag);
  order.sort((one, other) => packed.probabilities[other][window] - packed.probabilities[one][window]);
  const lines = [wide ? `${scene.path}#xywh=${column},${row},${wide},${high}` : scene.path];
  if (scene.name !== scene.path) lines.push(scene.name);
  if (scene.taken) lines.push(scene.taken);
  for (const k of [tag, ...order.slice(0, 5)]) lines.push(`${page.tags[k].name}: ${percent(packed.probabilities[k][window])}`);
  return lines.join("\n");
}

function hover(event) {
  const box = element("map").getBoundingClientRect(), left = event.clientX - box.left, top = event.clientY - box.top;
  const column = Math.floor(left * ratio), row = Math.floor(top * ratio), label = element("hover");
  const window = column >= 0 && column < width && row >= 0 && row < height ? shown[row * width + column] : NOTHING;
  label.hidden = window === NOTHING;
  if (label.hidden) return;
  label.textContent = describe(window);
  label.style.left = `${Math.min(left + 14, Math.max(0, box.width - label.offsetWidth - 4))}px`;
  label.style.top = `${Math.min(top + 14, Math.max(0, box.height - label.offsetHeight - 4))}px`;
}

function zoom(factor, x = width / 2, y = height / 2) {
  const scale = Math.max(64, Math.min(MOST_PIXELS_WIDE, view.scale * factor));
  view.x += (x - width / 2) * (1 / view.scale - 1 / scale);
  view.y += (y - height / 2) * (1 / view.scale - 1 / scale);
  view.scale = scale;
  draw();
}

function listen() {
  const map = element("map");
  let held = null;
  map.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY };
    map.setPointerCapture(event.pointerId);
    map.classList.add("moved");
  });
  map.addEventListener("pointermove", (event) => {
    if (!held) { hover(event); return; }
    view.x -= (event.clientX - held.x) * ratio / view.scale;
    view.y -= (event.clientY - held.y) * ratio / view.scale;
    held = { x: event.clientX, y: event.clientY };
    element("hover").hidden = true;
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    map.addEventListener(end, () => { held = null; map.classList.remove("moved"); });
  }
  map.addEventListener("pointerleave", () => { element("hover").hidden = true; });
  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = map.getBoundingClientRect(), turned = event.deltaY * (event.deltaMode === 1 ? 30 : 1);
    zoom(2 ** (-Math.max(-300, Math.min(300, turned)) / 300), (event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio);
  }, { passive: false });
  map.addEventListener("keydown", (event) => {
    const step = 80 * ratio / view.scale;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (moves[event.key]) { view.x += moves[event.key][0]; view.y += moves[event.key][1]; draw(); } else return;
    event.preventDefault();
  });
  element("in").onclick = () => zoom(1.5);
  element("out").onclick = () => zoom(1 / 1.5);
  element("all").onclick = () => fit(everything());
  element("tag").onchange = () => setTag(element("tag").selectedIndex);
  element("threshold").oninput = () => setThreshold(Number(element("threshold").value));
  element("reset").onclick = () => setThreshold(page.tags[tag].threshold);
  addEventListener("resize", () => { measure(); draw(); });
  addEventListener("hashchange", readState);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawLegend(); draw(); });
}

function leftOut() {
  const { below, unplaced, images } = page.counts, lines = [];
  if (below) lines.push(`windows below ${page.min_probability}: ${number(below)}`);
  if (unplaced) lines.push(`windows without a location: ${number(unplaced)}`);
  if (images) lines.push(`images that are not windows: ${number(images)}`);
  return lines.length ? `left out: ${lines.join("; ")}` : "";
}

function stateInWords() {
  const kept = [["tag", page.tags[tag].name]];
  if (threshold !== page.tags[tag].threshold) kept.push(["threshold", threshold]);
  return [...kept, ["at", `${view.x.toFixed(7)},${view.y.toFixed(7)},${Math.log2(view.scale / ratio).toFixed(2)}`]];
}

// Show what the address says, or everything.
function readState() {
  const given = readAddress(), least = Number(given.get("threshold")), at = (given.get("at") || "").split(",").map(Number);
  setTag(Math.max(0, page.tags.findIndex(({ name }) => name === given.get("tag"))));
  if (given.has("threshold") && least >= 0 && least <= 1) setThreshold(least);
  if (at.length === 3 && at.every(Number.isFinite)) {
    view = { x: at[0], y: at[1], scale: Math.max(64, Math.min(MOST_PIXELS_WIDE, ratio * 2 ** at[2])) };
    draw();
  } else {
    fit(everything());
  }
}

async function start() {
  packed = await unpack();
  place();
  element("tag").replaceChildren(...page.tags.map(({ name }) => new Option(name)));
  element("left").textContent = leftOut();
  const credit = page.basemap ? `tiles: ${new URL(page.basemap).host} · ` : "";
  element("source").textContent = `${credit}scenetags, model ${page.model}`;
  measure();
  listen();
  readState();
}
start().catch((error) => { element("count").textContent = String(error.message || error); });
