// Shows status of the service, asked again every POLL_MS while the page can be seen.
"use strict";

const POLL_MS = 1500;
const KEPT = 60;
const MESSAGES = "aimass_message_seconds";
const history = {};
const byId = (id) => document.getElementById(id);

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

const none = "–";
const whole = (value) => value.toLocaleString("en", { maximumFractionDigits: 0 });
const rate = (value) => (value >= 100 ? whole(value) : value.toFixed(value >= 10 ? 1 : 2));
const milliseconds = (value) => (value === null ? none : value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value.toFixed(value >= 100 ? 0 : 1)} ms`);

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${value.toFixed(unit > 2 ? 1 : 0)} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  const [[large, largeName], [small, smallName]] = [parts[first], parts[Math.min(first + 1, 3)]];
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)} ${largeName}${rest ? ` ${rest} ${smallName}` : ""}`;
}

function byUnit(name, value) {
  if (/_bytes(_per_second)?$/.test(name)) return bytes(value) + (name.endsWith("_per_second") ? "/s" : "");
  if (name.endsWith("_percent")) return `${value.toFixed(1)} %`;
  if (name.endsWith("_seconds")) return duration(value);
  return Number.isInteger(value) ? whole(value) : value.toFixed(2);
}

function sparkline(values) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", `0 0 ${KEPT - 1} 20`);
  picture.setAttribute("preserveAspectRatio", "none");
  const most = Math.max(...values, 1e-9);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const points = values.map((value, index) => `${KEPT - values.length + index},${(19 - 18 * value / most).toFixed(2)}`);
  line.setAttribute("points", points.join(" "));
  picture.append(line);
  return picture;
}

function card(name, value, note = "", { state = "", past = null } = {}) {
  const made = element("div", "", `card ${state}`);
  made.title = name;
  made.append(element("div", name, "name"), element("div", value, "value"), element("div", note, "note"));
  if (past) made.append(sparkline(past));
  return made;
}

function remember(name, value) {
  history[name] ??= [];
  history[name].push(value);
  if (history[name].length > KEPT) history[name].shift();
  return history[name];
}

function table(titles, rows) {
  const made = element("table");
  const head = element("tr");
  head.append(...titles.map(([text, className]) => element("th", text, className)));
  made.createTHead().append(head);
  const body = made.createTBody();
  for (const { cells, className = "" } of rows) {
    const line = element("tr", "", className);
    line.append(...cells.map((cell, index) => (cell instanceof Node ? cell : element("td", cell, titles[index][1]))));
    body.append(line);
  }
  const frame = element("div", "", "table");
  frame.append(made);
  return frame;
}

const sum = (items, value) => items.reduce((total, item) => total + value(item), 0);

function liveCards({ messages, timings, consumers, outbox, process }) {
  const calls = sum(timings.filter((group) => group.name !== MESSAGES), (group) => group.all.per_second);
  const failed = sum(timings, (group) => group.all.errors_per_second);
  const errors = failed + messages.retried.per_second + messages.dead.per_second;
  const heard = messages.handled.per_second + messages.repeated.per_second;
  const { handled, repeated, retried, dead, published } = messages;
  const cards = [];
  if (consumers.length) cards.push(card("Messages handled / s", rate(heard), `${whole(handled.total)} since start, ${whole(repeated.total)} repeats`, { past: remember("heard", heard) }));
  if (outbox) cards.push(card("Messages published / s", rate(published.per_second), `${whole(published.total)} since start`, { past: remember("published", published.per_second) }));
  cards.push(
    card("Calls / s", rate(calls), "requests answered", { past: remember("calls", calls) }),
    card("Errors / s", rate(errors), `${whole(retried.total)} retries, ${whole(dead.total)} given up`, { state: errors > 0 ? "bad" : "", past: remember("errors", errors) }),
    card("CPU", `${process.cpu_percent.toFixed(1)} %`, "of one core", { past: remember("cpu", process.cpu_percent) }),
    card("Memory", bytes(process.memory_bytes), `${whole(process.open_files)} open files`, { past: remember("memory", process.memory_bytes) }),
  );
  return cards;
}

function queueCards({ consumers, dead_letters, outbox, database, problems, degraded }) {
  const pending = sum(consumers, (each) => each.pending);
  const unsettled = sum(consumers, (each) => each.unacknowledged);
  const again = sum(consumers, (each) => each.redelivered);
  const unknown = "database" in problems || "database" in degraded;
  const cards = [];
  if (consumers.length) {
    cards.push(card("Consumer lag", whole(pending), `${whole(unsettled)} in work, ${whole(again)} redelivered`, { state: pending > 100 ? "warn" : "" }));
    cards.push(card("Dead letters", dead_letters === null ? none : whole(dead_letters), dead_letters === null ? "the bus cannot say now" : "of this service, kept", { state: dead_letters ? "bad" : "" }));
  }
  if (outbox) cards.push(card("Outbox", unknown ? none : outbox.age_seconds ? duration(outbox.age_seconds) : "empty", unknown ? "unknown without database" : `${whole(outbox.dead)} can never be published`, { state: outbox.dead || outbox.age_seconds > 30 ? "bad" : "" }));
  if (database) cards.push(card("Database pool", `${database.in_use} / ${database.most}`, "connections in use", { state: database.in_use >= database.most ? "warn" : "" }));
  return cards;
}

