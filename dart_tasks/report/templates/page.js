"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const SPOKEN = ["json", "boxed", "hashes", "answer_tag", "final_answer", "answer_is"];
const PAGE = 50;
const mathParser = document.createElement("template");

function el(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/* A text: its parts at odd places are formulas; an empty one stands for what was left out. */
function rich(parts, left, source) {
  const made = document.createDocumentFragment();
  parts.forEach((part, place) => {
    if (place % 2 === 0) made.append(part);
    else if (part === "") made.append(el("span", "gap", `\n[… ${left.toLocaleString("en")} characters left out …]\n`));
    else made.append(source ? part : formula(part));
  });
  return made;
}

function formula(text) {
  if (!Object.hasOwn(data.formulas, text)) return el("code", "", text);
  const display = /^(\$\$|\\\[|\\begin)/.test(text) ? "block" : "inline";
  mathParser.innerHTML = `<math display="${display}">${data.formulas[text]}</math>`;  // our own MathML, see mathml.py
  const made = mathParser.content.firstChild;
  made.setAttribute("title", text);
  return made;
}

const plain = (parts) => parts.join("");
const share = (score) => (score ? score[0] / score[1] : NaN);
const verdict = (response) => (response.correct ? "right" : "wrong");
const responsesOf = new Map();  // by item and run
data.responses.forEach((response, index) => {
  response.index = index;
  const key = `${response.item} ${response.run}`;
  responsesOf.set(key, [...(responsesOf.get(key) || []), response]);
});

function haystack(entry, responses) {
  const item = "item" in entry ? data.items[entry.item] : entry;
  entry.found ??= [item.id, plain(item.query), plain(item.reference), item.facts,
    ...responses.flatMap((response) => [plain(response.answer), plain(response.text), response.thought ? plain(response.thought.text) : "", response.reason])].join("\n").toLowerCase();
  return entry.found;
}

/* The end of a query, where the question stands. */
function head(item) {
  const made = el("span", "head");
  let room = 160;
  for (let place = item.query.length - 1; place >= 0 && room > 0; place--) {
    const part = item.query[place].replace(/\s+/g, " ");
    if (place % 2 === 1) made.prepend(part === "" ? "…" : formula(item.query[place]));
    else made.prepend(part.length > room ? "…" + part.slice(-room) : part);
    room -= part.length;
  }
  return made;
}

function side(name, parts, className) {
  const strong = el("b", className);
  strong.append(parts.length === 1 && parts[0] === "" ? "(none)" : rich(parts, 0));
  return el("span", "", el("span", "detail", name + " "), strong);
}

function readable(parts, left) {
  const text = el("div", "text", rich(parts, left));
  if (parts.length === 1) return text;
  const button = el("button", "", "source");
  button.type = "button";
  button.addEventListener("click", () => {
    const source = button.textContent === "source";
    text.replaceChildren(rich(parts, left, source));
    button.textContent = source ? "formulas" : "source";
  });
  return el("div", "", button, text);
}

function readableResponse(response) {
  const made = el("div", "");
  if (response.thought) {
    made.append(row("", [`thought, ${response.thought.chars.toLocaleString("en")} characters`],
      () => [readable(response.thought.text, response.thought.left)]));
  }
  made.append(readable(response.text, response.left));
  return made;
}

function problem(item) {
  return [el("p", "detail", `${item.id} ${item.facts}`), el("div", "text", rich(item.query, item.left))];
}

function judgement(response) {
  const made = el("div", "");
  const lines = [[verdict(response), `${verdict(response)}: found by ${response.source}; ${response.reason}`
    + (response.flags.length ? `; flags: ${response.flags.join(", ")}` : "")]];
  if (response.judge) {
    const second = verdict(response.judge);
    lines.push([second, `Math-Verify: ${second}, extracted ${response.judge.answer || "nothing"}; ${response.judge.reason}`]);
  }
  for (const [mark, line] of lines) made.append(el("p", mark, el("b", "", line)));
  const lengths = [`${response.chars.toLocaleString("en")} characters`];
  if (response.thought) lengths.push(`${response.thought.chars.toLocaleString("en")} of thought`);
  if ("thought_tokens" in response) lengths.push(`${response.thought_tokens.toLocaleString("en")} tokens of thought`);
  if (response.finish_reason) lengths.push(`finish reason ${response.finish_reason}`);
  const link = el("a", "", "link to this response");
  link.href = `#response-${response.index}`;
  made.append(el("p", "detail", `response ${response.trial + 1}, ${lengths.join(", ")}${response.truncated ? ", truncated" : ""} · `, link));
  return made;
}

function row(className, summary, body) {
  const made = el("details", className, el("summary", "", ...summary));
  made.addEventListener("toggle", () => made.open && made.children.length === 1 && made.append(...body()));
  return made;
}

function tags(...texts) {
  return texts.filter(Boolean).map(([text, className]) => el("span", `tag ${className || ""}`, text));
}

function responseRow(response) {
  const item = data.items[response.item];
  const made = row(verdict(response), [
    ...tags([response.correct ? "✓ right" : "✗ wrong"], data.runs.length > 1 && [data.runs[response.run]], [data.tasks[item.task]],
      [response.source], response.truncated && ["truncated", "alert"], disputed(response) && ["judges differ", "alert"]),
    head(item),
    el("span", "sides", side("reference", item.reference), side("answer", response.answer, verdict(response))),
  ], () => [...problem(item), judgement(response), readableResponse(response)]);
  made.id = `row-${response.index}`;
  return made;
}

const disputed = (response) => Boolean(response.judge) && response.judge.correct !== response.correct;

function responseMatches(response, wanted) {
  const is = (name, value) => wanted[name] === "" || wanted[name] === String(value);
  const source = wanted.source === "explicit" ? SPOKEN.includes(response.source)
    : wanted.source === "guess" ? !SPOKEN.includes(response.source) : is("source", response.source);
  return source && is("run", response.run) && is("task", data.items[response.item].task) && is("verdict", verdict(response))
    && is("truncated", response.truncated ? "yes" : "no") && is("judges", disputed(response) ? "differ" : "agree")
    && haystack(response, [response]).includes(wanted.words.toLowerCase());
}

const ORDERS = { long: (a, b) => b.chars - a.chars, short: (a, b) => a.chars - b.chars };

function differenceMatches(item, wanted) {
  const first = share(item.scores[wanted.a]), second = share(item.scores[wanted.b]);
  const better = wanted.better === "a" ? first > second : wanted.better === "b" ? second > first : first < second || first > second;
  return better && (wanted.task === "" || wanted.task === String(item.task))
    && haystack(item, data.runs.flatMap((_, run) => responsesOf.get(`${item.index} ${run}`) || [])).includes(wanted.words.toLowerCase());
}

function differenceRow(item, wanted) {
  const sides = [wanted.a, wanted.b].map((run) => ({ run, score: item.scores[run], responses: responsesOf.get(`${item.index} ${run}`) || [] }));
  const answer = ({ run, score, responses }, name) => {
    const text = score[1] > 1 ? ` ${score[0]} of ${score[1]} right` : "";
    const made = side(`${name}${text}`, responses.length ? responses[0].answer : [""], responses.length && verdict(responses[0]));
    made.title = data.runs[run];
    return made;
  };
  return row(share(item.scores[wanted.a]) > share(item.scores[wanted.b]) ? "first" : "second", [
    ...tags([data.tasks[item.task]], [share(item.scores[wanted.a]) > share(item.scores[wanted.b]) ? "A better" : "B better"]),
    head(item),
    el("span", "sides", side("reference", item.reference), answer(sides[0], "A"), answer(sides[1], "B")),
  ], () => [...problem(item), el("p", "", side("reference", item.reference)), el("div", "columns", ...sides.map(({ run, score, responses }) => {
    const column = el("div", "", el("h4", "", `${data.runs[run]}: ${score[0]} of ${score[1]} right`));
    for (const response of responses) column.append(judgement(response), readableResponse(response));
    const missing = score[1] - responses.length;
    if (missing) column.append(el("p", "detail", `${missing} of its responses are not on this page`));
    return column;
  }))]);
}

const lists = {};
function list(name, entries, matches, make, orders) {
  const form = document.getElementById(`${name}-filters`);
  if (!form) return;
  const rows = document.getElementById(`${name}-rows`), more = document.getElementById(`${name}-more`);
  let found = [], wanted = {};
  function extend() {
    const start = rows.children.length;
    rows.append(...found.slice(start, start + PAGE).map((entry) => make(entry, wanted)));
    more.hidden = rows.children.length >= found.length;
  }
  function show(only) {
    wanted = Object.fromEntries(new FormData(form));
    found = only || entries.filter((entry) => matches(entry, wanted));
    if (orders && orders[wanted.order]) found.sort(orders[wanted.order]);
    form.querySelector("output").textContent = `${found.length.toLocaleString("en")} of ${entries.length.toLocaleString("en")} shown`;
    rows.replaceChildren();
    extend();
  }
  let timer = 0;
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(show, 120); });
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", extend);
  lists[name] = { form, show };
  if (form.elements.b) form.elements.b.querySelectorAll("option")[1].defaultSelected = true;
  show();
}

/* #responses?run=0&verdict=wrong sets the filters, #response-12 shows one response. */
function follow() {
  const [name, query] = location.hash.slice(1).split("?");
  const single = /^response-(\d+)$/.exec(name);
  if (single && data.responses[single[1]]) {
    lists.responses.form.reset();
    setTimeout(() => {
      lists.responses.show([data.responses[single[1]]]);
      const made = document.getElementById(`row-${single[1]}`);
      made.open = true;
      made.scrollIntoView();
    });
  } else if (query && lists[name]) {
    const { form, show } = lists[name];
    form.reset();
    for (const [field, value] of new URLSearchParams(query)) if (form.elements[field]) form.elements[field].value = value;
    setTimeout(() => { show(); form.scrollIntoView(); });
  }
}

data.items.forEach((item, index) => { item.index = index; });
list("differences", data.items, differenceMatches, differenceRow);
list("responses", data.responses, responseMatches, responseRow, ORDERS);
addEventListener("hashchange", follow);
follow();
