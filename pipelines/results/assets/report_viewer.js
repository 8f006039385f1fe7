// One image: larger, with all its probabilities and the way to its original.

let viewed = 0,
  order = [];

function view(image) {
  if (!element("viewer").open) order = foundImages();
  viewed = image;
  const content = images[image],
    place = order.indexOf(image);
  const step = (by, text) =>
    make(
      "button",
      {
        type: "button",
        disabled: !(place + by in order),
        onclick: () => {
          view(order[place + by]);
        },
      },
      text,
    );
  const close = make("button", { type: "button", onclick: () => element("viewer").close() }, "close");
  const left = make("div", {}, pictureOf(content, `thumbnail of ${nameOf(content.path)}`));
  const details = make("dl", {});
  const tell = (name, value) => {
    if (value) details.append(make("dt", {}, name), make("dd", {}, value));
  };
  tell("path", content.path);
  tell(
    "original",
    content.link &&
      make(
        "a",
        { href: content.link, rel: "noopener noreferrer", target: "_blank" },
        /[#]xywh=/.test(content.path) ? "open the scene" : content.path.includes("::") ? "open the archive" : "open",
      ),
  );
  if (content.size && content.size[0]) tell("size", `${content.size[0]} × ${content.size[1]}, ${content.source}`);
  tell("repairs", content.repairs && content.repairs.join(", "));
  tell("novelty", content.novelty?.toFixed(4));
  tell("run", content.run);
  if (content.failure) {
    tell("failed to", content.failure.stage);
    tell("reason", `${content.failure.error}: ${content.failure.message}`);
  }
  if (content.problem && (content.picture || !content.failure))
    left.append(make("p", { className: "problem" }, content.problem));
  left.append(details);
  element("viewer").replaceChildren(
    make(
      "div",
      { className: "head" },
      make("h2", { id: "viewer-title" }, shorten(nameOf(content.path), 80)),
      make("span", { className: "soft" }, `${place + 1} of ${order.length}`),
      step(-1, "previous"),
      step(1, "next"),
      close,
    ),
    make("div", { className: "view" }, left, content.failure ? "" : probabilitiesOf(image)),
  );
  if (!element("viewer").open) element("viewer").showModal();
  close.focus();
}

function probabilitiesOf(image) {
  const by = tags
    .map((_, k) => k)
    .sort((one, other) => probability(image, other) - probability(image, one))
    .slice(0, 60);
  const { truth } = images[image];
  const rows = by.map((k) => {
    const share = make("span", { className: "share" }),
      p = probability(image, k),
      has = bears(image, k);
    share.style.backgroundSize = `${100 * p}% 100%`;
    const row = make(
      "tr",
      { className: has ? "bears" : "" },
      make("th", { scope: "row" }, tags[k].name),
      make("td", { className: "count" }, p.toFixed(4)),
      make("td", { className: "bar" }, share),
      make("td", {}, has ? "yes" : ""),
    );
    if (truth) row.append(make("td", {}, truth.includes(k) ? "yes" : ""));
    return row;
  });
  return make(
    "table",
    {},
    heading(["label"], ["probability", "count"], [""], ["tag"], ...(truth ? [["labelled"]] : [])),
    make("tbody", {}, ...rows),
  );
}

function listenToViewer() {
  element("viewer").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key],
      next = order[order.indexOf(viewed) + by];
    if (by && next !== undefined) {
      event.preventDefault();
      view(next);
    }
  });
  element("viewer").addEventListener("click", (event) => {
    if (event.target === element("viewer")) element("viewer").close();
  });
}
