// The other tables: tags that occur together, failures, repairs, formats and runs.

const MOST_TOGETHER = 24;
const paired = page.together.length ? byFrequency.filter((k) => tags[k].tagged).slice(0, MOST_TOGETHER) : [];

function together(k, other) {
  return page.together[k][other] / tags[k].tagged;
}

function showTogether() {
  element("together-card").hidden = paired.length < 2;
  const left = tags.filter((tag) => tag.tagged).length - paired.length;
  element("together-note").textContent =
    "Of 100 images with the tag of a row, this many also have that of the column; " +
    "as the output is tagged, not at moved thresholds." +
    (left > 0 ? ` ${quantity(left, "rarer tag is", "rarer tags are")} in the CSV.` : "");
  const head = make(
    "tr",
    {},
    make("td", {}),
    ...paired.map((k) => make("th", { scope: "col" }, make("span", {}, shorten(tags[k].name, 24)))),
  );
  const rows = paired.map((k) =>
    make(
      "tr",
      {},
      make("th", { scope: "row", title: tags[k].name }, tags[k].name),
      ...paired.map((other) => {
        if (other === k) return make("td", {}, "");
        const share = together(k, other),
          one = make(
            "td",
            { title: `${tags[k].name} and ${tags[other].name}: ${quantity(page.together[k][other], "image")}` },
            share ? (share < 0.005 ? "<1" : (100 * share).toFixed(0)) : "",
          );
        one.style.backgroundColor = `color-mix(in srgb, var(--accent) ${(50 * share).toFixed(0)}%, var(--ground))`;
        return one;
      }),
    ),
  );
  element("together").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

function saveTogether() {
  const rows = [];
  for (const k of byFrequency)
    for (const other of byFrequency)
      if (page.together[k][other]) rows.push([tags[k].name, tags[other].name, page.together[k][other]]);
  saveCsv("tags together", [["tag", "and", "images with both"], ...rows]);
}

function paintTogether() {
  const side = 34,
    left = 170,
    top = 150;
  savePng("tags together", left + side * paired.length + 20, top + side * paired.length + 20, (context) => {
    write(context, "Of 100 images with the tag of a row, those that also have that of the column", 16, 22, {
      size: 14,
      weight: 600,
    });
    paired.forEach((k, row) => {
      write(context, tags[k].name, left - 8, top + side * (row + 0.5), { align: "right", most: 150 });
      context.save();
      context.translate(left + side * (row + 0.5), top - 8);
      context.rotate(-Math.PI / 2);
      write(context, tags[k].name, 0, 0, { most: 100 });
      context.restore();
      paired.forEach((other, column) => {
        const share = k === other ? 0 : together(k, other),
          x = left + side * column,
          y = top + side * row;
        context.fillStyle = tone("ground");
        context.fillRect(x, y, side - 1, side - 1);
        context.globalAlpha = 0.5 * share;
        context.fillStyle = tone("accent");
        context.fillRect(x, y, side - 1, side - 1);
        context.globalAlpha = 1;
        if (share)
          write(context, share < 0.005 ? "<1" : (100 * share).toFixed(0), x + side / 2, y + side / 2, {
            size: 11,
            align: "center",
          });
      });
    });
  });
}

function showFailures() {
  const all = page.failures.reduce((sum, { count }) => sum + count, 0);
  if (!all) {
    element("failures").replaceChildren(make("p", { className: "soft" }, "None."));
    return;
  }
  element("failures").replaceChildren(
    ...page.failures.map(({ stage, error, count, examples }, place) => {
      const items = examples.map(({ path, link, message }) =>
        make(
          "li",
          {},
          link ? make("a", { href: link, rel: "noopener noreferrer", target: "_blank" }, path) : path,
          `: ${message}`,
        ),
      );
      return make(
        "details",
        { open: place === 0 },
        make("summary", {}, make("span", {}, `${stage}: ${error}`), make("span", {}, number(count))),
        make("ul", {}, ...items),
      );
    }),
  );
}

function counted(id, title, counts) {
  const rows = counts.map(([name, count]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, name),
      make("td", { className: "count" }, number(count)),
      make("td", { className: "count" }, percent(count / page.rows)),
    ),
  );
  element(id).hidden = !counts.length;
  element(id).replaceChildren(heading([title], ["images", "count"], ["share", "count"]), make("tbody", {}, ...rows));
}

const OF_RUNS = ["inputs", "predictions", "failures", "skipped", "empty"];
function showRuns() {
  const rows = page.runs.map((run) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, run.run),
      make("td", {}, run.status),
      make("td", {}, run.bundle),
      make("td", { className: "count" }, run.seconds === null ? "" : `${number(Math.round(run.seconds))} s`),
      ...OF_RUNS.map((name) => make("td", { className: "count" }, number(run[name]))),
      make("td", {}, run.balanced ? "balanced" : "not balanced"),
    ),
  );
  element("runs").replaceChildren(
    heading(["run"], ["status"], ["model"], ["took", "count"], ...OF_RUNS.map((name) => [name, "count"]), ["accounts"]),
    make("tbody", {}, ...rows),
  );
  const left = page.all_runs - page.runs.length;
  element("more-runs").textContent = page.all_runs
    ? left
      ? `${quantity(left, "older run is", "older runs are")} not listed.`
      : ""
    : "The output holds no manifest of a run.";
}

function showFigures() {
  const failed = page.failures.reduce((sum, { count }) => sum + count, 0),
    all = tags.reduce((sum, tag) => sum + tag.tagged, 0),
    rows = page.rows || 1;
  const newest = page.runs[0],
    unbalanced = page.runs.filter((run) => !run.balanced).length;
  const figures = [
    [
      "images tagged",
      number(page.rows),
      page.sources.length
        ? page.sources
            .slice(0, 2)
            .map(([name]) => name)
            .join(", ")
        : "",
    ],
    ["failed", number(failed), `${percent(failed / Math.max(1, failed + page.rows))} of all rows`],
    ["tags per image", page.rows ? (all / rows).toFixed(2) : "–", `of ${quantity(tags.length, "label")}`],
    ["without a tag", number(page.untagged), percent(page.untagged / rows)],
    ["repaired", number(page.repaired), percent(page.repaired / rows)],
    [
      "runs",
      number(page.all_runs),
      !newest
        ? "no manifest"
        : unbalanced
          ? `${number(unbalanced)} not balanced`
          : `newest: ${newest.status}, balanced`,
    ],
  ];
  element("figures").replaceChildren(
    ...figures.map(([name, value, more]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, value), make("dd", {}, more)),
    ),
  );
}

function saveFailures() {
  saveCsv("failures", [
    ["stage", "error", "images", "example", "message"],
    ...page.failures.flatMap(({ stage, error, count, examples }) =>
      examples.map(({ path, message }) => [stage, error, count, path, message]),
    ),
  ]);
}
function saveRepairs() {
  saveCsv("repairs", [
    ["kind", "name", "images"],
    ...page.repairs.map((one) => ["repair", ...one]),
    ...page.sources.map((one) => ["format", ...one]),
  ]);
}
function saveRuns() {
  const names = ["run", "status", "started", "seconds", "bundle", ...OF_RUNS, "balanced"];
  saveCsv("runs", [
    names,
    ...page.runs.map((run) =>
      names.map((name) => (typeof run[name] === "boolean" ? String(run[name]) : (run[name] ?? ""))),
    ),
  ]);
}
