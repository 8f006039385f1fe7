// What happens on the page.

function choose(k) {
  state.tag = k;
  listed = PAGE_OF_IMAGES;
  show();
}

let asked = false;
function show() {
  keepInAddress(stateInWords);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    showNow();
  });
}

function showNow() {
  if (tags.length) {
    for (const k of rowOf.keys()) showTag(k);
    showPanel();
  }
  if (page.labels) showTotals();
  showMoved();
  showNoveltyChart();
  showImages();
}

async function copyThresholds() {
  const text = thresholdsAsJson(),
    button = element("copy");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => {
    button.textContent = "Copy thresholds";
  }, 1500);
}

function setStep(step) {
  if (!Number.isFinite(step)) return;
  move(state.tag, Math.max(0, Math.min(STEPS, Math.round(step))));
  show();
}

function listen() {
  element("threshold").oninput = () => setStep(Number(element("threshold").value));
  element("exact").oninput = () => {
    if (element("exact").value) setStep(Number(element("exact").value) * STEPS);
  };
  element("exact").onchange = () => {
    element("exact").value = spelled(thresholdOf(state.tag));
  };
  element("reset").onclick = () => {
    state.moved.delete(state.tag);
    show();
  };
  element("reset-all").onclick = () => {
    state.moved.clear();
    show();
  };
  element("linear").onchange = () => {
    state.linear = element("linear").checked;
    show();
  };
  element("copy").onclick = copyThresholds;
  element("save").onclick = () =>
    download("thresholds.json", new Blob([thresholdsAsJson()], { type: "application/json" }));
  element("tag").onchange = () => choose(Number(element("tag").value));
  for (const name of FILTERS) {
    element(name).oninput = () => {
      state[name] = element(name).value;
      listed = PAGE_OF_IMAGES;
      show();
    };
  }
  element("strangest").onclick = showStrangest;
  element("more").onclick = () => {
    listed += PAGE_OF_IMAGES;
    show();
  };
  const drag = (event) => {
    const box = element("chart").getBoundingClientRect();
    setStep(((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)) * STEPS);
  };
  element("chart").addEventListener("pointerdown", (event) => {
    element("chart").setPointerCapture(event.pointerId);
    drag(event);
  });
  element("chart").addEventListener("pointermove", (event) => {
    if (event.buttons) drag(event);
  });
  for (const [id, save] of [
    ["novelty-csv", saveNovelty],
    ["novelty-png", saveNoveltyChart],
    ["tags-csv", saveTags],
    ["tags-png", paintTags],
    ["chart-csv", saveBins],
    ["chart-png", saveChart],
    ["images-csv", saveImages],
    ["images-png", saveSheet],
    ["together-csv", saveTogether],
    ["together-png", paintTogether],
    ["failures-csv", saveFailures],
    ["repairs-csv", saveRepairs],
    ["runs-csv", saveRuns],
  ]) {
    const button = element(id);
    button.onclick = save;
    button.setAttribute(
      "aria-label",
      `save ${button.parentNode.querySelector("h2").textContent || "the chart"} as ${button.textContent}`,
    );
  }
  listenToViewer();
  addEventListener("hashchange", () => {
    readState();
    show();
  });
  addEventListener("resize", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
}

async function start() {
  await unpack();
  readState();
  element("about").textContent = `${page.path} · model ${page.model}`;
  showFigures();
  listTags();
  tellSample();
  showNovelty();
  showTogether();
  showFailures();
  counted("repairs", "repair", page.repairs);
  counted("sources", "format", page.sources);
  showRuns();
  listen();
  showNow();
}
start().catch((error) => {
  element("problem").hidden = false;
  element("problem").textContent = String(error.message || error);
});
