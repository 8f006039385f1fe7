// How strange the images are compared with the model's training images.

const UP = 8,
  DOWN = 34;

// Of as many images as there are, in as many bars as each holds a few of if they are alike.
function barsOfNovelty(width) {
  const { bins } = page.novelty,
    known = bins.reduce((sum, count) => sum + count, 0);
  const together =
    [1, 2, 5, 10].find((many) => (known * many) / bins.length >= 5 && (width * many) / bins.length >= 4) || 20;
  const bars = [];
  for (let bin = 0; bin < bins.length; bin += together)
    bars.push(bins.slice(bin, bin + together).reduce((sum, count) => sum + count, 0));
  return { bars, known, expected: known / bars.length };
}

function drawNovelty(context, width, height) {
  const wide = width - LEFT - RIGHT,
    high = height - UP - DOWN,
    floor = UP + high;
  const { bars, expected } = barsOfNovelty(wide),
    most = Math.max(1, ...bars),
    side = wide / bars.length;
  context.fillStyle = tone("line");
  context.fillRect(LEFT, floor, wide, 1);
  for (const [count, y] of [
    [0, floor],
    [most, UP + 4],
  ])
    write(context, brief(count), LEFT - 6, y, { size: 11, fill: "soft", align: "right" });
  bars.forEach((count, place) => {
    if (!count) return;
    const rise = Math.max(1, (high * count) / most);
    context.fillStyle = tone("accent");
    context.fillRect(LEFT + place * side, floor - rise, Math.max(1, side - 1), rise);
  });
  context.strokeStyle = tone("ink");
  context.setLineDash([4, 4]);
  context.beginPath();
  context.moveTo(LEFT, floor - (high * expected) / most);
  context.lineTo(LEFT + wide, floor - (high * expected) / most);
  context.stroke();
  context.setLineDash([]);
  for (const at of [0, 0.25, 0.5, 0.75, 1]) {
    const align = at === 1 ? "right" : at ? "center" : "left";
    write(context, String(at), LEFT + at * wide, floor + 12, { size: 11, fill: "soft", align });
  }
  write(context, "novelty", LEFT + wide / 2, floor + 26, { size: 11, fill: "soft", align: "center" });
}

function tellStrange() {
  const { strange, least_strange } = page.novelty,
    { known } = barsOfNovelty(1000);
  const expected = percent(1 - least_strange),
    share = percent(known ? strange / known : 0);
  return `Above ${least_strange}: ${number(strange)} of ${quantity(known, "image")} (${share}); expected: ${expected}.`;
}

function showNovelty() {
  for (const one of document.querySelectorAll(".of-novelty")) one.hidden = !page.novelty;
  element("novelty").hidden = !page.novelty;
  if (!page.novelty) return;
  element("verdict").textContent = page.novelty.told;
  element("verdict").classList.toggle("problem", page.novelty.verdict === "unlike");
  element("strange").textContent =
    "Novelty is the share of the training images that look less strange than an image. Where images are like them, " +
    `all bars are about as high as the dashed line; a tall bar at 1 means images unlike them. ${tellStrange()}`;
  element("strangest").hidden = !images.some((_, image) => isOf(image, state.tag, STRANGEST));
}

function showNoveltyChart() {
  if (!page.novelty) return;
  const canvas = element("novelty-chart");
  drawNovelty(...fitCanvas(canvas));
  canvas.setAttribute("aria-label", `Histogram of novelty. ${tellStrange()}`);
}

function showStrangest() {
  chooseKind(STRANGEST);
  element("images").scrollIntoView();
  element("images").focus({ preventScroll: true });
}

function saveNovelty() {
  const { bins } = page.novelty,
    edge = (bin) => bin / bins.length;
  saveCsv("novelty", [["from", "to", "images"], ...bins.map((count, bin) => [edge(bin), edge(bin + 1), count])]);
}

function saveNoveltyChart() {
  savePng("novelty", 900, 320, (context, width) => {
    write(context, tellStrange(), 16, 22, { size: 15, weight: 600, most: width - 32 });
    context.translate(0, 40);
    drawNovelty(context, width, 275);
  });
}
