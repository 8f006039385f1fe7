// The sample of images: filters, the grid, and a sheet of what is shown.

const PAGE_OF_IMAGES = 48;
const OF_A_TAG = ["surest", "least sure", "just over", "just under"];
const KINDS = [
  "",
  ...OF_A_TAG,
  ...(page.labels ? [MISSED, WRONG] : []),
  ...(page.novelty ? [STRANGEST] : []),
  "at random",
  "repaired",
  FAILED,
];
const FILTERS = TEXTS.filter((name) => name !== "kind");
const NEAR = ["just over", "just under"],
  MOST_NEAR = 12;
let listed = PAGE_OF_IMAGES;

function isOf(image, k, kind) {
  const { failure, groups, truth } = images[image];
  if (failure || kind === FAILED) return Boolean(failure) && kind === FAILED;
  if (kind === MISSED) return Boolean(truth) && truth.includes(k) && !bears(image, k);
  if (kind === WRONG) return Boolean(truth) && !truth.includes(k) && bears(image, k);
  if (state.moved.has(k) && NEAR.includes(kind)) return nearest(k, kind).has(image);
  return !kind || groups.some(([name, of]) => name === kind && (of === k || !OF_A_TAG.includes(kind)));
}

// Those of the sample that are next to a threshold that was moved: none were chosen for it.
let nearestAt = "",
  nearestOf = {};
function nearest(k, kind) {
  const key = `${k} ${state.moved.get(k)}`,
    over = kind === "just over",
    at = Math.fround(thresholdOf(k));
  if (key !== nearestAt) [nearestAt, nearestOf] = [key, {}];
  if (!nearestOf[kind]) {
    const there = images
      .map((_, image) => image)
      .filter((image) => !images[image].failure && probability(image, k) >= at === over);
    there.sort((one, other) => (probability(one, k) - probability(other, k)) * (over ? 1 : -1));
    nearestOf[kind] = new Set(there.slice(0, MOST_NEAR));
  }
  return nearestOf[kind];
}

function isFound(image) {
  const k = state.tag,
    { failure, path, repairs, novelty } = images[image];
  if (!isOf(image, k, state.kind)) return false;
  if (state.text && !path.toLowerCase().includes(state.text.toLowerCase())) return false;
  if (failure) return true;
  const p = probability(image, k);
  return (
    (!state.repair || repairs.includes(state.repair)) &&
    (!state.bearing || bears(image, k) === (state.bearing === "with")) &&
    (state.low === "" || p >= Math.fround(Number(state.low))) &&
    (state.high === "" || p <= Math.fround(Number(state.high))) &&
    (state.strange_from === "" || (novelty !== null && novelty >= Math.fround(Number(state.strange_from)))) &&
    (state.strange_to === "" || (novelty !== null && novelty <= Math.fround(Number(state.strange_to))))
  );
}

function foundImages() {
  const order = state.order || (state.kind === MISSED || state.kind === "least sure" ? "least" : "");
  const found = images.map((_, image) => image).filter(isFound),
    k = state.tag;
  if (state.kind === FAILED) return found;
  if (order === STRANGEST)
    return found.sort((one, other) => (images[other].novelty ?? -1) - (images[one].novelty ?? -1));
  return found.sort((one, other) => (probability(other, k) - probability(one, k)) * (order ? -1 : 1));
}

// Pictures of the grid, kept: decoded again at each move of the slider, they would flicker.
const frames = new Map();
function frameOf(image) {
  if (!frames.has(image)) frames.set(image, pictureOf(images[image], ""));
  return frames.get(image);
}

function pictureOf({ picture, problem, size }, alt) {
  const frame = make("span", { className: "picture" });
  if (picture) {
    // Thumbnails are squares, as models take them; here they get their shape back.
    const image = make("img", { src: `data:image/jpeg;base64,${picture}`, alt, decoding: "async" });
    if (size && size[0] && size[1] && size[0] !== size[1]) {
      image.style.objectFit = "fill";
      if (size[0] > size[1]) image.style.height = `${(100 * size[1]) / size[0]}%`;
      else image.style.width = `${(100 * size[0]) / size[1]}%`;
    }
    frame.append(image);
  } else {
    frame.append(make("span", { className: "problem" }, shorten(problem || "no thumbnail", 120)));
  }
  return frame;
}

