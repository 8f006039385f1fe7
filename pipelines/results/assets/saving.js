// Save what is shown, as CSV or PNG.

function download(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A spreadsheet would compute what begins like a formula.
function cell(value) {
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function saveCsv(name, rows) {
  const text = rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
  download(`${name}.csv`, new Blob(["\ufeff", text], { type: "text/csv" }));
}

// Paint on a canvas of twice as many pixels, and save it.
async function savePng(name, width, height, paint) {
  const canvas = make("canvas", { width: 2 * width, height: 2 * height }),
    context = canvas.getContext("2d");
  context.scale(2, 2);
  context.fillStyle = tone("card");
  context.fillRect(0, 0, width, height);
  await paint(context, width, height);
  canvas.toBlob((blob) => download(`${name}.png`, blob), "image/png");
}

function write(context, text, x, y, { size = 12, fill = "ink", align = "left", weight = 400, most = Infinity } = {}) {
  context.font = `${weight} ${size}px system-ui, sans-serif`;
  context.fillStyle = tone(fill);
  context.textAlign = align;
  context.textBaseline = "middle";
  let shown = text;
  while (shown.length > 1 && context.measureText(shown).width > most) shown = `${shown.slice(0, -2)}…`;
  context.fillText(shown, x, y);
}
