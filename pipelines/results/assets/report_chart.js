// The probabilities of a tag over all rows, as bars, and the threshold among them.

const LEFT = 44,
  RIGHT = 12,
  TOP = page.labels ? 30 : 12,
  BOTTOM = 22;
const CURVES = [
  ["precision", "#3b82c4", [6, 3]],
  ["recall", "#c2571a", [2, 3]],
  ["f2", "#8b5cc9", []],
];

function barsOf(k, together) {
  const bars = [];
  for (let bin = 0; bin < STEPS; bin += together) {
    // The last bar also has the probabilities that are exactly 1.
    const end = bin + together >= STEPS ? STEPS + 1 : bin + together;
    bars.push(packed.above[k][bin] - packed.above[k][end]);
  }
  return bars;
}

function drawChart(context, width, height, k) {
  const wide = width - LEFT - RIGHT,
    high = height - TOP - BOTTOM;
  const together = [1, 2, 4, 5, 8, 10, 20].find((many) => wide / (STEPS / many) >= 3) || 25;
  const bars = barsOf(k, together),
    most = Math.max(1, ...bars),
    step = stepOf(k);
  const up = (count) => (state.linear ? count / most : Math.log1p(count) / Math.log1p(most)) * high;
  const x = (at) => LEFT + (at / STEPS) * wide,
    floor = TOP + high;
  for (const count of levels(most)) {
    const y = Math.round(floor - up(count)) + 0.5;
    context.fillStyle = tone("line");
    context.fillRect(LEFT, y, wide, 1);
    write(context, brief(count), LEFT - 6, y, { size: 11, fill: "soft", align: "right" });
  }
  bars.forEach((count, place) => {
    if (!count) return;
    const bin = place * together,
      side = x(bin + together) - x(bin);
    context.fillStyle = tone(bin + together > step ? "accent" : "bar");
    const rise = Math.max(1, up(count));
    context.fillRect(x(bin), floor - rise, Math.max(1, side - (side > 4 ? 1 : 0)), rise);
  });
  for (const at of [0, 0.25, 0.5, 0.75, 1]) {
    write(context, String(at), x(at * STEPS), height - BOTTOM / 2 + 2, {
      size: 11,
      fill: "soft",
      align: at === 1 ? "right" : at ? "center" : "left",
    });
  }
  if (page.labels && packed.positiveAbove[k][0]) drawCurves(context, x, floor, high, k);
  drawLine(context, x(tags[k].threshold * STEPS), floor, "soft", [3, 3]);
  drawLine(context, x(thresholdOf(k) * STEPS), floor, "ink", []);
}

function drawLine(context, x, floor, name, dashes) {
  context.strokeStyle = tone(name);
  context.lineWidth = dashes.length ? 1 : 2;
  context.setLineDash(dashes);
  context.beginPath();
  context.moveTo(x, TOP - 6);
  context.lineTo(x, floor);
  context.stroke();
  context.setLineDash([]);
}

function drawCurves(context, x, floor, high, k) {
  context.lineWidth = 1.5;
  CURVES.forEach(([name, ink, dashes], place) => {
    context.strokeStyle = ink;
    context.setLineDash(dashes);
    context.beginPath();
    let drawing = false;
    for (let step = 0; step <= STEPS; step += 4) {
      const score = scoresAt(k, step)[name];
      if (score === null) break;
      if (drawing) context.lineTo(x(step), floor - score * high);
      else context.moveTo(x(step), floor - score * high);
      drawing = true;
    }
    context.moveTo(LEFT + 84 * place, 10);
    context.lineTo(LEFT + 84 * place + 18, 10);
    context.stroke();
    write(context, name === "f2" ? "F2" : name, LEFT + 84 * place + 23, 10, { size: 11, fill: "soft" });
  });
  context.setLineDash([]);
}

function levels(most) {
  if (!state.linear) {
    const powers = [];
    for (let power = 1; power <= most; power *= 10) powers.push(power);
    return [0, ...powers];
  }
  const rough = most / 4,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].find((factor) => factor * power >= rough) * power);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, place) => place * step);
}

function brief(count) {
  if (count >= 1e6) return `${Number((count / 1e6).toFixed(1))}M`;
  return count >= 1e4 ? `${Number((count / 1e3).toFixed(1))}k` : number(count);
}

function fitCanvas(canvas) {
  const ratio = devicePixelRatio || 1,
    width = canvas.clientWidth,
    height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return [context, width, height];
}

function showChart() {
  const canvas = element("chart"),
    k = state.tag;
  drawChart(...fitCanvas(canvas), k);
  const middle = packed.above[k].findLastIndex((count) => count >= page.rows / 2) / STEPS;
  canvas.setAttribute(
    "aria-label",
    `Probabilities of ${tags[k].name} over ${quantity(page.rows, "image")}: ` +
      `half of them are at ${middle} or more, ` +
      `${quantity(bearing(k), "has", "have")} the tag at the threshold ${spelled(thresholdOf(k))}.`,
  );
}

function drawSpark(canvas, k) {
  const [context, width, height] = fitCanvas(canvas),
    bars = barsOf(k, 25),
    most = Math.log1p(Math.max(1, ...bars));
  const side = width / bars.length,
    step = stepOf(k);
  bars.forEach((count, place) => {
    const rise = count ? Math.max(1, (Math.log1p(count) / most) * height) : 0;
    context.fillStyle = tone((place + 1) * 25 > step ? "accent" : "bar");
    context.fillRect(place * side, height - rise, side - 0.5, rise);
  });
}

function saveChart() {
  const { name } = tags[state.tag];
  savePng(`probabilities ${name}`, 900, 420, (context, width) => {
    write(
      context,
      `${name}: ${number(bearing(state.tag))} of ${quantity(page.rows, "image")} at ${spelled(thresholdOf(state.tag))}`,
      16,
      22,
      { size: 15, weight: 600, most: width - 32 },
    );
    context.translate(0, 40);
    drawChart(context, width, 375, state.tag);
  });
}

function saveBins() {
  const at = state.tag * (STEPS + 1);
  const rows = Array.from({ length: STEPS + 1 }, (_, bin) => [
    bin / STEPS,
    Math.min(STEPS, bin + 1) / STEPS,
    packed.histograms[at + bin],
    packed.above[state.tag][bin],
  ]);
  saveCsv(`probabilities ${tags[state.tag].name}`, [["from", "to", "images", "images from here on"], ...rows]);
}