function nameOf(path) {
  return (
    path
      .replace(/\/+$/, "")
      .split(/[/]|::/)
      .pop() || path
  );
}

// Of a window its place first: the names of all windows of a scene begin alike.
function captionOf(name) {
  const window = /^(.*)#xywh=(\d+),(\d+),\d+,\d+$/.exec(name);
  return window ? `${window[2]}, ${window[3]} of ${shorten(window[1], 30)}` : shorten(name, 40);
}

function tile(image) {
  const { path, failure, problem, picture, truth, novelty } = images[image],
    k = state.tag,
    button = make("button", { type: "button" });
  const name = nameOf(path);
  if (failure) {
    button.append(
      pictureOf({ ...images[image], problem: failure.message || problem }, ""),
      make("span", { className: "name" }, captionOf(name)),
      make("span", { className: "line" }, failure.error),
    );
  } else {
    const p = probability(image, k),
      has = bears(image, k),
      share = make("span", { className: "share" });
    share.style.backgroundSize = `${100 * p}% 100%`;
    const wrong = truth && truth.includes(k) !== has;
    const line = wrong ? (has ? "wrong" : "missed") : picture && problem ? "changed" : has ? "has the tag" : "";
    button.append(
      frameOf(image),
      share,
      make("span", { className: "name" }, `${p.toFixed(3)} ${line}`),
      make("span", { className: "line" }, captionOf(name)),
    );
    if (state.order === STRANGEST && novelty !== null)
      button.append(make("span", { className: "line" }, `novelty ${novelty.toFixed(4)}`));
    button.classList.toggle("without", !has);
    if (wrong || (picture && problem)) button.querySelector(".name").classList.add("mistake");
  }
  button.title = path;
  button.onclick = () => view(image);
  return make("li", {}, button);
}

function chooseKind(kind) {
  // The order that goes with the strangest is chosen with them, and left with them.
  if (kind === STRANGEST) state.order = STRANGEST;
  else if (state.kind === STRANGEST && state.order === STRANGEST) state.order = "";
  state.kind = kind;
  listed = PAGE_OF_IMAGES;
  show();
}

function showImages() {
  const found = foundImages(),
    k = state.tag,
    shown = found.slice(0, listed);
  element("tag").value = String(k);
  for (const name of FILTERS) {
    if (document.activeElement !== element(name)) element(name).value = state[name];
  }
  element("kinds").replaceChildren(
    ...KINDS.map((kind) => {
      const many = images.filter((_, image) => isOf(image, k, kind)).length;
      const button = make(
        "button",
        { type: "button", disabled: !many && kind !== state.kind },
        `${kind || "all"} ${many}`,
      );
      button.setAttribute("aria-pressed", String(kind === state.kind));
      button.dataset.kind = kind;
      button.onclick = () => {
        chooseKind(kind);
        element("kinds").querySelector('[aria-pressed="true"]').focus();
      };
      return button;
    }),
  );
  const of = tags.length ? ` for ${tags[k].name}` : "";
  element("found").textContent = found.length
    ? `${number(found.length)} of ${quantity(images.length, "image")} in the sample${of}`
    : `none of ${quantity(images.length, "image")} in the sample${of}`;
  element("grid").replaceChildren(...shown.map(tile));
  element("more").hidden = shown.length === found.length;
  element("more").textContent = `show ${number(Math.min(PAGE_OF_IMAGES, found.length - shown.length))} more`;
}

