// Draw the windows, the outlines and names of their scenes, and the ground below them.

const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137],
  [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37]];
const NOTHING = -1, SHADES = 256;
const NAMED = 200, TILE = 256, DEEPEST = 19, MARK = 8, MOST_PIXELS_WIDE = 2 ** 33;

function rgba(red, green, blue, alpha) { return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0; }

function shades() {
  const made = [];
  for (let k = 0; k < SHADES; k++) {
    const place = k / (SHADES - 1) * (VIRIDIS.length - 1), low = Math.min(Math.floor(place), VIRIDIS.length - 2);
    made.push(VIRIDIS[low].map((from, c) => Math.round(from + (VIRIDIS[low + 1][c] - from) * (place - low))));
  }
  return made;
}

const COLOURS = shades();
const FILL = Uint32Array.from(COLOURS, ([r, g, b]) => rgba(r, g, b, 205));
const EDGE = Uint32Array.from(COLOURS, ([r, g, b]) => rgba(r * 0.6, g * 0.6, b * 0.6, 255));
// Of windows below the threshold: gray, and mostly transparent.
const FAINT = rgba(120, 130, 140, 70), FAINT_EDGE = rgba(120, 130, 140, 130);

let tag = 0, threshold = 0;
let view = { x: 0.5, y: 0.5, scale: 256 };  // centre, and pixels of the canvas per world
let width = 0, height = 0, ratio = 1;
let shown = new Int32Array(0);  // the window at each pixel
let picture = null, pixels = null, outlined = false;
const ground = element("ground"), layer = element("windows"), names = element("names");

function measure() {
  ratio = Math.min(2, devicePixelRatio || 1);
  width = Math.max(1, Math.round(element("map").clientWidth * ratio));
  height = Math.max(1, Math.round(element("map").clientHeight * ratio));
  for (const canvas of [ground, layer, names]) { canvas.width = width; canvas.height = height; }
  shown = new Int32Array(width * height);
  picture = new ImageData(width, height);
  pixels = new Uint32Array(picture.data.buffer);
}

function fit(box) {
  const [west, north, east, south] = box;
  const margin = 40 * ratio, panel = width > 700 * ratio ? 290 * ratio : 0;
  const scale = Math.min((width - panel - 2 * margin) / Math.max(east - west, 1e-9),
    (height - 2 * margin) / Math.max(south - north, 1e-9));
  view.scale = Math.max(1, Math.min(MOST_PIXELS_WIDE, scale));
  view.x = (west + east) / 2 - panel / 2 / view.scale;
  view.y = (north + south) / 2;
  draw();
}

function everything() {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const scene of scenes) {
    for (const k of [0, 1]) box[k] = Math.min(box[k], scene.box[k]);
    for (const k of [2, 3]) box[k] = Math.max(box[k], scene.box[k]);
  }
  return box;
}

function visible(box) {
  const left = view.x - width / 2 / view.scale, top = view.y - height / 2 / view.scale;
  return box[2] >= left && box[0] <= left + width / view.scale && box[3] >= top && box[1] <= top + height / view.scale;
}

// Find the window at each pixel: where several overlap, the most probable one. Each has at least one pixel.
const crossings = [];
function rasterize() {
  shown.fill(NOTHING);
  outlined = false;
  const p = packed.probabilities[tag];
  for (const scene of scenes) {
    if (!visible(scene.box)) continue;
    for (let window = scene.first, end = scene.first + scene.windows; window < end; window++) {
      for (let ring = ringStart[window]; ring < ringStart[window + 1]; ring++) fill(window, ring, p);
    }
  }
}

function put(window, k, p) {
  const other = shown[k];
  if (other === NOTHING || p[other] < p[window]) shown[k] = window;
}

function fill(window, ring, p) {
  const start = vertexStart[ring], end = vertexStart[ring + 1], scale = view.scale;
  const left = width / 2 - view.x * scale, top = height / 2 - view.y * scale;
  let west = Infinity, east = -Infinity, north = Infinity, south = -Infinity;
  for (let v = start; v < end; v++) {
    const x = left + X[v] * scale, y = top + Y[v] * scale;
    if (x < west) west = x;
    if (x > east) east = x;
    if (y < north) north = y;
    if (y > south) south = y;
  }
  if (east < 0 || west >= width || south < 0 || north >= height) return;
  if (east - west > 10 * ratio) outlined = true;
  const first = Math.max(0, Math.ceil(north - 0.5)), last = Math.min(height - 1, Math.ceil(south - 0.5) - 1);
  let any = false;
  for (let row = first; row <= last; row++) {
    const line = row + 0.5;
    let found = 0;
    let x0 = left + X[end - 1] * scale, y0 = top + Y[end - 1] * scale;
    for (let v = start; v < end; v++) {
      const x1 = left + X[v] * scale, y1 = top + Y[v] * scale;
      if ((y0 <= line) !== (y1 <= line)) crossings[found++] = x0 + (x1 - x0) * (line - y0) / (y1 - y0);
      x0 = x1;
      y0 = y1;
    }
    for (let one = 1; one < found; one++) {
      for (let k = one; k > 0 && crossings[k - 1] > crossings[k]; k--) {
        const moved = crossings[k];
        crossings[k] = crossings[k - 1];
        crossings[k - 1] = moved;
      }
    }
    for (let pair = 0; pair + 1 < found; pair += 2) {
      const from = Math.max(0, Math.ceil(crossings[pair] - 0.5));
      const to = Math.min(width - 1, Math.ceil(crossings[pair + 1] - 0.5) - 1);
      for (let column = from; column <= to; column++) put(window, row * width + column, p);
      any = any || to >= from;
    }
  }
  if (!any) {
    const column = Math.floor((west + east) / 2), row = Math.floor((north + south) / 2);
    if (column >= 0 && column < width && row >= 0 && row < height) put(window, row * width + column, p);
  }
}

