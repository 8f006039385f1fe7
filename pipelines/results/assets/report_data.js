// What the page holds, how many images would have a tag at a threshold, and the state, which the address keeps.

const STEPS = page.bins,
  MISSED = "missed",
  WRONG = "wrong",
  STRANGEST = "strangest",
  FAILED = "failed";
const tags = page.tags,
  images = page.images;
const byFrequency = tags.map((_, k) => k).sort((one, other) => tags[other].tagged - tags[one].tagged || one - other);
let packed = null;

const state = {
  tag: 0,
  moved: new Map(),
  kind: "",
  bearing: "",
  repair: "",
  low: "",
  high: "",
  strange_from: "",
  strange_to: "",
  text: "",
  order: "",
  linear: false,
};

// For each tag, the rows at or above the lower edge of each bin.
function cumulated(histograms) {
  return tags.map((_, k) => {
    const above = new Float64Array(STEPS + 2);
    for (let bin = STEPS; bin >= 0; bin--) above[bin] = above[bin + 1] + histograms[k * (STEPS + 1) + bin];
    return above;
  });
}

async function unpack() {
  const take = await inflate(),
    size = tags.length * (STEPS + 1);
  const histograms = take(Uint32Array, size);
  packed = { histograms, above: cumulated(histograms) };
  if (page.labels) {
    packed.knownAbove = cumulated(take(Uint32Array, size));
    packed.positiveAbove = cumulated(take(Uint32Array, size));
  }
  const predicted = images.filter((image) => !image.failure).length;
  packed.probabilities = take(Float32Array, predicted * tags.length);
}

function thresholdOf(k) {
  return state.moved.has(k) ? state.moved.get(k) / STEPS : tags[k].threshold;
}
function stepOf(k) {
  return state.moved.has(k) ? state.moved.get(k) : Math.round(tags[k].threshold * STEPS);
}
function spelled(threshold) {
  return String(Number(threshold.toFixed(4)));
}

// Images that have the tag: as the output says, or at a threshold that was moved.
function bearing(k) {
  return state.moved.has(k) ? packed.above[k][state.moved.get(k)] : tags[k].tagged;
}

function move(k, step) {
  // Where the model's own threshold is, nothing has moved.
  if (Math.fround(step / STEPS) === Math.fround(tags[k].threshold)) state.moved.delete(k);
  else state.moved.set(k, step);
}

// Precision, recall and F2 of a tag at a step, over the images with labels; undefined ones are null.
function scoresOf(known, positive, all) {
  const precision = known ? positive / known : null,
    recall = all ? positive / all : null;
  const f2 = all + known ? (5 * positive) / (4 * all + known) : null;
  return { precision, recall, f2, known, positive, all };
}
function scoresAt(k, step) {
  return scoresOf(packed.knownAbove[k][step], packed.positiveAbove[k][step], packed.positiveAbove[k][0]);
}
function scores(k) {
  if (state.moved.has(k)) return scoresAt(k, state.moved.get(k));
  return scoresOf(page.labels.tagged[k], page.labels.hits[k], packed.positiveAbove[k][0]);
}
function bestStep(k) {
  let best = 0;
  for (let step = 1; step <= STEPS; step++) if (scoresAt(k, step).f2 > scoresAt(k, best).f2) best = step;
  return best;
}

function probability(image, k) {
  return packed.probabilities[image * tags.length + k];
}
function bears(image, k) {
  return state.moved.has(k) ? probability(image, k) >= Math.fround(thresholdOf(k)) : images[image].tags.includes(k);
}

// As `scenetags retag --thresholds` takes them.
function thresholdsAsJson() {
  return `${JSON.stringify(Object.fromEntries(tags.map((tag, k) => [tag.key, thresholdOf(k)])), null, 2)}\n`;
}

const TEXTS = ["kind", "bearing", "repair", "low", "high", "strange_from", "strange_to", "text", "order"];

function readState() {
  const given = readAddress();
  const named = tags.findIndex((tag) => tag.key === given.get("tag"));
  state.tag = named < 0 ? (byFrequency[0] ?? 0) : named;
  state.moved.clear();
  tags.forEach((tag, k) => {
    const step = Math.round(Number(given.get(`t.${tag.key}`)) * STEPS);
    if (given.has(`t.${tag.key}`) && step >= 0 && step <= STEPS) move(k, step);
  });
  for (const name of TEXTS) state[name] = given.get(name) || "";
  state.linear = given.has("linear");
}

function stateInWords() {
  const kept = tags.length ? [["tag", tags[state.tag].key]] : [];
  for (const [k, step] of state.moved) kept.push([`t.${tags[k].key}`, step / STEPS]);
  for (const name of TEXTS) if (state[name]) kept.push([name, state[name]]);
  if (state.linear) kept.push(["linear", 1]);
  return kept;
}
