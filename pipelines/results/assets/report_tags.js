// The table of tags, and the panel of the one that is chosen.

const LISTED_TAGS = 200;
const rowOf = new Map(),
  totals = ["count wide", "count wide", "count"].map((kind) => make("td", { className: kind }));

function heading(...names) {
  return make(
    "thead",
    {},
    make(
      "tr",
      {},
      ...names.map(([text, kind = "", title = ""]) =>
        text ? make("th", { scope: "col", className: kind, title }, text) : make("td", {}),
      ),
    ),
  );
}
function signed(count) {
  return count > 0 ? `+${number(count)}` : count < 0 ? `\u2212${number(-count)}` : "";
}
function score(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}

function listTags() {
  const scored = page.labels
    ? [
        ["precision", "count wide"],
        ["recall", "count wide"],
        ["F2", "count"],
      ]
    : [];
  const body = make("tbody", {}),
    total = make("tfoot", {});
  if (page.labels)
    total.append(make("tr", {}, make("th", { scope: "row" }, "all tags"), make("td", { colSpan: 3 }), ...totals));
  for (const k of byFrequency.slice(0, LISTED_TAGS)) {
    const cells = {
      button: make("button", { type: "button" }, tags[k].name),
      share: make("span", { className: "share" }),
      spark: make("canvas", { className: "spark" }),
      threshold: make("td", { className: "count" }),
      count: make("td", { className: "count" }),
      change: make("td", { className: "count" }),
      scores: scored.map(([, kind]) => make("td", { className: kind })),
    };
    cells.spark.setAttribute("aria-hidden", "true");
    cells.button.onclick = () => choose(k);
    cells.row = make(
      "tr",
      {},
      make("th", { scope: "row" }, cells.button),
      cells.count,
      ...(page.labels ? [] : [cells.share, cells.spark].map((drawn) => make("td", { className: "wide" }, drawn))),
      cells.threshold,
      cells.change,
      ...cells.scores,
    );
    rowOf.set(k, cells);
    body.append(cells.row);
  }
  element("tags").replaceChildren(
    heading(
      ["tag"],
      ["images", "count"],
      ...(page.labels
        ? []
        : [
            ["share", "wide"],
            ["probabilities", "wide"],
          ]),
      ["threshold", "count"],
      ["change", "count", "by moved thresholds"],
      ...scored,
    ),
    body,
    ...(page.labels ? [total] : []),
  );
  const left = tags.length - rowOf.size;
  element("more-tags").textContent = left
    ? `${quantity(left, "rarer tag is", "rarer tags are")} not listed; choose them among the images, or save them as CSV.`
    : "";
  element("tag").replaceChildren(...tags.map((tag, k) => make("option", { value: String(k) }, tag.name)));
}

function showTag(k) {
  const cells = rowOf.get(k);
  if (!cells) return;
  const count = bearing(k),
    change = count - tags[k].tagged,
    chosen = k === state.tag;
  cells.row.classList.toggle("chosen", chosen);
  cells.button.setAttribute("aria-pressed", String(chosen));
  cells.count.textContent = number(count);
  cells.count.title = page.rows ? percent(count / page.rows) : "";
  cells.share.style.backgroundSize = `${page.rows ? (100 * count) / page.rows : 0}% 100%`;
  cells.threshold.textContent = spelled(thresholdOf(k));
  cells.change.textContent = signed(change);
  cells.change.className = `count ${change > 0 ? "more" : "fewer"}`;
  if (page.labels) {
    const { precision, recall, f2 } = scores(k);
    [precision, recall, f2].forEach((value, place) => {
      cells.scores[place].textContent = score(value);
    });
  }
  if (!page.labels) drawSpark(cells.spark, k);
}

function showPanel() {
  const k = state.tag,
    tag = tags[k],
    count = bearing(k);
  element("tag-title").textContent = tag.name;
  element("threshold").value = String(stepOf(k));
  element("threshold").setAttribute("aria-valuetext", `${spelled(thresholdOf(k))}, ${quantity(count, "image")}`);
  if (document.activeElement !== element("exact")) element("exact").value = spelled(thresholdOf(k));
  element("reset").textContent = `back to ${spelled(tag.threshold)}`;
  element("reset").disabled = !state.moved.has(k);
  element("linear").checked = state.linear;
  const told = [
    ["with the tag", number(count)],
    ["share", page.rows ? percent(count / page.rows) : "–"],
    ["change", signed(count - tag.tagged) || "none"],
  ];
  if (page.labels) {
    const { precision, recall, f2 } = scores(k),
      best = bestStep(k);
    told.push(["precision", score(precision)], ["recall", score(recall)], ["F2", score(f2)]);
    element("suggest").hidden = scoresAt(k, best).f2 === null || !packed.positiveAbove[k][0];
    element("suggest").textContent = `best F2 of ${score(scoresAt(k, best).f2)}: at ${best / STEPS}`;
    element("suggest").onclick = () => {
      move(k, best);
      show();
    };
  }
  element("effect").replaceChildren(
    ...told.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
  );
  const ruled = tag.reaching - tag.tagged,
    notes = [];
  if (ruled)
    notes.push(
      `At ${spelled(tag.threshold)}, ${quantity(tag.reaching, "image reaches", "images reach")} the threshold and ` +
        `${quantity(tag.tagged, "has", "have")} the tag: a rule decided about the others. Moved thresholds know no rules.`,
    );
  if (page.labels)
    notes.push(
      `Scores are of ${quantity(page.labels.images, "image")} of ${page.labels.file}, ` +
        `${number(packed.positiveAbove[k][0])} of them with this tag.`,
    );
  element("notes").textContent = notes.join(" ");
  showChart();
}

// Of all tags of all images with labels together.
function showTotals() {
  const each = tags.map((_, k) => scores(k)),
    sum = (name) => each.reduce((total, one) => total + one[name], 0);
  const { precision, recall, f2 } = scoresOf(sum("known"), sum("positive"), sum("all"));
  [precision, recall, f2].forEach((value, place) => {
    totals[place].textContent = score(value);
  });
}

function showMoved() {
  const many = state.moved.size;
  element("moved").textContent = many ? `${quantity(many, "threshold")} moved` : "";
  element("reset-all").disabled = !many;
}

function saveTags() {
  const scored = page.labels ? ["precision", "recall", "f2"] : [];
  const rows = byFrequency.map((k) => {
    const at = page.labels ? scores(k) : {};
    return [
      tags[k].name,
      tags[k].threshold,
      tags[k].tagged,
      thresholdOf(k),
      bearing(k),
      page.rows ? bearing(k) / page.rows : 0,
      ...scored.map((name) => at[name] ?? ""),
    ];
  });
  saveCsv("tags", [["tag", "threshold", "images", "moved threshold", "images at it", "share", ...scored], ...rows]);
}

function paintTags() {
  const shown = [...rowOf.keys()];
  savePng("tags", 760, 50 + 22 * shown.length, (context, width) => {
    write(context, `Tags of ${quantity(page.rows, "image")}`, 16, 22, { size: 15, weight: 600 });
    const most = Math.max(1, ...shown.map(bearing));
    shown.forEach((k, place) => {
      const y = 52 + 22 * place,
        side = ((width - 330) * bearing(k)) / most;
      write(context, tags[k].name, 170, y, { align: "right", most: 155 });
      context.fillStyle = tone("accent");
      context.fillRect(180, y - 7, side, 14);
      write(context, `${number(bearing(k))}   ${page.rows ? percent(bearing(k) / page.rows) : ""}`, 188 + side, y, {
        fill: "soft",
      });
    });
  });
}
