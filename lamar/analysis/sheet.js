"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const questions = Object.keys(data.questions);
const place = (name) => data.columns.indexOf(name);
const key = `lamar-${data.sheet}-${document.body.dataset.identity}`;
const saved = JSON.parse(localStorage.getItem(key) ?? "null");
const state = saved ?? { at: 0, name: "", answers: data.rows.map(() => ({})) };

const element = (tag, properties, ...content) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...content);
  return made;
};

const answeredFully = (answers) => questions.every((question) => question in answers);
const done = () => state.answers.filter(answeredFully).length;
const open = () => questions.find((question) => !(question in state.answers[state.at])) ?? questions.at(-1);

// Of the name, which becomes that of the exported file; "" where it will do.
const problem = () => {
  if (!state.name) return "write your name to export";
  if (state.name.startsWith(data.judge)) return `names that begin with ${data.judge} are those of LLM judges: choose another`;
  return /^[\w-]+$/.test(state.name) ? "" : "a name may have letters from a to z, digits, - and _ only, such as Ann-Lee";
};

const go = (step) => {
  state.at = Math.min(Math.max(state.at + step, 0), data.rows.length - 1);
  show();
};

const answer = (question, value) => {
  const wasFull = answeredFully(state.answers[state.at]);
  state.answers[state.at][question] = value;
  if (!wasFull && answeredFully(state.answers[state.at]) && state.at < data.rows.length - 1) state.at += 1;
  show();
};

const questionBox = (question) => {
  const given = state.answers[state.at][question];
  const buttons = data.answers.map((value) => {
    const button = element("button", { type: "button" }, value);
    button.setAttribute("aria-pressed", String(given === value));
    button.addEventListener("click", () => answer(question, value));
    return button;
  });
  const box = element("fieldset", { className: question === open() ? "now" : "" });
  box.append(
    element("legend", {}, question),
    element("p", { className: "soft" }, data.questions[question]),
    element("div", { className: "row" }, ...buttons),
  );
  return box;
};

const show = () => {
  localStorage.setItem(key, JSON.stringify(state));
  const row = data.rows[state.at];
  const fields = element("dl", {});
  data.columns.forEach((name, column) => {
    if (name !== "item_id" && name !== "signal") {
      fields.append(element("dt", {}, name), element("dd", {}, row[column] || "–"));
    }
  });
  const back = element("button", { type: "button", disabled: state.at === 0 }, "Back");
  const next = element("button", { type: "button", disabled: state.at === data.rows.length - 1 }, "Next");
  back.addEventListener("click", () => go(-1));
  next.addEventListener("click", () => go(1));
  document.querySelector("main").replaceChildren(
    element("p", { className: "soft", id: "place" }, `Item ${state.at + 1} of ${data.rows.length}`),
    fields,
    element("p", { className: "signal" }, row[place("signal")]),
    ...questions.map(questionBox),
    element("div", { className: "row" }, back, next),
  );
  const all = done() === data.rows.length;
  document.getElementById("export").disabled = !all || problem() !== "";
  const told = [`${done()} of ${data.rows.length} rated`, (all || state.name) && problem()];
  document.querySelector("[role=status]").textContent = told.filter(Boolean).join("; ");
};

const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;

const csv = () => {
  const lines = data.rows.map((row, at) => [...row, ...questions.map((question) => state.answers[at][question])]);
  return [[...data.columns, ...questions], ...lines].map((line) => line.map(quoted).join(",") + "\r\n").join("");
};

const nameField = document.getElementById("name");
nameField.value = state.name;
nameField.addEventListener("input", () => {
  state.name = nameField.value.trim();
  show();
});

document.getElementById("export").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  element("a", { href: address, download: `${state.name}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
});

const KEYS = { 0: "0", 5: "0.5", 1: "1" };

document.addEventListener("keydown", (event) => {
  if (event.target === nameField || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in KEYS) answer(open(), KEYS[event.key]);
  else if (event.key === "ArrowLeft") go(-1);
  else if (event.key === "ArrowRight") go(1);
});

show();
