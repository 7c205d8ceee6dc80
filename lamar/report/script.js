"use strict";

// A number as it is written in a cell: 1,234, +3.1%, −0.02 (with a true minus sign). NaN for words.
const number = (text) => Number.parseFloat(text.replaceAll(",", "").replace("−", "-"));

const cellValue = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const value = number(text);
  return Number.isNaN(value) ? text : value;
};

// Numbers come before words, so that a dash stays at one end.
const compare = (a, b) =>
  typeof a === typeof b ? (typeof a === "number" ? a - b : a.localeCompare(b)) : typeof a === "number" ? -1 : 1;

const sortTable = (table, heading) => {
  const column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => compare(cellValue(a, column), cellValue(b, column)));
  body.append(...(descending ? rows.reverse() : rows));
};

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortTable(table, heading));
    heading.append(button);
  }
}

const element = (tag, className, ...content) => {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...content);
  return made;
};

// Texts are anybody's: they only ever become text nodes.
const card = (data, [id, texts, signals, moves]) => {
  const made = element("article", "card", element("p", "", element("strong", "", texts[0] || id)));
  const meta = data.columns.slice(1).map((name, place) => `${name}: ${texts[place + 1] || "–"}`);
  made.append(element("p", "meta", [`id ${id}`, ...meta].join(" · ")));
  signals.forEach((signal, place) => {
    const writer = data.generators[place];
    const text = signal === null ? "was not asked" : signal[1] ? `rejected (${signal[1]}): ${signal[0]}` : signal[0];
    made.append(element("p", "", element("em", "", `${writer}: `), text));
  });
  for (const [user, before, after] of moves) {
    const [run, base] = data.compared;
    made.append(element("p", "meta", `user ${user}: rank ${before} with ${base}, ${after} with ${run}`));
  }
  return made;
};

const SHOWN = 20;

for (const browser of document.querySelectorAll("[data-browser]")) {
  const data = JSON.parse(document.getElementById(browser.dataset.browser).textContent);
  const searched = data.items.map(([id, texts, signals]) => [id, ...texts, ...signals.flat()].join(" ").toLowerCase());
  const [input, status, found] = ["input", "[role=status]", ".found"].map((name) => browser.querySelector(name));
  const search = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = words.length
      ? data.items.filter((_, place) => words.every((word) => searched[place].includes(word)))
      : [];
    found.replaceChildren(...hits.slice(0, SHOWN).map((item) => card(data, item)));
    const more = hits.length > SHOWN ? `; the first ${SHOWN} are shown` : "";
    status.textContent = words.length
      ? `${hits.length.toLocaleString("en")} of ${data.items.length.toLocaleString("en")} items${more}`
      : `${data.items.length.toLocaleString("en")} items`;
  };
  input.disabled = false;
  input.addEventListener("input", search);
  search();
}

// On paper nothing can be opened: all is open while the page prints, then as it was.
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const one of closed) one.open = true;
});
window.addEventListener("afterprint", () => {
  for (const one of closed) one.open = false;
});