function latencyCards({ timings }) {
  return timings.filter((group) => group.all.total > 0).map((group) =>
    card(group.title.replace(/^Time to (.)/, (_, first) => first.toUpperCase()), milliseconds(group.all.p50_ms), `p50, and p99 ${milliseconds(group.all.p99_ms)}`));
}

function showHead(status) {
  document.title = `${status.service} – AI Mass`;
  byId("service").textContent = status.service;
  const degraded = Object.keys(status.degraded).length > 0;
  byId("ready").textContent = status.ready ? (degraded ? "ready, degraded" : "ready") : "not ready";
  byId("ready").className = `badge ${status.ready ? (degraded ? "warn" : "good") : "bad"}`;
  const uptime = duration(status.process.uptime_seconds);
  byId("about").textContent = `version ${status.version} · up ${uptime} · rates of the last ${duration(status.window_seconds)}`;
}

function showProblems({ problems, degraded }) {
  const rows = [
    ...Object.entries(problems).map(([check, text]) => ({ cells: [check, element("td", "essential", "level bad"), text] })),
    ...Object.entries(degraded).map(([check, text]) => ({ cells: [check, element("td", "degraded", "level warn"), text] })),
  ];
  byId("problems").hidden = !rows.length;
  byId("problems").replaceChildren(element("h2", "Why not"), table([["check", "level"], ["", "level"], ["problem", "name"]], rows));
}

function showTimings({ timings }) {
  const titles = [["", "name"], ["total", "number"], ["/ s", "number"], ["errors / s", "number"], ["p50", "number"], ["p99", "number"]];
  const cells = (row) => [
    row.name.replace(/^aimass\./, ""), whole(row.total), rate(row.per_second),
    element("td", rate(row.errors_per_second), row.errors_per_second > 0 ? "number bad" : "number"),
    milliseconds(row.p50_ms), milliseconds(row.p99_ms),
  ];
  byId("timings").replaceChildren(...timings.flatMap((group) => [
    element("h2", group.title),
    table(titles, [
      ...group.rows.map((row) => ({ cells: cells(row) })),
      ...(group.rows.length > 1 ? [{ cells: cells(group.all), className: "sum" }] : []),
    ]),
  ]));
}

function showConsumers({ consumers }) {
  const titles = [["stream", "name"], ["waiting", "number"], ["in work", "number"], ["redelivered", "number"]];
  const rows = consumers.map((each) => ({ cells: [each.stream, whole(each.pending), whole(each.unacknowledged), whole(each.redelivered)] }));
  byId("consumers").replaceChildren(...(rows.length ? [element("h2", "What waits for this service"), table(titles, rows)] : []));
}

function showFigures({ figures }) {
  const rows = figures.map((each) => ({
    cells: [each.title, Object.values(each.labels).join(" "), byUnit(each.name, each.value), each.per_second === null ? "" : rate(each.per_second)],
  }));
  const titles = [["", "name"], ["", "name"], ["now", "number"], ["/ s", "number"]];
  byId("figures").replaceChildren(...(rows.length ? [element("h2", "More figures"), table(titles, rows)] : []));
}

const cellOf = (value) => (value === null ? none : typeof value === "number" ? whole(value) : value);

function showTables({ tables }) {
  const drawn = tables.flatMap(({ title, columns, rows }) => {
    const isNumber = (index) => rows.length > 0 && rows.every((row) => typeof row[index] !== "string");
    const titles = columns.map((name, index) => [name, isNumber(index) ? "number" : "name"]);
    const body = rows.length ? table(titles, rows.map((row) => ({ cells: row.map(cellOf) }))) : element("p", "none", "quiet");
    return [element("h2", title), body];
  });
  byId("tables").replaceChildren(...drawn);
}

// Drawn anew only when it changes, so that a trace id can be marked and copied.
let shownRemarks = "";

function showRemarks({ remarks }) {
  if (JSON.stringify(remarks) === shownRemarks) return;
  shownRemarks = JSON.stringify(remarks);
  const rows = remarks.map((each) => {
    const text = element("td", "", "name");
    text.append(element("div", each.event), element("code", each.detail, "quiet"));
    if (each.trace_id) text.append(element("div", `trace ${each.trace_id}`, "quiet"));
    const when = element("td", each.at.slice(0, 19).replace("T", " "), "time");
    return { cells: [when, element("td", each.level, each.level === "warning" ? "level warn" : "level bad"), text, whole(each.times)] };
  });
  const titles = [["last seen (UTC)", "time"], ["level", "level"], ["", "name"], ["times", "number"]];
  byId("remarks").replaceChildren(element("h2", "Last errors and warnings"), rows.length ? table(titles, rows) : element("p", "none since the start", "quiet"));
}

function show(status) {
  showHead(status);
  showProblems(status);
  byId("live").replaceChildren(...liveCards(status));
  byId("cards").replaceChildren(...latencyCards(status), ...queueCards(status));
  showTimings(status);
  showConsumers(status);
  showTables(status);
  showFigures(status);
  showRemarks(status);
}

async function poll() {
  try {
    if (!document.hidden) {
      const answer = await fetch("status", { signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      show(await answer.json());
    }
  } catch (error) {
    byId("ready").textContent = `no answer (${error.message})`;
    byId("ready").className = "badge bad";
  }
  setTimeout(poll, POLL_MS);
}

poll();