function tellSample() {
  const predicted = images.filter((image) => !image.failure),
    without = predicted.filter((image) => !image.picture);
  const changed = predicted.filter((image) => image.picture && image.problem).length;
  const reasons = new Map();
  for (const { problem } of without) reasons.set(problem, (reasons.get(problem) || 0) + 1);
  const told = [];
  if (!predicted.length) told.push("No images: none were asked for, or there are no predictions.");
  else if (predicted.length === page.rows) told.push(page.rows === 1 ? "The only image." : `All ${quantity(page.rows, "image")}.`);
  else {
    told.push(
      `A sample of ${number(predicted.length)} of ${quantity(page.rows, "image")}, chosen with seed ${page.seed}: ` +
        "for each tag those at the ends and at the threshold, " +
        `examples of each repair, ${page.novelty ? "the strangest, " : ""}and some at random. ` +
        "All other figures on this page are of all rows.",
    );
  }
  for (const [problem, many] of [...reasons].sort((one, other) => other[1] - one[1]).slice(0, 3)) {
    told.push(`${number(many)} without a thumbnail: ${problem || "none was asked for"}.`);
  }
  if (page.labels) {
    const { findings, unknown } = page.labels;
    told.push(...findings.map((finding) => `Labels: ${finding}${finding.endsWith(".") ? "" : "."}`));
    if (unknown.length) told.push(`Labels that the model does not know: ${unknown.slice(0, 20).join(", ")}.`);
  }
  if (changed)
    told.push(
      quantity(changed, "changed since it was tagged: its thumbnail", "changed since they were tagged: their thumbnails") +
        " may not show what the model saw.",
    );
  element("sample").textContent = told.join(" ");
  element("repair").replaceChildren(
    make("option", { value: "" }, "any or none"),
    ...page.repairs.map(([name]) => make("option", { value: name }, name)),
  );
}

function saveImages() {
  const rows = foundImages().map((image) => {
    const { path, failure, tags: had = [], repairs = [], groups = [], problem, novelty } = images[image];
    // What was chosen as a possible mistake need not be one at this threshold.
    const reasons = groups
      .filter(([kind, of]) => ![MISSED, WRONG].includes(kind) || isOf(image, of, kind))
      .map(([kind, of]) =>
        OF_A_TAG.includes(kind) || [MISSED, WRONG].includes(kind) ? `${kind}: ${tags[of].name}` : kind,
      );
    return [
      path,
      failure ? `${failure.error}: ${failure.message}` : had.map((k) => tags[k].name).join(" "),
      repairs.join(" "),
      reasons.join("; "),
      problem,
      ...(page.novelty ? [novelty ?? ""] : []),
      ...tags.map((_, k) => (failure ? "" : probability(image, k))),
    ];
  });
  saveCsv("images", [
    [
      ...["path", "tags or failure", "repairs", "shown because", "original"],
      ...(page.novelty ? ["novelty"] : []),
      ...tags.map((tag) => tag.name),
    ],
    ...rows,
  ]);
}

function saveSheet() {
  const found = foundImages().slice(0, listed),
    across = Math.min(8, Math.max(1, found.length)),
    side = 128,
    high = 166;
  savePng("images", 20 + across * (side + 10), 50 + Math.ceil(found.length / across) * high, async (context, width) => {
    write(context, element("found").textContent, 16, 22, { size: 15, weight: 600, most: width - 32 });
    for (const [place, image] of found.entries()) {
      const left = 15 + (place % across) * (side + 10),
        top = 44 + Math.floor(place / across) * high,
        { picture, path, failure, size } = images[image];
      context.fillStyle = tone("ground");
      context.fillRect(left, top, side, side);
      if (picture) {
        const drawn = make("img", { src: `data:image/jpeg;base64,${picture}` });
        await drawn.decode();
        const longest = size ? Math.max(...size) || 1 : 1,
          [wide, tall] = size && longest > 1 ? size.map((one) => (side * one) / longest) : [side, side];
        context.drawImage(drawn, left + (side - wide) / 2, top + (side - tall) / 2, wide, tall);
      }
      write(context, failure ? failure.error : probability(image, state.tag).toFixed(3), left, top + side + 9, {
        size: 11,
        most: side,
      });
      write(context, nameOf(path), left, top + side + 23, { size: 11, fill: "soft", most: side });
    }
  });
}
