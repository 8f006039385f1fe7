// What the page holds: windows of scenes, their places, and the probability of each tag.

const { windows: WINDOWS, rings: RINGS, vertices: VERTICES } = page.sizes;

async function unpack() {
  const take = await inflate();
  const probabilities = page.tags.map(() => take(Float32Array, WINDOWS));
  return { probabilities, places: take(Int32Array, 4 * WINDOWS), rings: take(Int32Array, WINDOWS),
    sizes: take(Int32Array, RINGS), corners: take(Uint16Array, 2 * VERTICES) };
}

// The world in Web Mercator: 0 to 1 from west to east and from north to south.
function mercatorX(longitude) { return longitude / 360 + 0.5; }
function mercatorY(latitude) {
  const within = Math.max(-85.0511, Math.min(85.0511, latitude)) * Math.PI / 180;
  return 0.5 - Math.log(Math.tan(Math.PI / 4 + within / 2)) / (2 * Math.PI);
}

let packed = null;
const scenes = page.scenes;
const sceneOf = new Uint32Array(WINDOWS), ringStart = new Uint32Array(WINDOWS + 1);
const vertexStart = new Uint32Array(RINGS + 1), X = new Float64Array(VERTICES), Y = new Float64Array(VERTICES);

// Find the places of all corners, from what is packed.
function place() {
  let window = 0, ring = 0, vertex = 0;
  scenes.forEach((scene, index) => {
    const [west, south, east, north] = scene.bounds;
    scene.box = [mercatorX(west), mercatorY(north), mercatorX(east), mercatorY(south)];
    scene.line = scene.outline.map(([longitude, latitude]) => [mercatorX(longitude), mercatorY(latitude)]);
    scene.first = window;
    for (const end = window + scene.windows; window < end; window++) {
      sceneOf[window] = index;
      for (const last = ring + packed.rings[window]; ring < last; ring++) {
        for (const stop = vertex + packed.sizes[ring]; vertex < stop; vertex++) {
          X[vertex] = mercatorX(west + (east - west) * packed.corners[2 * vertex] / page.steps);
          Y[vertex] = mercatorY(south + (north - south) * packed.corners[2 * vertex + 1] / page.steps);
        }
        vertexStart[ring + 1] = vertex;
      }
      ringStart[window + 1] = ring;
    }
  });
}