function colour() {
  const p = packed.probabilities[tag], least = Math.fround(threshold);
  for (let row = 0, k = 0; row < height; row++) {
    const below = row + 1 < height ? width : 0;
    for (let column = 0; column < width; column++, k++) {
      const window = shown[k];
      if (window === NOTHING) { pixels[k] = 0; continue; }
      const edge = outlined && (shown[k + below] !== window || (column + 1 < width && shown[k + 1] !== window));
      if (p[window] >= least) pixels[k] = (edge ? EDGE : FILL)[Math.round(p[window] * (SHADES - 1))];
      else pixels[k] = edge ? FAINT_EDGE : FAINT;
    }
  }
  layer.getContext("2d").putImageData(picture, 0, 0);
}

function sceneName(scene) { return shorten(scene.name.replace(/\/+$/, "").split("/").pop() || scene.name, 40); }

function toX(x) { return (x - view.x) * view.scale + width / 2; }
function toY(y) { return (y - view.y) * view.scale + height / 2; }

function drawScenes() {
  const context = names.getContext("2d");
  context.clearRect(0, 0, width, height);
  const side = MARK * ratio, small = new Map();
  context.beginPath();
  for (const scene of scenes) {
    if (!visible(scene.box)) continue;
    if (Math.max(scene.box[2] - scene.box[0], scene.box[3] - scene.box[1]) * view.scale < side) {
      const x = toX((scene.box[0] + scene.box[2]) / 2), y = toY((scene.box[1] + scene.box[3]) / 2);
      const near = `${Math.floor(x / side)} ${Math.floor(y / side)}`, other = small.get(near);
      if (!other || other.scene.most < scene.most) small.set(near, { scene, x: x - side / 2, y: y - side / 2 });
    } else {
      scene.line.forEach(([x, y], k) => (k ? context.lineTo(toX(x), toY(y)) : context.moveTo(toX(x), toY(y))));
      context.closePath();
    }
  }
  context.lineWidth = 1.5 * ratio;
  context.strokeStyle = tone("ink");
  context.stroke();
  // So small that they would be overlooked: squares in the colour of their most probable window, of which only the most
  // probable one is drawn where several would hide each other.
  for (const { scene, x, y } of [...small.values()].sort((one, other) => one.scene.most - other.scene.most)) {
    context.fillStyle = scene.count ? `rgb(${COLOURS[Math.round(scene.most * (SHADES - 1))].join()})` : tone("bar");
    context.fillRect(x, y, side, side);
    context.strokeRect(x, y, side, side);
  }
  drawNames(context);
}

function drawNames(context) {
  const taken = [];
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  context.lineJoin = "round";
  for (const scene of scenes) {
    if (!visible(scene.box) || taken.length >= NAMED) continue;
    const text = sceneName(scene), x = toX(scene.box[0]), y = toY(scene.box[1]) - 4 * ratio;
    const box = [x, y - 14 * ratio, x + context.measureText(text).width, y];
    if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
    taken.push(box);
    context.lineWidth = 3 * ratio;
    context.strokeStyle = `${tone("card")}dd`;
    context.strokeText(text, x, y);
    context.fillStyle = tone("ink");
    context.fillText(text, x, y);
  }
}

const tiles = new Map();
function drawGround() {
  const context = ground.getContext("2d");
  context.clearRect(0, 0, width, height);
  if (!page.basemap) return;
  const zoom = Math.max(0, Math.min(DEEPEST, Math.round(Math.log2(view.scale / TILE / ratio)))), count = 2 ** zoom;
  const side = view.scale / count, left = width / 2 - view.x * view.scale, top = height / 2 - view.y * view.scale;
  for (let y = Math.max(0, Math.floor(-top / side)); y < count && top + y * side < height; y++) {
    for (let x = Math.floor(-left / side); left + x * side < width; x++) {
      const column = ((x % count) + count) % count, key = `${zoom}/${column}/${y}`;
      let tile = tiles.get(key);
      if (!tile) {
        if (tiles.size > 500) tiles.clear();
        tile = new Image();
        tile.onload = redrawGround;
        tile.src = page.basemap.replaceAll("{z}", zoom).replaceAll("{x}", column).replaceAll("{y}", y);
        tiles.set(key, tile);
      }
      if (tile.complete && tile.naturalWidth) context.drawImage(tile, left + x * side, top + y * side, side + 0.5, side + 0.5);
    }
  }
}
let groundAsked = false;
function redrawGround() {
  if (groundAsked) return;
  groundAsked = true;
  requestAnimationFrame(() => { groundAsked = false; drawGround(); });
}

let asked = false;
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; drawNow(); });
}
function drawNow() {
  const started = performance.now();
  rasterize();
  colour();
  drawScenes();
  drawGround();
  drawScale();
  keepInAddress(stateInWords);
  // For measurements.
  element("map").dataset.milliseconds = (performance.now() - started).toFixed(1);
}
