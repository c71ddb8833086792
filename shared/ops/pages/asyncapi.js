// Shows asyncapi.json of the service: what it receives and sends, with the schema of each body.
"use strict";

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

const follow = (spec, reference) => reference.slice(2).split("/").reduce((node, name) => node[name], spec);

function bodyOf(spec, message) {
  const { title, payload, contentType } = follow(spec, follow(spec, message.$ref).$ref);
  if (!payload) return element("span", contentType, "quiet");
  const details = element("details");
  details.append(element("summary", title));
  details.append(element("pre", JSON.stringify(follow(spec, payload.$ref), null, 2)));
  return details;
}

function row(spec, operation) {
  const line = element("tr");
  const address = element("td", "", "name");
  address.append(element("code", follow(spec, operation.channel.$ref).address));
  address.append(element("div", operation.summary, "quiet"));
  const body = element("td", "", "body");
  body.append(...operation.messages.map((message) => bodyOf(spec, message)));
  line.append(address, body);
  if (operation.reply) {
    const reply = element("td", "", "body");
    reply.append(...operation.reply.messages.map((message) => bodyOf(spec, message)));
    line.append(reply);
  }
  return line;
}

function section(spec, title, operations) {
  if (!operations.length) return [];
  const table = element("table");
  const head = element("tr");
  const titles = operations[0].reply ? ["subject", "body", "reply"] : ["subject", "body"];
  head.append(...titles.map((name) => element("th", name, name)));
  table.createTHead().append(head);
  table.createTBody().append(...operations.map((operation) => row(spec, operation)));
  const frame = element("div", "", "table");
  frame.append(table);
  return [element("h2", title), frame];
}

async function show() {
  const spec = await (await fetch("asyncapi.json")).json();
  document.title = document.getElementById("title").textContent = spec.info.title;
  document.getElementById("about").textContent = `AsyncAPI ${spec.asyncapi}, version ${spec.info.version}`;
  document.getElementById("description").textContent = spec.info.description;
  const all = Object.values(spec.operations);
  const received = all.filter((operation) => operation.action === "receive");
  document.getElementById("operations").append(
    ...section(spec, "Hears", received.filter((operation) => !operation.reply)),
    ...section(spec, "Says", all.filter((operation) => operation.action === "send")),
    ...section(spec, "Answers", received.filter((operation) => operation.reply)),
  );
}

show();
